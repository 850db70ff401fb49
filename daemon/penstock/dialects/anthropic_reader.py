"""Reads the answers of Anthropic's Messages API: server-sent events, or one JSON text (Anthropic API, "Streaming").

A client of the same dialect gets all of the backend's frames: each event carries the frame that it was made of and,
before it, those that say nothing in the neutral tongue (the beginning and end of a block, a signature, a citation, the
blocks of tools that run at the backend).  Either all events of an answer carry frames or none does: no other client
has a use for them.
"""

from __future__ import annotations

import secrets

import msgspec

from penstock.chat.events import PULSE, Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.dialects import jsontext, refusal, tolerant
from penstock.dialects.base import Limits
from penstock.dialects.reader import FrameReader
from penstock.dialects.sse import Frame
from penstock.errors import BackendGarbled

_REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "tool_use": FinishReason.TOOL_CALLS,
    "refusal": FinishReason.CONTENT_FILTER,
}


class Block(msgspec.Struct, frozen=True, gc=False):
    """A block of content: at its start in a stream, whole in a JSON text."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    id: str | None = None
    name: str | None = None
    input: object = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A piece of a block, or of the message."""

    type: str = ""
    text: str | None = None
    thinking: str | None = None
    partial_json: str | None = None
    stop_reason: str | None = None


class Counts(msgspec.Struct, frozen=True, gc=False):
    """Tokens so far; ``input_tokens`` is without those that the cache knew."""

    input_tokens: int | None = None
    output_tokens: int | None = None
    cache_read_input_tokens: int | None = None
    cache_creation_input_tokens: int | None = None


class Message(msgspec.Struct, frozen=True, gc=False):
    """The head of a stream, or the whole answer."""

    id: str | None = None
    model: str | None = None
    content: list[Block] | None = None
    stop_reason: str | None = None
    usage: Counts | None = None


class Part(msgspec.Struct, frozen=True, gc=False):
    """Any frame."""

    type: str = ""
    index: int | None = None
    message: Message | None = None
    content_block: Block | None = None
    delta: Delta | None = None
    usage: Counts | None = None
    error: object = None


_part = msgspec.json.Decoder(Part).decode


