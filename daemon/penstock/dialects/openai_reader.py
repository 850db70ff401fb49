"""Reads the answers of OpenAI-compatible backends: chat/completions and completions, streamed or whole.

Every frame is decoded in full.  A clean frame (openai_wire) that says one thing becomes one event that carries the
frame itself; any other frame becomes as many neutral events as it says things, without a frame.

What servers do differently and is understood: role, choices, index, ids or finish reasons missing, null, repeated or
empty; usage on any frame (the last one counts); reasoning under two names; whole tool calls in one delta;
``function_call``; content as a list of parts; errors as text, as an object, beside choices, as an ``error`` event or
field, or only as a finish reason; an answer in one JSON text although a stream was asked for; JSON lines in place of
events.
"""

from __future__ import annotations

from collections.abc import Callable

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
from penstock.dialects import openai_wire as wire
from penstock.dialects import refusal
from penstock.dialects.base import Limits
from penstock.dialects.openai_logprobs import chat_logprobs
from penstock.dialects.openai_toolcalls import ToolCalls
from penstock.dialects.reader import FrameReader
from penstock.dialects.sse import Frame, plain_frame
from penstock.errors import BackendGarbled

_Clean = Callable[[bytes], wire.CleanChunk | wire.CleanTextChunk]

_FINISH = {
    "stop": FinishReason.STOP,
    "length": FinishReason.LENGTH,
    "max_tokens": FinishReason.LENGTH,
    "model_length": FinishReason.LENGTH,
    # DeepSeek: the machine ran out of resources in mid-answer; what came is as good as cut by length.
    "insufficient_system_resource": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "function_call": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}
_FAILURES = frozenset({"error", "abort", "aborted", "cancelled"})
_MALFORMED = (msgspec.DecodeError, UnicodeDecodeError, RecursionError)

_clean_chat: _Clean = msgspec.json.Decoder(wire.CleanChunk).decode
_plain = msgspec.json.Decoder(wire.PlainChunk).decode
_clean_text: _Clean = msgspec.json.Decoder(wire.CleanTextChunk).decode
_clean_usage = msgspec.json.Decoder(wire.CleanUsageChunk).decode


