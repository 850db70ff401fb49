"""Reads the answers of a server that has OpenAI's Responses API itself (OpenAI API reference, "Streaming events").

The client speaks the same, so that every frame goes on: each event carries the frame that it was made of and, before
it, those that only give a sign of life.  What runs at the backend, its own tools among them, is told as progress.

The terminal markers are ``response.completed`` and ``response.incomplete``; ``response.failed`` and ``error`` are
failures.  The end of the body is none of them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

import msgspec

from penstock.chat.events import (
    PULSE,
    Event,
    Failed,
    Finish,
    FinishReason,
    Opened,
    Progress,
    Text,
    Thinking,
    ToolDelta,
    Usage,
)
from penstock.dialects import jsontext, refusal, tolerant
from penstock.dialects.base import Limits
from penstock.dialects.reader import FrameReader
from penstock.dialects.sse import Frame
from penstock.errors import BackendGarbled

#: What is one line of a stream; every event of OpenAI's is.
_NAME = re.compile(r"[A-Za-z0-9_.-]+")
_LIFE = frozenset({"response.in_progress", "response.queued", "keepalive"})
_TEXTS = frozenset({"response.output_text.delta", "response.refusal.delta"})
_THOUGHTS = frozenset({"response.reasoning_summary_text.delta", "response.reasoning_text.delta"})
#: Nearly all that comes.
_PIECES = _TEXTS | _THOUGHTS
_INCOMPLETE = {"content_filter": FinishReason.CONTENT_FILTER}


class _Details(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    reason: str | None = None


class _Usage(msgspec.Struct, frozen=True, gc=False):
    input_tokens: int | None = None
    output_tokens: int | None = None
    input_tokens_details: _Details | None = None
    output_tokens_details: _Details | None = None


class _Response(msgspec.Struct, frozen=True, gc=False):
    id: str | None = None
    created_at: float | None = None
    model: str | None = None
    status: str | None = None
    error: object = None
    incomplete_details: _Details | None = None
    usage: _Usage | None = None
    #: items of any type, known or not
    output: list[object] | None = None


class _Frame(msgspec.Struct, frozen=True, gc=False):
    """Any event."""

    type: str = ""
    response: _Response | None = None
    item: object = None
    item_id: str | None = None
    delta: object = None
    error: object = None


_frame = msgspec.json.Decoder(_Frame).decode


class ResponseReader(FrameReader):
    """See :class:`penstock.dialects.base.Reader`; ``document``: one JSON text, without any frame."""

    def __init__(self, limits: Limits, *, document: bool) -> None:
        super().__init__(limits, document=document)
        self._frames: list[bytes] = []  # what goes before the frame of the next event
        self._opened = False
        self._calls: dict[str | None, int] = {}  # id of an item -> index of its call

    def _take(self, frame: Frame, events: list[Event]) -> None:
        if frame.data.startswith(b"[DONE]"):
            # some servers end every stream with it
            events.append(PULSE)
            return
        said, data = _decoded(frame.data)
        kind = said.type or frame.name
        if kind == "error" or (said.error and not kind.startswith("response.")):
            self._fail(said.error or refusal.anything(data), events)
            return
        if kind not in _PIECES and not _NAME.fullmatch(kind):
            raise BackendGarbled(f"the backend sent an event without a name: {refusal.excerpt(data)}", "schema")
        self._frames.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data))
        if kind in _PIECES:
            self._said(kind, said, events)
        elif kind in _LIFE:
            events.append(PULSE)
        elif kind == "response.created":
            self._open(said.response or _Response(), self._raw(), events)
        elif kind in ("response.failed", "response.cancelled"):
            self._fail((said.response or _Response()).error or f"the backend ended its answer with {kind}", events)
        elif kind in ("response.completed", "response.incomplete"):
            self._end(said.response or _Response(), kind, self._raw(), events)
        else:
            self._said(kind, said, events)

    def _said(self, kind: str, said: _Frame, events: list[Event]) -> None:
        if not self._opened:
            self._open(_Response(), None, events)
        delta = said.delta
        if isinstance(delta, str) and delta and kind in _TEXTS:
            events.append(Text(delta, self._raw()))
        elif isinstance(delta, str) and delta and kind in _THOUGHTS:
            events.append(Thinking(delta, self._raw()))
        elif kind == "response.output_item.added" and (call := self._call(said.item)) is not None:
            events.append(msgspec.structs.replace(call, arguments="", raw=self._raw()))
        elif isinstance(delta, str) and delta and said.item_id in self._calls:
            events.append(ToolDelta(self._calls[said.item_id], arguments=delta, raw=self._raw()))
        else:
            events.append(Progress(0, 0, self._raw()))

    def _call(self, item: object) -> ToolDelta | None:
        """The call of a function that an item is, if it is one."""
        match item:
            case {"type": "function_call", "name": str() as name, **rest}:
                identity, call_id, arguments = rest.get("id"), rest.get("call_id"), rest.get("arguments")
                known = identity if isinstance(identity, str) else None
                index = self._calls.setdefault(known, len(self._calls))
                told = call_id if isinstance(call_id, str) else known or "call_unknown"
                return ToolDelta(index, told, name, arguments if isinstance(arguments, str) else "")
        return None

    def _raw(self) -> bytes:
        raw = b"".join(self._frames)
        self._frames.clear()
        return raw

    def _open(self, response: _Response, raw: bytes | None, events: list[Event]) -> None:
        self._opened = True
        created = response.created_at
        events.append(Opened(response.id, None if created is None else int(created), response.model, raw))

    def _end(self, response: _Response, kind: str, raw: bytes | None, events: list[Event]) -> None:
        if not self._opened:
            self._open(response, None, events)
        self.complete = self.done = True
        if (usage := response.usage) is not None:
            before, after = usage.input_tokens_details or _Details(), usage.output_tokens_details or _Details()
            events.append(
                Usage(
                    usage.input_tokens or 0,
                    usage.output_tokens or 0,
                    cached_tokens=before.cached_tokens,
                    reasoning_tokens=after.reasoning_tokens,
                )
            )
        if kind == "response.incomplete":
            why = (response.incomplete_details or _Details()).reason
            reason = _INCOMPLETE.get(why or "", FinishReason.LENGTH)
        else:
            reason = FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
        events.append(Finish(reason, raw))

    def _whole(self, body: bytes, events: list[Event]) -> None:
        """One JSON text: the events of its items."""
        try:
            response = msgspec.convert(jsontext.decode(body), _Response)
        except msgspec.ValidationError as error:
            text = f"the backend's answer is no response: {error}: {refusal.excerpt(body)}"
            raise BackendGarbled(text, "schema") from None
        except ValueError:
            raise BackendGarbled(f"the backend's answer is not JSON: {refusal.excerpt(body)}", "parse") from None
        if response.error or response.status not in ("completed", "incomplete"):
            events.append(
                refusal.failed(response.error)
                if response.error
                else Failed(f"the backend ended its answer with status '{response.status}'")
            )
            return
        self._open(response, None, events)
        for item in response.output or ():
            if (call := self._call(item)) is not None:
                events.append(call)
            match item:
                case {"type": "reasoning", "summary": list() as parts} if parts:
                    events += map(Thinking, _texts(parts))
                case {"type": "reasoning", "content": list() as parts}:
                    events += map(Thinking, _texts(parts))
                case {"type": "message", "content": list() as parts}:
                    events += map(Text, _texts(parts))
        self._end(response, f"response.{response.status}", None, events)


def _texts(parts: list[object]) -> Iterator[str]:
    for part in parts:
        match part:
            case {"text": str() as text} | {"refusal": str() as text} if text:
                yield text


def _decoded(data: bytes) -> tuple[_Frame, bytes]:
    """A frame, and its JSON on one line.  Raises BackendGarbled."""
    try:
        return _frame(jsontext.utf8(data)), data.replace(b"\n", b" ")
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    value = tolerant.parsed(data)
    return tolerant.shaped(value, _Frame, data), jsontext.encode(value)
