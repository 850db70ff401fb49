"""The streams that are alive now."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator
from typing import Protocol

import trio

from penstock.chat.lifecycle import Phase
from penstock.chat.reasons import Reason
from penstock.chat.request import Request
from penstock.dialects.base import Writer


class Living(Protocol):
    """What others may know of a running stream, and do to it."""

    id: str
    key: str | None
    #: of the configuration that it runs under
    generation: int
    request: Request

    @property
    def phase(self) -> Phase: ...

    @property
    def began(self) -> float: ...

    @property
    def backend(self) -> str | None: ...

    @property
    def writer(self) -> Writer: ...

    @property
    def bytes_out(self) -> int: ...

    def end(self, reason: Reason, message: str) -> None:
        """End it; its client is told in-band.  The first reason stays."""


class Live:
    """A set of running streams; ``empty`` can be waited for."""

    def __init__(self) -> None:
        self._streams: dict[str, Living] = {}
        self._emptied = trio.Event()
        self._emptied.set()

    def __len__(self) -> int:
        return len(self._streams)

    def __iter__(self) -> Iterator[Living]:
        return iter(list(self._streams.values()))

    def add(self, stream: Living) -> None:
        if not self._streams:
            self._emptied = trio.Event()
        self._streams[stream.id] = stream

    def remove(self, stream: Living) -> None:
        self._streams.pop(stream.id, None)
        if not self._streams:
            self._emptied.set()

    def of_key(self, name: str | None) -> int:
        """How many streams this key has."""
        return sum(stream.key == name for stream in self._streams.values())

    def by_generation(self) -> Counter[int]:
        """How many streams each generation of the configuration has."""
        return Counter(stream.generation for stream in self._streams.values())

    def by_phase(self) -> Counter[Phase]:
        """How many streams are in each phase."""
        return Counter(stream.phase for stream in self._streams.values())

    async def empty(self) -> None:
        """Return when no stream is left."""
        while self._streams:
            await self._emptied.wait()

    def end_all(self, reason: Reason, message: str) -> None:
        """End every stream with the same reason; each tells its client in-band."""
        for stream in self:
            stream.end(reason, message)
