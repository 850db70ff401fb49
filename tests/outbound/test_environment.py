"""What is around the daemon or comes from a backend leads nowhere else: proxies, passwords, redirects, codings."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio

from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.table import KINDS, VARIANTS
from penstock.config.model import Backend, BackendKind, Config, Route, Server
from penstock.service.daemon import Daemon
from penstock.simulate.server import Settings, serve
from rawhttp import answered, call
from whole.process import Process

PROXIES = ("HTTP_PROXY", "http_proxy", "HTTPS_PROXY", "https_proxy", "ALL_PROXY", "all_proxy")
CONFIG = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
[backends.sim]
kind = "openai"
url = "{url}"
"""
LANGUAGES = [kind for kind in KINDS if kind not in VARIANTS]


async def played(nursery: trio.Nursery, answer: bytes, heads: list[bytes]) -> str:
    """A server that gives every request the same answer and closes; its URL."""

    async def converse(stream: trio.SocketStream) -> None:
        async with stream:
            heads.append(bytes(await stream.receive_some()))
            await stream.send_all(answer)
            await stream.send_eof()
            while await stream.receive_some():
                pass

    (listener,) = await nursery.start(partial(trio.serve_tcp, converse, 0, host="127.0.0.1"))
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}"


async def test_no_proxy_and_no_password_file_of_the_environment_counts(
    nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A process whose environment would lead every usual client to a proxy, with a password for the backend."""
    called: list[bytes] = []
    proxy = await played(nursery, b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", called)
    for name in PROXIES:
        monkeypatch.setenv(name, proxy)
    monkeypatch.delenv("NO_PROXY", raising=False)
    monkeypatch.delenv("no_proxy", raising=False)
    netrc = tmp_path / "netrc"
    netrc.write_text("machine 127.0.0.1 login me password c4n4ry\ndefault login me password c4n4ry\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    simulation = await nursery.start(serve, Settings())
    file = tmp_path / "penstock.toml"
    file.write_text(CONFIG.format(url=simulation.url))
    process = Process(file)
    try:
        status, _, body = await answered(process.address, call("sim:id=here,tokens=2"))
        assert status == 200 and b" t1" in body
        (record,) = simulation.records.stream("here")
        assert "authorization" not in {name.lower() for name, _ in record.headers}
        assert called == []
    finally:
        process.end()


@pytest.mark.parametrize("kind", LANGUAGES)
@pytest.mark.parametrize("location", ["http://evil.test:8/v1", "//evil.test:8/x", "https://me:pw@evil.test:8/"])
async def test_a_redirect_is_told_with_its_host_and_not_followed(
    kind: BackendKind, location: str, nursery: trio.Nursery
) -> None:
    head = f"HTTP/1.1 307 There\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n"
    heads: list[bytes] = []
    address = await daemon(nursery, kind, await played(nursery, head.encode(), heads))
    client = client_of(kind)
    status, _, body = await client.answered(address, "m", stream=True)
    assert (status, len(heads)) == (502, 1)
    told = client.refusal(body)
    assert "redirect" in told and "(to evil.test:8)" in told and "pw" not in told


CODINGS = ("gzip", "x-gzip", "deflate", "br", "zstd", "compress", "gzip, identity", "GZIP")


@pytest.mark.parametrize("kind", LANGUAGES)
async def test_what_comes_encoded_is_refused(kind: BackendKind, nursery: trio.Nursery) -> None:
    """Nobody asked for it: a small answer could be a large one."""
    client = client_of(kind)
    for coding in CODINGS:
        answer = f"HTTP/1.1 200 OK\r\nContent-Encoding: {coding}\r\nContent-Length: 20\r\n\r\n{'x' * 20}"
        heads: list[bytes] = []
        address = await daemon(nursery, kind, await played(nursery, answer.encode(), heads))
        status, _, body = await client.answered(address, "m", stream=True)
        assert status == 502
        assert f"Content-Encoding that nobody asked for: {coding}" in client.refusal(body)
        assert b"accept-encoding: identity\r\n" in heads[0].lower()


def client_of(kind: str) -> Client:
    return next((client for client in CLIENTS.values() if client.dialect == kind), CLIENTS["OpenAI chat"])


async def daemon(nursery: trio.Nursery, kind: BackendKind, url: str) -> str:
    config = Config(
        server=Server(listen=("127.0.0.1:0",)),
        backends={"b": Backend(kind=kind, url=url)},
        routes={"*": Route(targets=("b",))},
    )
    (address,) = await nursery.start(Daemon(config).serve)
    assert isinstance(address, str)
    return address
