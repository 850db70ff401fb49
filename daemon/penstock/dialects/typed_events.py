"""Typed events, for browsers and scripts: a message in, named server-sent events with one JSON value each out.

``thinking`` and ``token`` (text), ``tool`` (``{"name", "arguments"}``), then one ``done`` (``{"reason", "usage"}``) or
one ``error`` (``{"error", "reason"}``).  The first event carries the id of the stream: an EventSource connects again
when a stream is over, and then names it in ``Last-Event-ID``: that is how it is known not to want a second answer.

What is asked is a chat in OpenAI's words, in which ``message`` may stand for the last message of the user.
"""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.chat.aggregate import Aggregate
from penstock.chat.events import Event, Finish, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Request
from penstock.config.model import SHAPE, Shape
from penstock.dialects import arguments, fields, jsontext, openai_request
from penstock.dialects.base import Identity, Northbound, Timing, Writer
from penstock.dialects.openai_writer import counts
from penstock.errors import BackendGarbled, BadRequest, PenstockError


class TypedEventsNorth:
    """Typed events as a client's language; the one operation is ``chat``."""

    name = "typed_events"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request, with an empty ``model`` if it names none."""
        return chat(jsontext.decode_request(body, shape=shape), self.name)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        return TypedEvents(identity)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return jsontext.encode(told(error))


def chat(asked: fields.Object, dialect: str) -> Request:
    """What is asked -> the request, with an empty ``model`` if it names none.  Raises BadRequest."""
    message = fields.text(asked, "message")
    messages = fields.sequence(asked, "messages") or []
    if message is not None:
        messages = [*messages, {"role": "user", "content": message}]
    if not messages:
        raise BadRequest("'message' is missing: say what shall be answered", param="message")
    body = {key: value for key, value in asked.items() if key != "message"} | {"messages": messages}
    request = openai_request.chat(body, fields.text(asked, "model") or "")
    return msgspec.structs.replace(request, dialect=dialect, stream=True, include_usage=True)


def told(error: PenstockError) -> dict[str, object]:
    """What a client is told of an error."""
    return {"error": error.message, "reason": error.code}


class TypedEvents:
    """See :class:`penstock.dialects.base.Writer`."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True
    clean_failure = True

    def __init__(self, identity: Identity) -> None:
        self._id = b"id: %b\n" % identity.stream.encode()
        self._answer = Aggregate()  # all but the text, which is sent as it comes
        self._broken: BackendGarbled | None = None

    def write(self, events: Sequence[Event]) -> bytes:
        """An event for each piece of text; tool calls are whole, so they wait for the finish."""
        out: list[bytes] = []
        for event in events:
            match event:
                case Text():
                    out.append(self.event(b"token", event.text))
                case Thinking():
                    out.append(self.event(b"thinking", event.text))
                case ToolDelta() | Usage():
                    self._answer.add((event,))
                case Finish():
                    self._answer.add((event,))
                    try:
                        out += self._tools()
                    except BackendGarbled as error:
                        self._broken = error
                case _:
                    pass
        return b"".join(out)

    def heartbeat(self) -> bytes:
        """A comment."""
        return b": keep-alive\n"

    def end(self, timing: Timing) -> bytes:
        """``done``."""
        if self._broken is not None:
            raise self._broken
        answer = self._answer.completion()
        assert answer.finish is not None, "an answer without its terminal marker ends in fail()"
        return self.event(b"done", {"reason": answer.finish, "usage": counts(answer.usage or Usage())})

    def fail(self, error: PenstockError) -> bytes:
        """``error``, after which nothing comes."""
        return self.event(b"error", told(error))

    def _tools(self) -> list[bytes]:
        answer = self._answer.completion()
        called = [(call.name, arguments.decoded(call, answer.finish)) for call in answer.tool_calls]
        return [self.event(b"tool", {"name": name, "arguments": said}) for name, said in called if said is not None]

    def event(self, name: bytes, value: str | dict[str, object]) -> bytes:
        """One event: the text of a ``thinking`` or ``token``, the object of any other."""
        head, self._id = self._id, b""
        return b"%bevent: %b\ndata: %b\n\n" % (head, name, jsontext.escape(jsontext.encode(value)))


typed_events_north: Northbound = TypedEventsNorth()
