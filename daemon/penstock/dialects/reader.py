"""What all readers have in common: the size of an answer is limited, and what is not the dialect ends its events."""

from __future__ import annotations

from abc import ABC, abstractmethod

from penstock.chat.events import Event, Failed
from penstock.config.model import MANNER, Manner
from penstock.dialects.base import Limits
from penstock.errors import BackendGarbled

_STREAMS = ("text/event-stream", "application/x-ndjson")


def is_document(content_type: str, manner: Manner = MANNER) -> bool:
    """Whether a body is one JSON text: it says so, or it was asked for and does not say that it is a stream."""
    kind = content_type.partition(";")[0].strip().lower()
    return kind == "application/json" or (manner.whole and kind not in _STREAMS)


class AnswerReader(ABC):
    """A :class:`penstock.dialects.base.Reader` whose dialect is in ``_read`` and ``_rest``.

    Both add to ``events`` and may raise BackendGarbled at any place: what they added before it stays.
    """

    def __init__(self, limits: Limits) -> None:
        self.complete = False
        self.done = False
        self._limit = limits.answer
        self._left = limits.answer

    def receive(self, data: bytes) -> list[Event]:
        """Take the next bytes of the body, cut anywhere."""
        events: list[Event] = []
        if self.done:
            return events
        self._left -= len(data)
        try:
            if self._left < 0:
                raise BackendGarbled(f"the answer is longer than {self._limit} bytes (limits.answer)", "parse")
            self._read(data, events)
        except BackendGarbled as error:
            self._garbled(error, events)
        return events

    def end(self) -> list[Event]:
        """The body ended; events of what was left in the buffer."""
        events: list[Event] = []
        if self.done:
            return events
        try:
            self._rest(events)
        except BackendGarbled as error:
            self._garbled(error, events)
        self.done = True
        return events

    def _garbled(self, error: BackendGarbled, events: list[Event]) -> None:
        self.done = True
        events.append(Failed(error.message, garbled=error.layer))

    @abstractmethod
    def _read(self, data: bytes, events: list[Event]) -> None:
        """The events of the next bytes."""

    @abstractmethod
    def _rest(self, events: list[Event]) -> None:
        """The events of what waits for more bytes, now that none come."""
