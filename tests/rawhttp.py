"""An HTTP client that takes nothing for granted: raw bytes in, answers taken apart by hand, every way of leaving."""

from __future__ import annotations

import json
import socket
import struct
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import ExitStack, asynccontextmanager, contextmanager
from typing import Any

import trio

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
OLLAMA_CHAT, GENERATE = "/api/chat", "/api/generate"

#: Stands in a request for the name of whoever it is sent to.
HOST = "Host: HERE"

#: How a client leaves: it closes, it resets, it shuts down its sending side.
WAYS = ("fin", "rst", "half-close")


def call(model: str, *headers: str, path: str = CHAT, **fields: Any) -> bytes:
    """A whole request for a stream of this model; ``fields`` override or join those of the body."""
    asked: dict[str, Any] = {"model": model, "stream": True}
    asked |= {"messages": [{"role": "user", "content": "hello"}]} if "chat" in path else {"prompt": "hello"}
    return post(path, json.dumps(asked | fields).encode(), *headers)


def post(path: str, body: bytes, *headers: str, method: str = "POST") -> bytes:
    """A request with a body of announced length."""
    head = "\r\n".join([f"{method} {path} HTTP/1.1", HOST, *headers, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


def get(path: str, *headers: str, method: str = "GET") -> bytes:
    return "\r\n".join([f"{method} {path} HTTP/1.1", HOST, *headers, "", ""]).encode()


class Answers:
    """What comes on one connection, taken apart by hand."""

    def __init__(self, stream: trio.SocketStream) -> None:
        self.stream = stream
        self.buffer = b""

    async def until(self, mark: bytes) -> bytes:
        """Everything up to and with ``mark``."""
        while mark not in self.buffer:
            data = await self.stream.receive_some()
            assert data, f"the answer ended before {mark!r}: {self.buffer[-500:]!r}"
            self.buffer += data
        taken, found, self.buffer = self.buffer.partition(mark)
        return taken + found

    async def head(self) -> tuple[int, dict[str, str]]:
        """The status and the headers, names in lower case."""
        lines = (await self.until(b"\r\n\r\n")).decode().split("\r\n")
        assert lines[0].startswith("HTTP/1."), lines[0]
        pairs = (line.split(": ", 1) for line in lines[1:-2])
        return int(lines[0].split()[1]), {name.lower(): value for name, value in pairs}

    async def take(self, size: int) -> bytes:
        """Exactly so many bytes."""
        while len(self.buffer) < size:
            data = await self.stream.receive_some()
            assert data, f"the answer ended {size - len(self.buffer)} bytes early: {self.buffer[-500:]!r}"
            self.buffer += data
        taken, self.buffer = self.buffer[:size], self.buffer[size:]
        return taken

    async def chunk(self) -> bytes:
        """The next chunk, checked; b"" is the last one."""
        size = int(await self.until(b"\r\n"), 16)
        data = await self.take(size + 2)
        assert data.endswith(b"\r\n")
        return data[:-2]


class Client(Answers):
    """One connection."""

    def __init__(self, stream: trio.SocketStream, host: str) -> None:
        super().__init__(stream)
        self.host = host

    async def send(self, data: bytes) -> None:
        await self.stream.send_all(data.replace(HOST.encode(), b"Host: " + self.host.encode()))

    async def body(self, headers: dict[str, str]) -> bytes:
        """A body with a length, chunked, or up to the close."""
        if "content-length" in headers:
            return await self.take(int(headers["content-length"]))
        if "transfer-encoding" not in headers:
            return await self.rest()
        found = b""
        while chunk := await self.chunk():
            found += chunk
        return found

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        """One whole answer."""
        status, headers = await self.head()
        return status, headers, await self.body(headers)

    async def json(self) -> tuple[int, Any]:
        """Status and body of one whole answer."""
        status, _, body = await self.answer()
        return status, json.loads(body)

    async def rest(self) -> bytes:
        """Everything up to the FIN.  An RST raises trio.BrokenResourceError."""
        while data := await self.stream.receive_some():
            self.buffer += data
        taken, self.buffer = self.buffer, b""
        return taken

    async def discard(self) -> int:
        """Read to the end and keep nothing; how many bytes there were."""
        size = 0
        while data := await self.stream.receive_some(1 << 20):
            size += len(data)
        return size

    async def sees_the_close(self) -> None:
        """Wait for the connection's end, however it comes."""
        try:
            await self.rest()
        except trio.BrokenResourceError:
            return

    def leave(self, way: str) -> float:
        """Leave, now; the time on the machine's monotonic clock just before."""
        sock = self.stream.socket
        if way == "rst":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        now = time.monotonic()
        if way == "half-close":
            sock.shutdown(socket.SHUT_WR)
        else:
            sock.close()
        return now


@asynccontextmanager
async def connected(address: str, *, receive_buffer: int | None = None) -> AsyncIterator[Client]:
    """A connection to ``http://HOST:PORT`` or ``unix:/path``, closed at the end."""
    client = await connect(address, receive_buffer=receive_buffer)
    try:
        yield client
    finally:
        client.stream.socket.close()


async def connect(address: str, *, receive_buffer: int | None = None) -> Client:
    """The same for those who close it themselves."""
    if address.startswith("unix:"):
        stream = await trio.open_unix_socket(address.removeprefix("unix:"))
        return Client(stream, "localhost")
    name = address.removeprefix("http://")
    host, port = name.rsplit(":", 1)
    host = host.strip("[]")
    sock = trio.socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET)
    if receive_buffer is not None:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
    try:
        await sock.connect((host, int(port)))
    except OSError:
        sock.close()
        raise
    return Client(trio.SocketStream(sock), name)


@contextmanager
def closed_if_failed(client: Client) -> Iterator[None]:
    """Nobody else would close it."""
    with ExitStack() as stack:
        stack.callback(client.stream.socket.close)
        yield
        stack.pop_all()


async def ask(address: str, request: bytes, *, receive_buffer: int | None = None) -> Client:
    """Send one request on a connection of its own."""
    client = await connect(address, receive_buffer=receive_buffer)
    with closed_if_failed(client):
        await client.send(request)
    return client


async def answered(address: str, request: bytes) -> tuple[int, dict[str, str], bytes]:
    """The whole answer to one request on a connection of its own."""
    async with connected(address) as client:
        await client.send(request)
        return await client.answer()


async def settled(value: Any, looks: int = 8) -> Any:
    """Wait until ``value()`` was the same so many times, 10 ms apart; what it is then.

    The one thing that cannot be waited for as an event is that nothing happens any more.  Looks are counted, not time:
    this process may have been held up for all of it.
    """
    last, same = value(), 0
    while same < looks:
        await trio.sleep(0.01)
        now = value()
        last, same = now, same + 1 if now == last else 0
    return last