class StreamReader(FrameReader):
    """``chat``: frames of chat/completions, else of completions; ``show_progress``: the client asked llama.cpp itself
    for the progress of the prompt and gets those frames as they are.
    """

    def __init__(self, limits: Limits, *, chat: bool, show_progress: bool = False) -> None:
        super().__init__(limits)
        self._chat = chat
        self._show_progress = show_progress
        self._clean = _clean_chat if chat else _clean_text
        self._opened = False
        self._id: str | None = None
        self._calls = ToolCalls()
        self._failure: str | None = None  # a finish reason that says "failed"; the words may follow
        self._logprobs: list[object] = []  # of tokens whose text is still to come
        self._usage: wire.Usage | None = None
        self._usage_raw: bytes | None = None
        self._timings: object = None

    def _read(self, data: bytes, events: list[Event]) -> None:
        plain, frames = self._sse.split(data)
        ordinary = self._ordinary()
        for part in plain:
            if ordinary:
                try:
                    chunk = _plain(part)
                except _MALFORMED:
                    pass
                else:
                    if chunk.id == self._id:
                        events.append(Text(chunk.choices[0].delta.content, b"data: %b\n\n" % part))
                        continue
            self._take(plain_frame(part), events)
            ordinary = self._ordinary()
            if self.done:
                return
        self._frames_of(frames, events)
        if not self.done:
            self._sse.check()

    def _ordinary(self) -> bool:
        """Whether a chunk that is nothing but text may be taken as that."""
        return self._chat and self._opened and not self._logprobs and not self.complete

    def _rest(self, events: list[Event]) -> None:
        super()._rest(events)
        self._close(events)

    def _take(self, frame: Frame, events: list[Event]) -> None:
        raw = frame.raw
        if raw is None:
            clean = None
        else:
            try:
                clean = self._clean(frame.data)
            except _MALFORMED:
                clean = None
            else:
                choice = clean.choices[0]
                ordinary = clean.id == self._id and not (
                    choice.finish_reason or choice.logprobs or self._logprobs or self.complete
                )
                if ordinary and isinstance(choice, wire.CleanTextChoice):
                    if choice.text:
                        events.append(Text(choice.text, raw))
                        return
                elif ordinary and isinstance(choice, wire.CleanChoice):
                    delta = choice.delta
                    thinking = delta.reasoning_content or delta.reasoning
                    if delta.role is None and not delta.tool_calls and bool(thinking) != bool(delta.content):
                        if thinking:
                            # Most clients read only the one name.
                            events.append(Thinking(thinking, None if delta.reasoning else raw))
                        else:
                            events.append(Text(delta.content or "", raw))
                        return
        self._other(frame, clean, events)

    def _other(self, frame: Frame, clean: wire.CleanChunk | wire.CleanTextChunk | None, events: list[Event]) -> None:
        if frame.data.startswith(b"[DONE]"):
            self._close(events)
            return
        if frame.name == "error":
            self._fail(refusal.anything(frame.data), events)
            return
        if not frame.data:
            self._pulse(events)
            return
        chunk = wire.chunk(frame.data)
        if chunk.error:
            self._fail(chunk.error, events)
            return
        self._count(chunk, frame)
        whole = not self._logprobs
        said = self._said(chunk, frame)
        if not self._opened and (chunk.choices or said):
            self._opened = True
            events.append(self._open(chunk, frame.raw if clean is not None and not said and _has_role(clean) else None))
            # A chat's first frame names the role; in completions the head of an answer has no frame of its own.
            whole = not self._chat
        elif not said:
            self._pulse(events)
        if clean is not None and whole and len(said) == 1 and clean.id == self._id:
            said = [_carrying(said[0], clean, frame.raw)]
        events += said

    def _open(self, chunk: wire.Chunk, raw: bytes | None) -> Opened:
        self._id = chunk.id if isinstance(chunk.id, str) else None
        created = chunk.created if isinstance(chunk.created, int) and 0 <= chunk.created < 2**31 else None
        return Opened(self._id, created, chunk.model if isinstance(chunk.model, str) else None, raw)

    def _said(self, chunk: wire.Chunk, frame: Frame) -> list[Event]:
        """What a frame says, apart from its head and its counts."""
        said: list[Event] = []
        if chunk.prompt_progress is not None:
            progress = chunk.prompt_progress
            said.append(Progress(progress.processed, progress.total, frame.raw if self._show_progress else None))
        choice = next((choice for choice in chunk.choices or () if not choice.index), None)
        if choice is None:
            return said
        delta = choice.delta or choice.message or wire.Delta()
        content, thoughts = wire.parts(delta.content)
        thinking = delta.reasoning_content or delta.reasoning or thoughts
        text = content or delta.refusal or choice.text
        if self.complete:
            if thinking or text or delta.tool_calls or delta.function_call:
                raise BackendGarbled("the backend went on after its finish reason", "schema")
            return said
        if thinking:
            said.append(Thinking(thinking))
        if choice.logprobs is not None:
            self._logprobs += chat_logprobs(choice.logprobs)
        if text:
            said.append(Text(text, None, self._logprobs or None))
            self._logprobs = []
        for call in delta.tool_calls or ():
            said += self._calls.add(call)
        if delta.function_call is not None:
            said += self._calls.add(wire.Call(index=0, function=delta.function_call))
        if choice.finish_reason:
            said += self._finish(choice.finish_reason)
        return said

    def _finish(self, word: str) -> list[Event]:
        if word in _FAILURES:
            self._failure = word
            return []
        reason = _FINISH.get(word, FinishReason.STOP)
        if self._calls and reason is FinishReason.STOP:
            reason = FinishReason.TOOL_CALLS
        elif not self._calls and reason is FinishReason.TOOL_CALLS:
            reason = FinishReason.STOP
        self.complete = True
        return [*self._calls.finish(), Finish(reason)]

    def _count(self, chunk: wire.Chunk, frame: Frame) -> None:
        if chunk.timings is not None:
            self._timings = chunk.timings
        usage = chunk.usage
        if usage is None or (usage.prompt_tokens is None and usage.completion_tokens is None):
            return
        self._usage = usage
        self._usage_raw = None
        if frame.raw is not None:
            try:
                clean = _clean_usage(frame.data)
            except _MALFORMED:
                return
            if clean.id == self._id:
                self._usage_raw = frame.raw

    def _close(self, events: list[Event]) -> None:
        """Nothing more can follow: the counts, or the failure whose words never came."""
        if self.done:
            return
        self.done = True
        if self._failure is not None and not self.complete:
            events.append(Failed(f"the backend ended its answer with finish_reason '{self._failure}'"))
        elif self._usage is not None or self._timings is not None:
            events.append(_usage(self._usage or wire.Usage(), wire.timings(self._timings), self._usage_raw))

    def _pulse(self, events: list[Event]) -> None:
        if not self.complete:
            events.append(PULSE)


