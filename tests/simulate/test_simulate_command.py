"""``penstock simulate`` as a process."""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator

import pytest
from click.testing import CliRunner
from rawclient import CHAT, call

from penstock.cli.simulate import command

RUN = "from penstock.cli.simulate import command; command()"


@contextlib.contextmanager
def running(*options: str) -> Iterator[tuple[subprocess.Popen[str], int]]:
    """The process and its port."""
    line = [sys.executable, "-c", RUN, "--listen", "127.0.0.1:0", *options]
    with subprocess.Popen(line, stdout=subprocess.PIPE, text=True, env=os.environ) as process:
        try:
            assert process.stdout is not None
            first = process.stdout.readline()
            assert first.startswith("http://127.0.0.1:")
            yield process, int(first.rsplit(":", 1)[1])
        finally:
            process.kill()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_a_signal_ends_it_at_once_with_streams_open(number: signal.Signals) -> None:
    with running("--slots", "1") as (process, port):
        clients = [socket.create_connection(("127.0.0.1", port)) for _ in range(3)]
        clients[0].sendall(call(CHAT, "fault=silence@1"))
        while b" t0" not in clients[0].recv(65536):
            pass
        clients[1].sendall(call(CHAT, "tokens=1"))
        process.send_signal(number)
        assert process.wait(timeout=20) == 0
        for client in clients:
            client.close()


def test_models_and_the_fallback_have_scripts() -> None:
    with running("--model", "coder=tokens=1,finish=length", "--script", "status=404") as (_, port):
        for model, part in (("coder", b'"length"'), ("other", b"404 Not Found")):
            with socket.create_connection(("127.0.0.1", port)) as client:
                client.sendall(call(CHAT, "", "Connection: close", model=model))
                assert part in b"".join(iter(lambda client=client: client.recv(65536), b""))


@pytest.mark.parametrize(
    ("options", "part"),
    [
        (["--listen", "nowhere"], "'nowhere' is no HOST:PORT, for example 127.0.0.1:11500"),
        (["--listen", "127.0.0.1:99999"], "is no HOST:PORT"),
        (["--model", "a=tokns=3"], "unknown parameter 'tokns'; did you mean tokens"),
        (["--script", "fault=silense"], "unknown fault 'silense'; did you mean silence"),
        (["--slots", "0"], "0 is not in the range x>=1"),
        (["--listen", "192.0.2.1:0"], "cannot listen on 192.0.2.1:0: Cannot assign requested address"),
    ],
)
def test_a_mistake_is_named(options: list[str], part: str) -> None:
    result = CliRunner().invoke(command, options)
    assert result.exit_code != 0
    assert part in result.output
