"""The whole answer, put together from its events: what a client gets that did not ask for a stream."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.chat.events import Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import ToolCall


class Completion(msgspec.Struct, frozen=True, kw_only=True):
    """An answer as far as it was told; ``finish`` is None while its terminal marker is missing."""

    opened: Opened | None = None
    text: str = ""
    thinking: str = ""
    tool_calls: tuple[ToolCall, ...] = ()
    finish: FinishReason | None = None
    usage: Usage | None = None
    #: OpenAI chat shape, one item per token; None where the backend sent none
    logprobs: list[object] | None = None


class Aggregate:
    """Collects events.  Its size is bounded by what the reader lets through (``limits.answer``)."""

    def __init__(self) -> None:
        self._opened: Opened | None = None
        self._text: list[str] = []
        self._thinking: list[str] = []
        self._calls: dict[int, _Call] = {}
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None
        self._logprobs: list[object] = []

    def add(self, events: Sequence[Event]) -> None:
        """Take the next events; those without content change nothing."""
        for event in events:
            match event:
                case Text():
                    self._text.append(event.text)
                    if event.logprobs:
                        self._logprobs += event.logprobs
                case Thinking():
                    self._thinking.append(event.text)
                case ToolDelta():
                    self._calls.setdefault(event.index, _Call()).add(event)
                case Finish():
                    self._finish = event.reason
                case Usage():
                    self._usage = event
                case Opened():
                    self._opened = event
                case _:
                    pass

    def completion(self) -> Completion:
        """What was told so far."""
        return Completion(
            opened=self._opened,
            text="".join(self._text),
            thinking="".join(self._thinking),
            tool_calls=tuple(call.whole() for _, call in sorted(self._calls.items())),
            finish=self._finish,
            usage=self._usage,
            logprobs=self._logprobs or None,
        )


class _Call:
    def __init__(self) -> None:
        self.id = ""
        self.name = ""
        self.arguments: list[str] = []

    def add(self, delta: ToolDelta) -> None:
        self.id = self.id or delta.id or ""
        self.name = self.name or delta.name or ""
        self.arguments.append(delta.arguments)

    def whole(self) -> ToolCall:
        return ToolCall(id=self.id, name=self.name, arguments="".join(self.arguments) or "{}")
