"""Answers that are one JSON text and no chat: read when all of it is here, and written when it is over."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from penstock.chat.events import Event, Finish, FinishReason, Opened, Usage
from penstock.dialects.base import Limits, Timing
from penstock.dialects.reader import AnswerReader
from penstock.errors import BackendGarbled, PenstockError

T = TypeVar("T", bound=msgspec.Struct)
E = TypeVar("E", bound=Event)


class TextReader(AnswerReader, Generic[T]):
    """See :class:`penstock.dialects.base.Reader`; ``kind`` has an ``error``, ``called`` is its name for people."""

    def __init__(self, kind: type[T], called: str, limits: Limits) -> None:
        super().__init__(limits)
        self._decode = msgspec.json.Decoder(kind).decode
        self._called = called
        self._body = bytearray()

    def _read(self, data: bytes, events: list[Event]) -> None:
        self._body += data

    def _rest(self, events: list[Event]) -> None:
        try:
            answer = self._decode(self._body)
        except (msgspec.DecodeError, UnicodeDecodeError) as error:
            layer = "schema" if isinstance(error, msgspec.ValidationError) else "parse"
            raise BackendGarbled(f"the backend's {self._called} cannot be read: {error}", layer) from None
        if failure := getattr(answer, "error", None):
            self._fail(failure, events)
            return
        told = [*self._told(answer)]
        events += [Opened(), *told, Finish(FinishReason.STOP)]
        self.complete = True

    @abstractmethod
    def _told(self, answer: T) -> Iterator[Event]:
        """What it says, its counts last.  Raises BackendGarbled."""


class TextWriter(ABC, Generic[E]):
    """See :class:`penstock.dialects.base.Writer`; ``kind`` are the events that the answer consists of."""

    content_type = "application/json"
    streaming = False
    clean_failure = False

    def __init__(self, kind: type[E]) -> None:
        self._kind = kind
        self._said: list[E] = []
        self._usage = Usage()

    def write(self, events: Sequence[Event]) -> bytes:
        """Collect; nothing to send yet."""
        for event in events:
            if isinstance(event, self._kind):
                self._said.append(event)
            elif isinstance(event, Usage):
                self._usage = event
        return b""

    def heartbeat(self) -> bytes:
        """White space before the JSON text."""
        return b" "

    @abstractmethod
    def end(self, timing: Timing) -> bytes:
        """The whole answer."""

    def fail(self, error: PenstockError) -> bytes:
        """Nothing: the body is cut."""
        return b""
