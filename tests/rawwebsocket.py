"""A WebSocket client that takes nothing for granted: frames made and taken apart by hand (RFC 6455 5.2)."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from typing import Any

import trio

from rawhttp import Client, connected, get

PATH = "/api/ws/chat"
#: The key of RFC 6455 1.3, and what it must be answered with.
KEY, ACCEPT = "dGhlIHNhbXBsZSBub25jZQ==", "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="
UPGRADE = ("Connection: Upgrade", "Upgrade: websocket", "Sec-WebSocket-Version: 13", f"Sec-WebSocket-Key: {KEY}")

CONTINUATION, TEXT, BINARY, CLOSE, PING, PONG = 0, 1, 2, 8, 9, 10
MASK = b"\x01\x7f\x80\xfe"


def frame(opcode: int, payload: bytes = b"", *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """One frame as a client sends it, unless told otherwise."""
    return header(opcode, len(payload), fin=fin, masked=masked, rsv=rsv) + (mask(payload) if masked else payload)


def header(opcode: int, length: int, *, fin: bool = True, masked: bool = True, rsv: int = 0) -> bytes:
    """The same without its payload, which begins with the first byte of the mask."""
    first, bit = (0x80 if fin else 0) | rsv << 4 | opcode, 0x80 if masked else 0
    if length < 126:
        head = bytes((first, bit | length))
    elif length < 1 << 16:
        head = bytes((first, bit | 126)) + length.to_bytes(2)
    else:
        head = bytes((first, bit | 127)) + length.to_bytes(8)
    return head + (MASK if masked else b"")


def mask(payload: bytes) -> bytes:
    pattern = int.from_bytes(MASK * (len(payload) // 4 + 1))
    return (int.from_bytes(payload + b"\0" * (4 - len(payload) % 4)) ^ pattern).to_bytes(len(payload) // 4 * 4 + 4)[
        : len(payload)
    ]


def text(message: str) -> bytes:
    return frame(TEXT, message.encode())


def create(chat: str, model: str, **asked: Any) -> bytes:
    """A chat of this model."""
    return text(json.dumps({"type": "chat.create", "id": chat, "model": model, "message": "hello"} | asked))


def cancel(chat: str) -> bytes:
    return text(json.dumps({"type": "chat.cancel", "id": chat}))


class Closed(Exception):
    """The server's close frame."""

    def __init__(self, payload: bytes) -> None:
        super().__init__(payload)
        self.code = int.from_bytes(payload[:2])
        self.why = payload[2:].decode()


class Socket:
    """One open WebSocket; answers no ping by itself."""

    def __init__(self, client: Client) -> None:
        self.client = client

    async def send(self, *frames: bytes) -> None:
        await self.client.stream.send_all(b"".join(frames))

    async def frame(self) -> tuple[int, bytes]:
        """The next frame: its opcode and payload.  Servers mask nothing and these here fragment nothing."""
        first, length = await self.client.take(2)
        assert first & 0x70 == 0 and first & 0x80, "no reserved bit, and no fragment"
        if length == 126:
            length = int.from_bytes(await self.client.take(2))
        elif length == 127:
            length = int.from_bytes(await self.client.take(8))
        return first & 0x0F, await self.client.take(length)

    async def told(self) -> dict[str, Any]:
        """The next message; pings are passed over.  Raises Closed."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                raise Closed(payload)
            if opcode == TEXT:
                message: dict[str, Any] = json.loads(payload)
                return message
            assert opcode in (PING, PONG)

    async def told_of(self, chat: str) -> list[dict[str, Any]]:
        """All messages of one chat up to its last one; those of others are passed over."""
        found = []
        while True:
            message = await self.told()
            if message.get("id") == chat:
                found.append(message)
                if message["type"] in ("done", "error"):
                    return found

    async def closing(self) -> Closed:
        """The close frame, whatever comes before it, and the connection's end, which must follow."""
        while True:
            opcode, payload = await self.frame()
            if opcode == CLOSE:
                with suppress(trio.BrokenResourceError):
                    # not there any more if it was the first to close
                    await self.send(frame(CLOSE, payload[:2]))
                await self.client.sees_the_close()
                return Closed(payload)

    async def pong(self) -> None:
        """The answer to a ping of ours, whatever comes before it."""
        while (await self.frame())[0] != PONG:
            pass

    def leave(self, way: str) -> float:
        return self.client.leave(way)


@asynccontextmanager
async def opened(
    address: str, *headers: str, path: str = PATH, receive_buffer: int | None = None, subprotocol: str | None = None
) -> AsyncIterator[Socket]:
    """A WebSocket at this address, left without a word at the end; ``subprotocol`` is what it must agree on."""
    async with connected(address, receive_buffer=receive_buffer) as client:
        await client.send(get(path, *UPGRADE, *headers))
        status, answered = await client.head()
        assert status == 101, f"{status}: {(await client.body(answered)).decode()}"
        agreed = {} if subprotocol is None else {"sec-websocket-protocol": subprotocol}
        assert answered == {"upgrade": "websocket", "connection": "Upgrade", "sec-websocket-accept": ACCEPT} | agreed
        yield Socket(client)


def words(messages: list[dict[str, Any]]) -> str:
    """The text of an answer."""
    return "".join(message["text"] for message in messages if message["type"] == "token")
