"""The client of WebSocket chats, whose answers are told as if they were HTTP: a line for each message."""

from __future__ import annotations

import json
from typing import Any, ClassVar

import trio

from matrix.client import Answered, Body, Client, openai_usage
from matrix.clients_openai import OpenAIChat
from matrix.facts import Answer
from rawhttp import closed_if_failed, connect, get
from rawwebsocket import CLOSE, PATH, PING, UPGRADE, Socket, create

#: What stands for a ping.
BEAT = b"ping\n"
CHAT = "c1"


class Asker:
    """One chat on a WebSocket of its own; see :class:`matrix.client.Asker`."""

    def __init__(self, socket: Socket) -> None:
        self.stream: trio.SocketStream = socket.client.stream
        self._socket = socket
        self._told = b""
        self._over = False
        #: of the last message
        self.headers: dict[str, str] = {"content-type": "application/json"}

    async def head(self) -> tuple[int, dict[str, str]]:
        """An error that comes first is a status; anything else is the begin of a good answer."""
        first = await self._more()
        message = {} if first == BEAT else json.loads(first)
        return message["status"] if message.get("type") == "error" else 200, self.headers

    async def until(self, mark: bytes) -> bytes:
        while mark not in self._told:
            await self._more()
        taken, found, self._told = self._told.partition(mark)
        return taken + found

    async def body(self, headers: dict[str, str]) -> bytes:
        while not self._over:
            await self._more()
        taken, self._told = self._told, b""
        return taken

    async def _more(self) -> bytes:
        opcode, payload = await self._socket.frame()
        assert opcode != CLOSE, payload
        line = BEAT if opcode == PING else payload + b"\n"
        if line != BEAT:
            message = json.loads(payload)
            assert message["id"] == CHAT
            if message["type"] in ("done", "error"):
                self._over = True
                self._mark(message)
        self._told += line
        return line

    def _mark(self, message: Body) -> None:
        """What the last message says instead of headers."""
        if "target" in message:
            self.headers["x-penstock-target"] = message["target"]
        if "dropped" in message:
            self.headers["x-penstock-dropped"] = ", ".join(message["dropped"])
        if "retry_after" in message:
            self.headers["retry-after"] = f"{message['retry_after']:g}"


class WebSocketChats(Client):
    name, dialect = "WebSocket chats", "websocket"
    stream_path, whole_path = PATH, None
    beats = (BEAT, BEAT)
    says: ClassVar[dict[str, Body]] = OpenAIChat.says

    async def ask(self, address: str, model: str, *, stream: bool, **said: Any) -> Asker:
        client = await connect(address)
        with closed_if_failed(client):
            await client.send(get(PATH, *UPGRADE))
            assert (await client.head())[0] == 101
            socket = Socket(client)
            await socket.send(create(CHAT, model, **said))
        return Asker(socket)

    async def answered(self, address: str, model: str, *, stream: bool, **said: Any) -> Answered:
        asker = await self.ask(address, model, stream=stream, **said)
        async with asker.stream:
            status, _ = await asker.head()
            return status, asker.headers, await asker.body({})

    def body(self, model: str, stream: bool) -> Body:
        return {"message": "hello"}

    def streamed(self, body: bytes) -> Answer:
        answer = Answer()
        for line in body.replace(BEAT, b"").splitlines():
            assert answer.finish is None and answer.error is None, "nothing comes after the last message"
            match json.loads(line):
                case {"type": "token", "text": text}:
                    answer.text += text
                case {"type": "thinking", "text": text}:
                    answer.thinking += text
                case {"type": "tool", "name": name, "arguments": arguments}:
                    answer.calls.append((name, arguments))
                case {"type": "done", "reason": reason, "usage": usage}:
                    answer.finish, answer.usage = reason, openai_usage(usage)
                case {"type": "error", "error": error}:
                    answer.error = error
        return answer

    def whole(self, body: Any) -> Answer:
        raise AssertionError("WebSocket chats are streams")

    def refusal(self, body: bytes) -> str:
        return str(json.loads(body)["error"])
