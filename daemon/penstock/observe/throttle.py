"""How often a thing of one kind is told: some at once, then few a second, and how many were left out."""

from __future__ import annotations


class Throttle:
    """``burst`` at once, then ``rate`` a second; ``now`` is in seconds of a clock that never goes back."""

    def __init__(self, burst: int, rate: float) -> None:
        self._burst = burst
        self._rate = rate
        self._room = float(burst)
        self._seen = 0.0
        self._left_out = 0

    def admit(self, now: float) -> int | None:
        """How many were left out since the last one that was told; None: this one is left out, too."""
        self._room = min(self._burst, self._room + (now - self._seen) * self._rate)
        self._seen = now
        if self._room < 1:
            self._left_out += 1
            return None
        self._room -= 1
        left_out, self._left_out = self._left_out, 0
        return left_out
