"""A client that takes nothing for granted: raw bytes of an answer, taken apart by hand."""

from __future__ import annotations

import json
import socket
import struct
from typing import Any

import trio

from penstock.simulate.server import Simulation
from rawhttp import Answers

CHAT, COMPLETIONS = "/v1/chat/completions", "/v1/completions"
OLLAMA_CHAT, GENERATE = "/api/chat", "/api/generate"


def call(path: str, script: str, *headers: str, **fields: Any) -> bytes:
    """A request for this script as the model name; ``fields`` override or join those of the body."""
    asked: dict[str, Any] = {"model": f"sim:{script}", "stream": True}
    asked |= {"messages": [{"role": "user", "content": "hello"}]} if "chat" in path else {"prompt": "hello"}
    body = json.dumps(asked | fields).encode()
    head = "\r\n".join([f"POST {path} HTTP/1.1", "Host: sim", *headers, f"Content-Length: {len(body)}", "", ""])
    return head.encode() + body


class Client(Answers):
    """One connection."""

    @classmethod
    async def connect(cls, simulation: Simulation) -> Client:
        return cls(await trio.open_tcp_stream("127.0.0.1", int(simulation.url.rsplit(":", 1)[1])))

    async def chunk_with(self, mark: bytes) -> bytes:
        """The next chunk that has ``mark`` in it."""
        while mark not in (chunk := await self.chunk()):
            assert chunk, f"the answer ended before {mark!r}"
        return chunk

    async def chunks(self) -> list[bytes]:
        """All chunks of a body that ends cleanly."""
        found = []
        while chunk := await self.chunk():
            found.append(chunk)
        return found

    async def body(self, headers: dict[str, str]) -> bytes:
        """A body with a length, chunked, or up to the close."""
        if "content-length" in headers:
            return await self.take(int(headers["content-length"]))
        return b"".join(await self.chunks()) if "transfer-encoding" in headers else await self.rest()

    async def rest(self) -> bytes:
        """Everything up to the FIN.  An RST raises trio.BrokenResourceError."""
        while data := await self.stream.receive_some():
            self.buffer += data
        taken, self.buffer = self.buffer, b""
        return taken

    def reset(self) -> None:
        """Leave with an RST."""
        self.stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.stream.socket.close()

    async def silent(self) -> bool:
        """Whether nothing comes for a moment."""
        with trio.move_on_after(0.03):
            self.buffer += await self.stream.receive_some()
            return False
        return True


async def ask(simulation: Simulation, path: str, script: str, *headers: str, **fields: Any) -> Client:
    """Send one request on a connection of its own."""
    client = await Client.connect(simulation)
    await client.stream.send_all(call(path, script, *headers, **fields))
    return client


async def answer(
    simulation: Simulation, path: str, script: str, *headers: str, **fields: Any
) -> tuple[int, dict[str, str], bytes]:
    """Status, headers and whole body of one request."""
    client = await ask(simulation, path, script, *headers, **fields)
    async with client.stream:
        status, found = await client.head()
        return status, found, await client.body(found)


def sse(body: bytes) -> list[Any]:
    """The data of an SSE body whose every event is one ``data:`` line; ``[DONE]`` stays text."""
    assert body.endswith(b"\n\n")
    events = [event for event in body.decode().split("\n\n") if event]
    assert all(event.startswith("data: ") and "\n" not in event for event in events)
    return [data if data == "[DONE]" else json.loads(data) for data in (event[6:] for event in events)]


def ndjson(body: bytes) -> list[Any]:
    """The objects of a body of JSON lines."""
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.decode().split("\n")[:-1]]


def frames(path: str, body: bytes) -> list[Any]:
    return sse(body) if path.startswith("/v1") else ndjson(body)


def content(frame: Any) -> str:
    """The content text of one frame of any dialect."""
    if frame == "[DONE]":
        return ""
    if "choices" in frame:
        choice = frame["choices"][0] if frame["choices"] else {}
        return choice.get("text") or choice.get("delta", choice.get("message", {})).get("content") or ""
    return frame["response"] if "response" in frame else frame["message"]["content"] or ""


def counting(count: int, letter: str = "t") -> str:
    return "".join(f" {letter}{number}" for number in range(count))