class MessageReader(FrameReader):
    """``document``: the body is one JSON text; ``framed``: its events carry their frames."""

    def __init__(self, limits: Limits, *, document: bool, framed: bool) -> None:
        super().__init__(limits, document=document)
        self._framed = framed
        self._frames: list[bytes] = []  # what the next event carries
        self._opened = False
        self._calls = 0
        self._call_block: int | None = None  # the block of the call that is being told
        self._counts = Counts()

    def _rest(self, events: list[Event]) -> None:
        super()._rest(events)
        if not self.done and self.complete:
            self._close(events)

    def _take(self, frame: Frame, events: list[Event]) -> None:
        if frame.name == "error":
            self._fail(refusal.anything(frame.data), events)
            return
        data = frame.data
        try:
            part = _part(jsontext.utf8(data))
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            part, data = _odd(data)
        kind = part.type or frame.name
        if kind == "error" or part.error:
            self._fail(part.error or refusal.anything(data), events)
            return
        if kind == "ping" or not kind.isidentifier():
            # A name that is none would not be one line of the client's stream.
            events.append(PULSE)
            return
        if self._framed:
            self._frames.append(b"event: %b\ndata: %b\n\n" % (kind.encode(), data.replace(b"\n", b" ")))
        said = len(events)
        match kind:
            case "content_block_delta":
                self._delta(part.delta or Delta(), part.index, events)
            case "message_start":
                self._open(part.message or Message(), self._raw(), events)
            case "content_block_start":
                self._begin(part.content_block or Block(), part.index, events)
            case "message_delta":
                self._count(part.usage)
                if part.delta is not None and part.delta.stop_reason:
                    if not self._opened:
                        self._open(Message(), None, events)
                    self._finish(part.delta.stop_reason, events)
            case "message_stop":
                self._close(events)
                return
        if len(events) == said:
            events.append(PULSE)

    def _raw(self) -> bytes | None:
        if not self._framed:
            return None
        raw = b"".join(self._frames)
        self._frames.clear()
        return raw

    def _open(self, message: Message, raw: bytes | None, events: list[Event]) -> None:
        self._opened = True
        self._count(message.usage)
        events.append(Opened(message.id, None, message.model, raw))

    def _begin(self, block: Block, index: int | None, events: list[Event]) -> None:
        """Some servers put the first piece of a block, or all of it, into its start."""
        self._ready(events)
        if block.type == "tool_use":
            self._call_block = index
            events.append(self._called(block, self._raw()))
        else:
            self._say(block.text, block.thinking, events)

    def _delta(self, delta: Delta, index: int | None, events: list[Event]) -> None:
        self._ready(events)
        if delta.type == "text_delta" or delta.type == "thinking_delta":
            self._say(delta.text, delta.thinking, events)
        # Tools that run at the backend have input, too.
        elif delta.type == "input_json_delta" and delta.partial_json and index == self._call_block and self._calls:
            events.append(ToolDelta(self._calls - 1, arguments=delta.partial_json, raw=self._raw()))

    def _ready(self, events: list[Event]) -> None:
        if self.complete:
            raise BackendGarbled("the backend went on after its stop_reason", "schema")
        if not self._opened:
            self._open(Message(), None, events)

    def _say(self, text: str | None, thinking: str | None, events: list[Event]) -> None:
        if text:
            events.append(Text(text, self._raw()))
        elif thinking:
            events.append(Thinking(thinking, self._raw()))

    def _called(self, block: Block, raw: bytes | None) -> ToolDelta:
        if not block.name:
            raise BackendGarbled("the backend sent a tool call without a name", "schema")
        index, self._calls = self._calls, self._calls + 1
        arguments = jsontext.encode(block.input).decode() if block.input else ""
        return ToolDelta(index, block.id or f"call_{secrets.token_hex(4)}", block.name, arguments, raw)

    def _finish(self, word: str, events: list[Event]) -> None:
        if self.complete:
            return
        if word == "error":
            self._fail("the backend ended its answer with stop_reason 'error'", events)
            return
        self.complete = True
        reason = _REASONS.get(word, FinishReason.STOP)
        if reason in (FinishReason.STOP, FinishReason.TOOL_CALLS):
            reason = FinishReason.TOOL_CALLS if self._calls else FinishReason.STOP
        events.append(Finish(reason, self._raw() or None))

    def _count(self, counts: Counts | None) -> None:
        """The last number of each count stays: they are told several times, and not all each time."""
        if counts is not None:
            told = {name: value for name, value in msgspec.structs.asdict(counts).items() if value is not None}
            self._counts = msgspec.structs.replace(self._counts, **told)

    def _close(self, events: list[Event]) -> None:
        self.done = True
        counts = self._counts
        if counts.input_tokens is None and counts.output_tokens is None:
            return
        cached = counts.cache_read_input_tokens
        events.append(
            Usage(
                prompt_tokens=(counts.input_tokens or 0) + (cached or 0) + (counts.cache_creation_input_tokens or 0),
                completion_tokens=counts.output_tokens or 0,
                cached_tokens=cached,
            )
        )

    def _whole(self, body: bytes, events: list[Event]) -> None:
        """One JSON text: all events of the answer, without frames."""
        value = refusal.anything(body)
        match value:
            case {"error": error} if error:
                self._fail(error, events)
                return
            case {"content": list()}:
                message = tolerant.shaped(value, Message, body)
            case _:
                layer = "parse" if isinstance(value, str) else "schema"
                raise BackendGarbled(f"the backend's answer is no message: {refusal.excerpt(body)}", layer)
        self._open(message, None, events)
        for block in message.content or ():
            if block.type == "tool_use":
                events.append(self._called(block, None))
            elif block.text:
                events.append(Text(block.text))
            elif block.thinking:
                events.append(Thinking(block.thinking))
        if message.stop_reason:
            self._finish(message.stop_reason, events)
            self._close(events)


def _odd(data: bytes) -> tuple[Part, bytes]:
    """A frame that strict parsing refused, and its JSON as it should have been.  Raises BackendGarbled."""
    value = tolerant.parsed(data)
    return tolerant.shaped(value, Part, data), jsontext.encode(value)
