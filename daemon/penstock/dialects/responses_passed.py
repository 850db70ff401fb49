"""Hands on the events of a server that has the Responses API itself: as they are, or the response at their end.

Heartbeats are comments, since an event of ours would take a number that the server's next one has.  Why a stream ends
is told where its events stopped: under its id of the response, and with the next number.  An answer without frames is
written as any other.
"""

from __future__ import annotations

import re
from collections.abc import Sequence

from penstock.chat.events import Event, Failed, Finish, Opened, Pulse, Usage
from penstock.chat.request import Request
from penstock.dialects import jsontext
from penstock.dialects.base import Identity, Timing
from penstock.dialects.responses_told import Told
from penstock.dialects.responses_writer import ResponseStream, ResponseWhole
from penstock.errors import PenstockError

_NUMBER = re.compile(rb'"sequence_number": ?([0-9]{1,15})')


class ResponsePassed(ResponseStream):
    """See :class:`penstock.dialects.base.Writer`."""

    def __init__(self, request: Request, identity: Identity) -> None:
        super().__init__(request, identity)
        self._relayed = b""  # the frames of the server that went out last
        self._ended = False  # its terminal event was among them
        self._told = Told()

    def write(self, events: Sequence[Event]) -> bytes:
        """The server's own frames."""
        frames: list[bytes] = []
        for event in events:
            raw = raw_of(event)
            if isinstance(event, Opened) and event.id is not None:
                self.id = event.id
            if raw is None:
                frames.append(super().write((event,)))
            else:
                self._opened = True
                self._relayed = raw
                self._ended = isinstance(event, Finish)
                self._told.take(raw)
                frames.append(raw)
        return b"".join(frames)

    def heartbeat(self) -> bytes:
        """A comment."""
        return b": keep-alive\n"

    def end(self, timing: Timing) -> bytes:
        """Nothing, where the server's own last event went out."""
        return b"" if self._ended else super().end(timing)

    def fail(self, error: PenstockError) -> bytes:
        """The last event of an answer that ends badly; what was told stays told."""
        if told := _NUMBER.findall(self._relayed):
            self._number = int(told[-1]) + 1
        return super().fail(error)

    def output(self) -> list[object]:
        """The items as far as the server told them, and those that were written here."""
        return self._told.output() + super().output()


class ResponsePassedWhole(ResponseWhole):
    """The response that the server's terminal event holds."""

    _last = b""

    def write(self, events: Sequence[Event]) -> bytes:
        """Keep the last frame; nothing to send yet."""
        super().write(events)
        for event in events:
            if isinstance(event, Finish):
                self._last = event.raw or b""
        return b""

    def end(self, timing: Timing) -> bytes:
        """The whole response."""
        match jsontext.decode(self._last.rpartition(b"\ndata: ")[2]) if self._last else None:
            case {"response": dict() as response}:
                return jsontext.escape(jsontext.encode(response))
        return super().end(timing)


def raw_of(event: Event) -> bytes | None:
    """The frame that an event carries."""
    match event:
        case Pulse() | Failed() | Usage():
            return None
    return event.raw
