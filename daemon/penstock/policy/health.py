"""How a backend has been doing, learned from the ends of streams and from nothing else.

A backend that failed rests: others are asked before it while its rest lasts, but it is never left out, since a
doubtful backend is better than none.  The rest doubles with each failure in a row and ends with the first success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from math import inf
from typing import TypeVar

from penstock.chat.reasons import Reason

FIRST_REST = 2.0
LONGEST_REST = 60.0

T = TypeVar("T")


class Health:
    """The state of one backend; times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._rest = 0.0
        self._rests_until = -inf

    def note(self, reason: Reason, now: float) -> None:
        """A stream on this backend ended."""
        if reason.blames_backend:
            self._rest = min(self._rest * 2, LONGEST_REST) if self._rest else FIRST_REST
            self._rests_until = now + self._rest
        elif reason is Reason.COMPLETED:
            self._rest = 0.0
            self._rests_until = -inf

    def resting(self, now: float) -> bool:
        return now < self._rests_until


def rested_first(targets: Sequence[T], health_of: Callable[[T], Health], now: float) -> list[T]:
    """The same targets, those on resting backends last."""
    return sorted(targets, key=lambda target: health_of(target).resting(now))
