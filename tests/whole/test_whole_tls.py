"""A cloud behind the daemon: TLS from its process to a backend that is checked, slow to upload to, and kept."""

from __future__ import annotations

import json
import ssl
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, suppress
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme
from process import Process, books

from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import connected, post

#: More than the kernel takes at once.
LONG = "x" * 12_000_000


@pytest.fixture
async def simulation(nursery: trio.Nursery) -> Simulation:
    return await nursery.start(serve, Settings())


class Cloud:
    """Ends TLS in front of a backend.  ``opened`` counts connections; with ``pause`` it takes requests slowly."""

    def __init__(self, backend: int, context: ssl.SSLContext) -> None:
        self._backend = backend
        self._context = context
        self.opened = 0
        self.pause = 0.0
        self.port = 0

    async def serve(self, *, task_status: trio.TaskStatus[Cloud]) -> None:
        async with trio.open_nursery() as nursery:
            listening = partial(trio.serve_ssl_over_tcp, self._converse, 0, self._context, host="127.0.0.1")
            listeners = await nursery.start(partial(listening, https_compatible=True))
            self.port = listeners[0].transport_listener.socket.getsockname()[1]
            task_status.started(self)

    async def _converse(self, near: trio.SSLStream[trio.SocketStream]) -> None:
        self.opened += 1
        async with AsyncExitStack() as stack:
            stack.callback(near.transport_stream.socket.close)
            far = await stack.enter_async_context(await trio.open_tcp_stream("127.0.0.1", self._backend))
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._answers, far, near)
                with suppress(trio.BrokenResourceError):
                    while data := await near.receive_some():
                        await far.send_all(data)
                        await trio.sleep(self.pause)
                nursery.cancel_scope.cancel()

    async def _answers(self, far: trio.SocketStream, near: trio.SSLStream[trio.SocketStream]) -> None:
        with suppress(trio.BrokenResourceError):
            while data := await far.receive_some():
                await near.send_all(data)


@pytest.fixture
async def cloud(
    simulation: Simulation, nursery: trio.Nursery, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Cloud]:
    authority = trustme.CA()
    authority.cert_pem.write_to_path(str(tmp_path / "authority.pem"))
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "authority.pem"))
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("127.0.0.1").configure_cert(context)
    return await nursery.start(Cloud(int(simulation.url.rpartition(":")[2]), context).serve)


@pytest.fixture
async def process(serving: Callable[[str], Process], cloud: Cloud, nursery: trio.Nursery) -> Process:
    process = serving(
        '[server]\nlisten = ["127.0.0.1:0"]\nlog_format = "json"\ngrace = "100ms"\nheartbeat = "50ms"\n'
        f'[backends.cloud]\nkind = "openai"\nurl = "https://127.0.0.1:{cloud.port}"\n[routes]\n"*" = ["cloud"]\n'
    )
    nursery.start_soon(process.read)
    return process


def chat(text: str, model: str) -> bytes:
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": text}]}
    return post("/v1/chat/completions", json.dumps(body).encode())


async def test_a_long_upload_is_not_broken_by_its_heartbeats(process: Process, cloud: Cloud) -> None:
    cloud.pause = 0.001
    with trio.fail_after(30):
        async with connected(process.address) as client:
            await client.send(chat(LONG, "sim:tokens=3"))
            status, _, body = await client.answer()
        line = await process.line("stream ended")
    assert (status, line["reason"]) == (200, "completed"), body
    assert line["heartbeats"] > 1
    assert body.rstrip().endswith(b"data: [DONE]")


async def test_one_connection_serves_one_chat_after_another(process: Process, cloud: Cloud) -> None:
    with trio.fail_after(20):
        async with connected(process.address) as client:
            for _ in range(5):
                await client.send(chat("hi", "sim:tokens=3"))
                status, _, body = await client.answer()
                assert (status, body.count(b"[DONE]")) == (200, 1)
    assert cloud.opened == 1


async def test_a_client_that_leaves_closes_it(process: Process, cloud: Cloud, simulation: Simulation) -> None:
    with trio.fail_after(20):
        async with books(process) as account:
            async with connected(process.address) as client:
                await client.send(chat("hi", "sim:tokens=100000,rate=100"))
                await simulation.records.until(lambda: simulation.records.counters.running == 1)
            await simulation.records.until(lambda: simulation.records.counters.running == 0)
            await account.nothing_left()
        assert (await process.line("stream ended"))["reason"] == "client_gone"
