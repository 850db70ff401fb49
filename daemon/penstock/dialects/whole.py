"""A whole answer read as the stream that it should have been: its words in pieces."""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from penstock.chat import pieces
from penstock.chat.events import Event, Text, Thinking
from penstock.dialects.base import Reader


class InPieces:
    """See :class:`penstock.dialects.base.Reader`; ``size`` is in characters.

    Calls of tools stay whole, as every client takes them, and so do a text with log probabilities, which belong to
    tokens that may end anywhere, and a frame of a backend that streams all the same.
    """

    def __init__(self, reader: Reader, size: int) -> None:
        self._reader = reader
        self._size = size

    @property
    def complete(self) -> bool:
        return self._reader.complete

    @property
    def done(self) -> bool:
        return self._reader.done

    def receive(self, data: bytes) -> list[Event]:
        """Take the next bytes of the body, cut anywhere."""
        return list(self._cut(self._reader.receive(data)))

    def end(self) -> list[Event]:
        """The body ended."""
        return list(self._cut(self._reader.end()))

    def _cut(self, events: Iterable[Event]) -> Iterator[Event]:
        for event in events:
            match event:
                case Text(raw=None, logprobs=None) if len(event.text) > self._size:
                    yield from map(Text, pieces.cut(event.text, self._size))
                case Thinking(raw=None) if len(event.text) > self._size:
                    yield from map(Thinking, pieces.cut(event.text, self._size))
                case _:
                    yield event
