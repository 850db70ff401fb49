"""What readers have in common: the size of an answer is limited, what is not the dialect ends its events, and frames
come as server-sent events.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence

from penstock.chat.events import PULSE, Event, Failed
from penstock.config.model import MANNER, Manner
from penstock.dialects import refusal
from penstock.dialects.base import Limits
from penstock.dialects.sse import Comment, Decoder, Frame
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

    def _fail(self, error: object, events: list[Event]) -> None:
        """The backend says that it failed; ``error`` is what stands under that name, or a whole error body."""
        self.done = True
        events.append(refusal.failed(error))

    @abstractmethod
    def _read(self, data: bytes, events: list[Event]) -> None:
        """The events of the next bytes."""

    @abstractmethod
    def _rest(self, events: list[Event]) -> None:
        """The events of what waits for more bytes, now that none come."""


class FrameReader(AnswerReader):
    """One whose answers are server-sent events or, where ``document``, one JSON text."""

    def __init__(self, limits: Limits, *, document: bool = False) -> None:
        super().__init__(limits)
        self._sse = Decoder(limits.line)
        self._document: list[bytes] | None = [] if document else None

    def _read(self, data: bytes, events: list[Event]) -> None:
        if self._document is not None:
            self._document.append(data)
            return
        self._frames_of(self._sse.receive(data), events)
        if not self.done:
            self._sse.check()

    def _frames_of(self, frames: Sequence[Frame | Comment], events: list[Event]) -> None:
        for frame in frames:
            if self.done:
                return
            if type(frame) is Frame:
                self._take(frame, events)
            else:
                self._pulse(events)

    def _rest(self, events: list[Event]) -> None:
        if self._document is not None:
            body = b"".join(self._document)
            if body.strip():
                self._whole(body, events)
            return
        try:
            for frame in self._sse.end():
                if type(frame) is Frame:
                    self._take(frame, events)
        except BackendGarbled as error:
            # A last frame that was cut in two makes the answer incomplete, not garbled.
            if error.layer != "parse":
                raise

    def _pulse(self, events: list[Event]) -> None:
        """The backend is alive, and says nothing."""
        events.append(PULSE)

    @abstractmethod
    def _take(self, frame: Frame, events: list[Event]) -> None:
        """The events of one frame."""

    def _whole(self, body: bytes, events: list[Event]) -> None:
        """Those of one JSON text, which many dialects write as one frame."""
        self._take(Frame(body), events)