class DocumentReader(StreamReader):
    """One JSON text in place of a stream; DeepSeek sends blank lines for minutes before it.

    A body that does not begin like one is read as the stream that was asked for.
    """

    def __init__(self, limits: Limits, *, chat: bool) -> None:
        super().__init__(limits, chat=chat)
        self._held: list[bytes] = []
        self._is_stream = False

    def _read(self, data: bytes, events: list[Event]) -> None:
        if not self._held and not self._is_stream:
            data = data.lstrip()
            self._is_stream = bool(data) and not data.startswith((b"{", b"[", b"\xef"))
        if self._is_stream:
            super()._read(data, events)
        elif data:
            self._held.append(data)

    def _rest(self, events: list[Event]) -> None:
        if self._held:
            self._take(Frame(b"".join(self._held)), events)
        super()._rest(events)


def _has_role(clean: wire.CleanChunk | wire.CleanTextChunk) -> bool:
    return isinstance(clean, wire.CleanChunk) and clean.choices[0].delta.role is not None


def _carrying(event: Event, clean: wire.CleanChunk | wire.CleanTextChunk, raw: bytes | None) -> Event:
    """The one event of a clean frame, with the frame if that says exactly the same."""
    choice = clean.choices[0]
    if isinstance(choice, wire.CleanChoice):
        delta = choice.delta
        if delta.role is not None:
            return event
        if isinstance(event, ToolDelta) and not _same_call(event, delta.tool_calls):
            return event
    if isinstance(event, Finish) and event.reason != choice.finish_reason:
        return event
    match event:
        case Text():
            return Text(event.text, raw, event.logprobs)
        case ToolDelta():
            return ToolDelta(event.index, event.id, event.name, event.arguments, raw)
        case Finish():
            return Finish(event.reason, raw)
    return event


def _same_call(event: ToolDelta, calls: tuple[wire.CleanCall] | None) -> bool:
    if not calls:
        return False
    call = calls[0]
    return (
        call.index == event.index
        and call.function.arguments == event.arguments
        and call.function.name == event.name
        and call.id == event.id
        and (event.id is None or call.type == "function")
    )


def _usage(usage: wire.Usage, timings: wire.Timings, raw: bytes | None) -> Usage:
    prompt = usage.prompt_tokens
    if prompt is None:
        prompt = (timings.prompt_n or 0) + (timings.cache_n or 0)
    completion = usage.completion_tokens
    if completion is None:
        completion = timings.predicted_n or 0
    prompt_details = usage.prompt_tokens_details or wire.Details()
    completion_details = usage.completion_tokens_details or wire.Details()
    return Usage(
        prompt_tokens=prompt,
        completion_tokens=completion,
        cached_tokens=prompt_details.cached_tokens,
        reasoning_tokens=completion_details.reasoning_tokens,
        prompt_ns=wire.nanoseconds(timings.prompt_ms),
        completion_ns=wire.nanoseconds(timings.predicted_ms),
        raw=raw,
    )
