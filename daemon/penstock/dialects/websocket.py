"""The language of WebSocket chats: each message of the socket one JSON object, with many chats side by side by id.

In come ``{"type": "chat.create", "id", …}`` with what typed events take, ``{"type": "chat.cancel", "id"}``, and plain
text, which is the next message of a conversation.  Out go the typed events as objects that name their chat:
``{"type": "token", "id", "text"}``, ``thinking`` alike, ``tool``, and last one ``done`` or one ``error``, both with the
stream, its target and what that was not told.  An ``error`` that says ``running`` is of a command: the chat goes on.
Bytes hold one object a line here; the socket makes a message of each.
"""

from __future__ import annotations

import json

import msgspec

from penstock.chat.conversation import Conversation
from penstock.chat.request import Request
from penstock.config.model import SHAPE, Shape
from penstock.dialects import fields, jsontext, typed_events
from penstock.dialects.base import Identity, Northbound, Timing, Writer
from penstock.errors import BadRequest, PenstockError

#: The id of the chat that plain text belongs to.
PLAIN = "text"
#: Characters of an id, which comes back in every frame.
LONGEST_ID = 64


class Create(msgspec.Struct, frozen=True):
    """Begin a chat; ``asked`` is read by :func:`penstock.dialects.typed_events.chat`."""

    id: str
    asked: fields.Object


class Said(msgspec.Struct, frozen=True):
    """Plain text: the next message of the conversation."""

    text: str


class Cancel(msgspec.Struct, frozen=True):
    """End a chat, if it is running."""

    id: str


class Refused(msgspec.Struct, frozen=True):
    """No command; ``id`` is that of the chat that it would have been about, where it has one."""

    id: str | None
    error: BadRequest


Command = Create | Said | Cancel | Refused


def read(text: str, *, shape: Shape = SHAPE) -> Command:
    """One message of a client -> what it wants.  What is no JSON object is a message in plain text."""
    if not text.lstrip().startswith("{"):
        return Said(text) if text.strip() else Refused(None, BadRequest("the message is empty"))
    data = text.encode()
    try:
        asked = jsontext.decode_request(data, shape=shape)
    except BadRequest as error:
        return Refused(None, error) if _is_json(data) else Said(text)
    chat = asked.get("id")
    if not isinstance(chat, str) or not 0 < len(chat) <= LONGEST_ID:
        return Refused(None, BadRequest(f"'id' must be a text of 1 to {LONGEST_ID} characters", param="id"))
    match asked.get("type"):
        case "chat.create":
            return Create(chat, {name: value for name, value in asked.items() if name not in ("type", "id")})
        case "chat.cancel":
            return Cancel(chat)
        case _:
            return Refused(chat, BadRequest('\'type\' must be "chat.create" or "chat.cancel"', param="type"))


def _is_json(data: bytes) -> bool:
    """Whether this is JSON at all, if none that is taken."""
    try:
        jsontext.decode(data)
    except json.JSONDecodeError:
        return False
    except ValueError:
        # too deep to say, so it is no sentence of anybody's
        pass
    return True


class WebSocketNorth:
    """WebSocket chats as a client's language, of no chat in particular."""

    name = "websocket"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """What ``chat.create`` asks -> the neutral request, with an empty ``model`` if it names none."""
        return self.request(jsontext.decode_request(body, shape=shape))

    def request(self, asked: fields.Object) -> Request:
        """The same of what is decoded.  Raises BadRequest."""
        return typed_events.chat(asked, self.name)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        return Chat(None).writer(request, identity, passthrough=passthrough)

    def error(self, error: PenstockError) -> bytes:
        """The body of a refused handshake, and the answer to what is no command."""
        return Chat(None).error(error)


class Chat(WebSocketNorth):
    """The same of one chat; ``over`` turns true with its last frame.  A ``conversation`` hears the answer."""

    def __init__(self, id: str | None, conversation: Conversation | None = None) -> None:  # noqa: A002
        self.id = id
        self.conversation = conversation
        self.over = False
        self._identity: Identity | None = None

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of its answer."""
        self._identity = identity
        return Frames(self, identity)

    def error(self, error: PenstockError) -> bytes:
        """``error``, after which nothing comes of this chat."""
        return self.last("error", _told(error))

    def aside(self, error: PenstockError) -> bytes:
        """``error`` of a command, while the chat itself goes on."""
        return self.frame("error", _told(error) | {"running": True})

    def frame(self, kind: str, said: dict[str, object]) -> bytes:
        """One object."""
        named = {} if self.id is None else {"id": self.id}
        return jsontext.escape(jsontext.encode({"type": kind, **named, **said}))

    def last(self, kind: str, said: dict[str, object]) -> bytes:
        """The object that ends the chat, with what an answer's headers would say."""
        self.over = True
        if self._identity is not None:
            said["stream"] = self._identity.stream
            if self._identity.target:
                said["target"] = self._identity.target
            if self._identity.dropped:
                said["dropped"] = self._identity.dropped
        return self.frame(kind, said)


def _told(error: PenstockError) -> dict[str, object]:
    said = typed_events.told(error) | {"status": error.status}
    return said if error.retry_after is None else said | {"retry_after": error.retry_after}


class Frames(typed_events.TypedEvents):
    """Typed events as the objects of one chat."""

    content_type = "application/x-ndjson"

    def __init__(self, chat: Chat, identity: Identity) -> None:
        super().__init__(identity)
        self._chat = chat
        #: what the conversation shall hear
        self._text: list[str] = []

    def heartbeat(self) -> bytes:
        """An empty line, which goes out as a ping."""
        return b"\n"

    def event(self, name: bytes, value: str | dict[str, object]) -> bytes:
        """One line."""
        if isinstance(value, dict):
            tell = self._chat.last if name == b"done" else self._chat.frame
            return tell(name.decode(), value) + b"\n"
        if name == b"token" and self._chat.conversation is not None:
            self._text.append(value)
        return self._chat.frame(name.decode(), {"text": value}) + b"\n"

    def end(self, timing: Timing) -> bytes:
        """``done``."""
        told = super().end(timing)
        if self._chat.conversation is not None:
            self._chat.conversation.answered("".join(self._text))
        return told

    def fail(self, error: PenstockError) -> bytes:
        """``error``."""
        return self._chat.error(error) + b"\n"


websocket_north: Northbound = WebSocketNorth()
