"""A reload as the service manager sees it, and as one that was started without a file, or in a terminal."""

from __future__ import annotations

import os
import pty
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from manager import LONG, Manager, Service, item, listening, url

from penstock.config.load import load
from penstock.config.model import Backend, Config
from penstock.errors import ConfigError, NoBackend
from penstock.service import source
from penstock.service.daemon import Daemon
from penstock.service.source import Source
from penstock.simulate import server as simulate
from rawhttp import HOST, answered, call

Start = Callable[..., Service]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def sock() -> Iterator[socket.socket]:
    with listening("127.0.0.1") as sock:
        yield sock


def config(sock: socket.socket, more: str = "") -> str:
    return f'[server]\nlisten = ["{item(sock)}"]\nlog_format = "json"\n{more}'


async def reloaded(service: Service, manager: Manager) -> tuple[dict[str, str], dict[str, str]]:
    """What the manager is told at the beginning and at the end of a reload."""
    asked_at = time.monotonic_ns() // 1000
    service.signal(signal.SIGHUP)
    begun = await manager.until(lambda message: "RELOADING" in message)
    # one datagram, and later than the signal: systemd compares
    assert begun.keys() == {"RELOADING", "MONOTONIC_USEC"}
    assert asked_at <= int(begun["MONOTONIC_USEC"]) <= time.monotonic_ns() // 1000
    return begun, await manager.until(lambda message: "READY" in message)


async def test_the_manager_is_told_when_it_begins_and_what_came_of_it(
    manager: Manager, sock: socket.socket, started: Start, tmp_path: Path
) -> None:
    file = tmp_path / "penstock.toml"
    with trio.fail_after(LONG):
        service = started(config(sock), [sock], NOTIFY_SOCKET=manager.address)
        await manager.until(lambda message: "READY" in message)
        file.write_text(config(sock, "drain = true"))
        _, ready = await reloaded(service, manager)
        fault = f'{file}:4:9: server.drain: must be a duration such as "90s", not true or false'
        assert ready == {"READY": "1", "STATUS": f"not reloaded: {fault}; 0 streams; backends: demo"}
        file.write_text(config(sock, 'drain = "1s"\nallowed_hosts = ["here.lan"]'))
        _, ready = await reloaded(service, manager)
        assert ready == {"READY": "1", "STATUS": "0 streams; backends: demo"}
        # The demo's own backend stays where it was, and so does the socket that was passed.
        request = call("sim:tokens=2").replace(HOST.encode(), f"Host: here.lan:{sock.getsockname()[1]}".encode())
        status, _, body = await answered(url(sock), request)
        assert (status, b"[DONE]" in body) == (200, True)
        service.signal(signal.SIGTERM)
        assert await service.exit() == 0


class Bare:
    """``penstock serve`` without ``--config``, in a home of its own; ``tty``: its terminal."""

    def __init__(self, home: Path, *options: str, tty: int | None = None, **environ: str) -> None:
        self.log = home / "log"
        env = {name: value for name, value in os.environ.items() if not name.startswith(("PENSTOCK", "XDG"))}
        env |= {"HOME": str(home), "PENSTOCK__SERVER__LISTEN": '["127.0.0.1:0"]'} | environ
        with self.log.open("wb") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "penstock", "serve", *options],
                env=env,
                stdin=subprocess.DEVNULL,
                stderr=log if tty is None else tty,
                start_new_session=True,
            )

    async def line(self, *words: str) -> str:
        """The first line of the log with these words."""
        while True:
            for line in self.log.read_text().splitlines():
                if all(word in line for word in words):
                    return line
            assert self.process.poll() is None, self.log.read_text()
            await trio.sleep(0.01)

    async def exit(self) -> int:
        return await trio.to_thread.run_sync(self.process.wait, abandon_on_cancel=True)


@pytest.fixture
def bare(tmp_path: Path) -> Iterator[Callable[..., Bare]]:
    running: list[Bare] = []

    def start(*options: str, tty: int | None = None, **environ: str) -> Bare:
        running.append(Bare(tmp_path, *options, tty=tty, **environ))
        return running[-1]

    yield start
    for one in running:
        one.process.kill()
        one.process.wait()


async def test_a_demo_has_nothing_to_read(bare: Callable[..., Bare]) -> None:
    with trio.fail_after(LONG):
        service = bare("--demo")
        await service.line(" listening ")
        service.process.send_signal(signal.SIGHUP)
        assert "generation=1 was=1 changed=nothing" in await service.line(" reloaded ")
        service.process.terminate()
        assert await service.exit() == 0


async def test_a_file_that_was_written_since_is_found(
    bare: Callable[..., Bare], tmp_path: Path, nursery: trio.Nursery
) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    backend = f'{{ kind = "simulate", url = "{simulation.url}" }}'
    file = tmp_path / ".config/penstock/penstock.toml"
    with trio.fail_after(LONG):
        service = bare(PENSTOCK__BACKENDS__SIM=backend)
        assert "backends found by themselves" in await service.line(" listening ")
        file.parent.mkdir(parents=True)
        file.write_text("[timeouts]\nsilence = '7s'")
        service.process.send_signal(signal.SIGHUP)
        assert f"changed=timeouts.silence configuration={file}" in await service.line(" reloaded ")
        # With all that belongs to it.
        part = file.parent / "conf.d/queue.toml"
        part.parent.mkdir()
        part.write_text("[limits]\nqueue = 3")
        service.process.send_signal(signal.SIGHUP)
        await service.line(" reloaded ", "generation=3 was=2 changed=limits.queue")
        # From now on it must be there.
        file.unlink()
        service.process.send_signal(signal.SIGHUP)
        assert f"{file}: cannot be read: No such file or directory" in await service.line(" not reloaded ")


async def test_backends_are_looked_for_again(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    found = Config(backends={"ollama": Backend(kind="ollama", url="http://127.0.0.1:11434")})
    answers = [found, Config()]

    async def discover() -> Config:
        return answers.pop(0)

    monkeypatch.setattr(source, "discover", discover)
    monkeypatch.setattr(source, "find", lambda environ: None)
    reads = Source(None)
    assert (await reads.read()).backends == found.backends
    with pytest.raises(NoBackend):
        await reads.read()


async def test_keys_are_not_taken_away_where_others_reach_it(tmp_path: Path, nursery: trio.Nursery) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text(
        '[server]\nlisten = ["0.0.0.0:0"]\nallowed_hosts = ["here.lan"]\n[[keys]]\nname = "a"\nkey = "sk-a"\n'
    )
    daemon = Daemon(load(file, {}), source=Source(file))
    await nursery.start(daemon.serve)
    file.write_text('[server]\nlisten = ["0.0.0.0:0"]\nallowed_hosts = ["here.lan"]\n')
    assert daemon.reloader is not None
    with pytest.raises(ConfigError, match="keys"):
        await daemon.reloader.reload()
    assert (daemon.state.number, bool(daemon.state.keys)) == (1, True)
    nursery.cancel_scope.cancel()


async def test_a_terminal_that_is_gone_is_no_reload(bare: Callable[..., Bare]) -> None:
    ours, theirs = pty.openpty()
    with trio.fail_after(LONG):
        service = bare("--demo", tty=theirs)
        os.close(theirs)
        told = b""
        while b"listening" not in told:
            await trio.lowlevel.wait_readable(ours)
            told += os.read(ours, 4096)
        os.close(ours)
        service.process.send_signal(signal.SIGHUP)
        assert await service.exit() == 0
