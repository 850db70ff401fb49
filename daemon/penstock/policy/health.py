"""How the backends have been doing, learned from the ends of streams and from nothing else.

A backend that failed rests: others are asked before it while its rest lasts, but it is never left out, since a
doubtful backend is better than none.  The rest doubles with each failure in a row and ends with the first success.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import TypeVar

from penstock.chat.reasons import Reason

FIRST_REST = 2.0
LONGEST_REST = 60.0

T = TypeVar("T")


class Health:
    """The state of all backends; times are seconds of any steady clock."""

    def __init__(self) -> None:
        self._failures: dict[str, int] = {}
        self._rests_until: dict[str, float] = {}

    def note(self, backend: str, reason: Reason, now: float) -> None:
        """A stream on this backend ended."""
        if reason.blames_backend:
            failures = self._failures.get(backend, 0) + 1
            self._failures[backend] = failures
            self._rests_until[backend] = now + min(FIRST_REST * 2 ** (failures - 1), LONGEST_REST)
        elif reason is Reason.COMPLETED:
            self._failures.pop(backend, None)
            self._rests_until.pop(backend, None)

    def resting(self, backend: str, now: float) -> bool:
        return now < self._rests_until.get(backend, now)

    def order(self, targets: Sequence[T], backend_of: Callable[[T], str], now: float) -> list[T]:
        """The same targets, those on resting backends last."""
        return sorted(targets, key=lambda target: self.resting(backend_of(target), now))
