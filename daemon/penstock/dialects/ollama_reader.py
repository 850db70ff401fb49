"""Reads one answer of an Ollama server: lines in, events out (ollama server/routes.go, ChatHandler, GenerateHandler).

An answer is complete with ``"done":true``, of which some stand-ins say only the ``done_reason``.  The end of the body
says nothing: Ollama ends it cleanly after some failures, too.  Nor does the content type: stand-ins choose it freely.
"""

from __future__ import annotations

import secrets

import msgspec

from penstock.chat.events import PULSE, Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Operation, Request
from penstock.dialects import jsontext, ndjson, refusal
from penstock.dialects.base import Limits
from penstock.dialects.ollama_wire import Call, Line, decode, decode_odd, odd_shape, seconds
from penstock.dialects.reader import AnswerReader
from penstock.errors import BackendGarbled

#: ``load``, ``unload``, an empty and an unheard-of reason are all a stop: the answer is whole.
_REASONS = {
    "length": FinishReason.LENGTH,
    "tool_calls": FinishReason.TOOL_CALLS,
    "content_filter": FinishReason.CONTENT_FILTER,
}


class OllamaReader(AnswerReader):
    """Lines, whatever they are declared to be; of a ``document``, also one text over several lines."""

    def __init__(self, request: Request, limits: Limits, *, document: bool) -> None:
        super().__init__(limits)
        self._chat = request.operation is Operation.CHAT
        self._lines = ndjson.Lines(limits.line)
        self._may_be_text = document
        self._text: list[bytes] = []  # the lines of that one text
        self._opened = False
        self._calls = 0

    def _read(self, data: bytes, events: list[Event]) -> None:
        lines = self._lines.receive(data)
        if self._may_be_text and lines:
            self._may_be_text = False
            if jsontext.is_cut(lines[0]):
                self._text.append(b"")
        if self._text:
            self._text += lines
        else:
            self._take(lines, events)
        if not self.done:
            self._lines.check()

    def _rest(self, events: list[Event]) -> None:
        lines = self._lines.end()
        if self._text:
            lines = [b" ".join([line.strip() for line in (*self._text, *lines)]) + b"\n"]
        # What is wrong with an object that was cut is that it has no end.
        if lines and not jsontext.is_cut(lines[0]):
            self._take(lines, events)

    def _take(self, lines: list[bytes], events: list[Event]) -> None:
        for data in lines:
            if self.done:
                break
            raw: bytes | None = data
            try:
                line = decode(jsontext.utf8(data))
            except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                line, raw = decode_odd(data), None
            if not self._opened:
                self._opened = True
                events.append(Opened(created=seconds(line.created_at), model=line.model))

            message = line.message
            if message is not None:
                text, thinking, calls = message.content, message.thinking, message.tool_calls
                shaped = self._chat and message.role == "assistant"
            else:
                text, thinking, calls = line.response, line.thinking, None
                shaped = not self._chat
            # Sent on as it is only with all that clients ask of every line; they drop it or give up otherwise.
            if not shaped or text is None or line.done is None or not line.model or type(line.created_at) is not str:
                raw = None
            elif calls == []:
                # Some clients read an empty list as the call of a tool.
                raw = None

            if not (calls or line.done or line.done_reason or line.error):
                if text and not thinking:
                    events.append(Text(text, raw, line.logprobs))
                    continue
                if thinking and not text:
                    events.append(Thinking(thinking, raw))
                    continue
            events += self._other(data, line, raw, text, thinking, calls or [])

    def _other(
        self, data: bytes, line: Line, raw: bytes | None, text: str | None, thinking: str | None, calls: list[Call]
    ) -> list[Event]:
        """A line that says anything but a piece of text: an error, several things, the end, or nothing at all."""
        if line.error:
            self.done = True
            return [refusal.failed(line.error)]
        if line.done_reason == "error":
            self.done = True
            return [refusal.failed(text or "the backend ended its answer with done_reason 'error'")]
        ends = bool(line.done or line.done_reason)
        if line.message is None and text is None and thinking is None and line.done is None and not ends:
            raise odd_shape("no message, response or done", data)
        if bool(thinking) + bool(text) + len(calls) + ends > 1:
            raw = None
        events: list[Event] = []
        if thinking:
            events.append(Thinking(thinking, raw))
        if text:
            events.append(Text(text, raw, line.logprobs))
        events += [self._call(call, raw) for call in calls]
        if ends:
            events += self._ending(line, raw)
        return events or [PULSE]

    def _call(self, call: Call, raw: bytes | None) -> ToolDelta:
        index, self._calls = self._calls, self._calls + 1
        match call.function.arguments:
            case dict() as arguments:
                text = jsontext.encode(arguments).decode()
            case str() | None as arguments:
                # Clients want an object, so such a line is never sent on.
                text, raw = arguments or "{}", None
            case arguments:
                kind, name = jsontext.kind(arguments), call.function.name
                raise BackendGarbled(f"the backend called a function with {kind} for arguments: {name}", "schema")
        return ToolDelta(index, call.id or f"call_{secrets.token_hex(4)}", call.function.name, text, raw)

    def _ending(self, line: Line, raw: bytes | None) -> list[Event]:
        """What a line with done or done_reason ends.  Some servers say them on two lines, or never say done."""
        events: list[Event] = []
        counters = line.counters()
        total, load, prompt_tokens, prompt, completion_tokens, completion = counters
        if not self.complete:
            self.complete = True
            reason = _REASONS.get(line.done_reason or "", FinishReason.STOP)
            if self._calls and reason is not FinishReason.LENGTH:
                reason = FinishReason.TOOL_CALLS
            # Clients want all six counters, and divide by the last; an answer to a load request has none.
            full = line.done_reason in ("stop", "length") and None not in counters and completion
            if not full and line.done_reason not in ("load", "unload"):
                raw = None
            events.append(Finish(reason, raw if line.done else None))
        if line.done:
            self.done = True
            if any(counter is not None for counter in counters):
                usage = Usage(
                    prompt_tokens=prompt_tokens or 0,
                    completion_tokens=completion_tokens or 0,
                    load_ns=load,
                    prompt_ns=prompt,
                    completion_ns=completion,
                    total_ns=total,
                )
                events.append(usage)
        return events
