"""A whole daemon in this process, with the backends behind it, and a client before it."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

import httpx
import trio

from penstock.config.model import Backend, BackendKind, Config, Key, Route, Server, Timeouts
from penstock.relay.outcome import Outcome
from penstock.service.daemon import Daemon
from penstock.simulate import server as simulate


class House:
    """A running daemon.  ``ask`` gets a whole answer, ``begin`` one to be read as it comes."""

    def __init__(self, daemon: Daemon, client: httpx.AsyncClient, outcomes: trio.MemoryReceiveChannel[Outcome]) -> None:
        self.daemon = daemon
        self._client = client
        self._outcomes = outcomes

    async def ask(self, method: str, path: str, body: object = None, **more: Any) -> httpx.Response:
        if body is not None:
            more["json"] = body
        return await self._client.request(method, path, **more)

    @asynccontextmanager
    async def begin(self, method: str, path: str, body: object = None) -> AsyncIterator[httpx.Response]:
        async with self._client.stream(method, path, json=body) as response:
            yield response

    async def outcome(self) -> Outcome:
        """The next end of a stream."""
        return await self._outcomes.receive()


@asynccontextmanager
async def house(
    nursery: trio.Nursery,
    backends: dict[str, Backend],
    routes: dict[str, tuple[str, ...]] | None = None,
    timeouts: Timeouts | None = None,
    keys: tuple[Key, ...] = (),
) -> AsyncIterator[House]:
    """Start it; ``routes`` maps model names to targets."""
    config = Config(
        server=Server(listen=("127.0.0.1:0",)),
        backends=backends,
        routes={name: Route(targets=targets) for name, targets in (routes or {}).items()},
        timeouts=timeouts or Timeouts(),
        keys=keys,
    )
    send, receive = trio.open_memory_channel[Outcome](100)
    daemon = Daemon(config, send.send_nowait)
    (address,) = await nursery.start(daemon.serve)
    async with httpx.AsyncClient(base_url=address, trust_env=False, timeout=30.0) as client:
        yield House(daemon, client, receive)


async def simulated(nursery: trio.Nursery, kind: BackendKind, script: str = "", **more: Any) -> Backend:
    """A simulated backend as the configuration names it; a request without a script gets this one."""
    settings = simulate.Settings(script=script, **more)
    simulation = await nursery.start(simulate.serve, settings)
    return Backend(kind=kind, url=simulation.url)


class Asked:
    """One request as a backend got it, and the connection on which it is answered."""

    def __init__(self, head: bytes, body: bytes, stream: trio.abc.Stream) -> None:
        first, *rest = head.decode("latin-1").split("\r\n")
        self.method, self.target, _ = first.split(" ")
        self.headers = {name.lower(): value for name, value in (line.split(": ", 1) for line in rest)}
        self.body = body
        self.stream = stream

    @property
    def json(self) -> Any:
        return json.loads(self.body)

    async def answers(self, body: bytes | object, status: int = 200, media: str = "application/json") -> None:
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        head = f"HTTP/1.1 {status} X\r\nContent-Type: {media}\r\nContent-Length: {len(data)}\r\n\r\n"
        await self.stream.send_all(head.encode() + data)

    async def begins(self, media: str) -> None:
        await self.stream.send_all(
            f"HTTP/1.1 200 OK\r\nContent-Type: {media}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
        )

    async def says(self, data: bytes) -> None:
        await self.stream.send_all(b"%x\r\n%b\r\n" % (len(data), data))

    async def ends(self) -> None:
        await self.stream.send_all(b"0\r\n\r\n")

    async def sees_the_close(self) -> None:
        while await self.stream.receive_some():
            pass


Handler = Callable[[Asked], Awaitable[None]]


async def played(nursery: trio.Nursery, kind: BackendKind, handler: Handler, **more: Any) -> Backend:
    """A backend that is played by a function, called for each request."""

    async def converse(stream: trio.SocketStream) -> None:
        data = b""
        while True:
            while b"\r\n\r\n" not in data:
                more = await stream.receive_some()
                if not more:
                    return
                data += more
            head, _, data = data.partition(b"\r\n\r\n")
            lengths = [line for line in head.lower().split(b"\r\n") if line.startswith(b"content-length: ")]
            length = int(lengths[0][16:]) if lengths else 0
            while len(data) < length:
                data += await stream.receive_some()
            await handler(Asked(head, data[:length], stream))
            data = data[length:]

    async def talk(stream: trio.SocketStream) -> None:
        try:
            async with stream:
                await converse(stream)
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # one side left in mid-request
            pass

    (listener,) = await nursery.start(
        lambda task_status: trio.serve_tcp(talk, 0, host="127.0.0.1", task_status=task_status)
    )
    port = listener.socket.getsockname()[1]
    return Backend(kind=kind, url=f"http://127.0.0.1:{port}", **more)


def events(body: bytes) -> list[tuple[str, Any]]:
    """The named events of an SSE body, their data decoded; comments left out."""
    found = []
    for block in body.decode().split("\n\n"):
        lines = [line for line in block.split("\n") if line and not line.startswith(":")]
        if lines:
            fields = dict(line.split(": ", 1) for line in lines)
            found.append((fields.get("event", ""), json.loads(fields["data"])))
    return found
