"""What can happen to bytes on their way, as data: a toxic, and what it makes of the bytes that come.

The kinds are those of toxiproxy (github.com/Shopify/toxiproxy, section "Toxics"), with places of our own: what ends a
connection does so so many bytes after a mark in what passes.
"""

from __future__ import annotations

import random
from collections.abc import Iterator
from typing import Literal

import msgspec

#: How a connection ends: reset; closed on the sending side alone; closed; open for ever, without another byte.
End = Literal["reset", "half-close", "close", "silence"]
#: What is to be done next: pass these bytes on, wait so many seconds, end.
Step = bytes | float | End


class Toxic(msgspec.Struct, frozen=True, kw_only=True):
    """What happens to one direction of a connection: the answer's, or the request's where it is ``upward``."""

    #: seconds before each piece, and how many more at random
    latency: float = 0.0
    jitter: float = 0.0
    #: bytes of a piece; 0: as they come
    slices: int = 0
    #: bytes a second; 0: as fast as they come
    bandwidth: int = 0
    #: how it ends, so many bytes after the end of the first ``mark`` in what passes; None: as the sender ends it
    end: End | None = None
    mark: bytes = b""
    after: int = 0
    upward: bool = False


class Course:
    """One direction of one connection under a toxic: bytes in, steps out."""

    def __init__(self, toxic: Toxic, dice: random.Random) -> None:
        self._toxic = toxic
        self._dice = dice
        self._passed = b""

    def opened(self) -> Iterator[Step]:
        """The steps before any byte: there is an end that comes so early."""
        if self._toxic.end and not self._toxic.mark and not self._toxic.after and not self._toxic.upward:
            yield self._toxic.end

    def take(self, data: bytes) -> Iterator[Step]:
        """The steps for these bytes."""
        toxic = self._toxic
        left = self._left(data)
        allowed = data if left is None else data[:left]
        size = toxic.slices or max(1, len(allowed))
        for start in range(0, len(allowed), size):
            piece = allowed[start : start + size]
            wait = toxic.latency + toxic.jitter * self._dice.random()
            wait += len(piece) / toxic.bandwidth if toxic.bandwidth else 0.0
            if wait:
                yield wait
            yield piece
        if left is not None and left <= len(data) and toxic.end:
            yield toxic.end

    def _left(self, data: bytes) -> int | None:
        """How many of these bytes may pass; None: all of them."""
        toxic = self._toxic
        if toxic.end is None:
            return None
        before = len(self._passed)
        self._passed += data
        found = self._passed.find(toxic.mark)
        if found < 0:
            return None
        return max(0, found + len(toxic.mark) + toxic.after - before)
