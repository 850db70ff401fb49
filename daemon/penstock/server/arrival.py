"""How long something that a client sends may take: so long in all, and after a moment so fast on average."""

from __future__ import annotations

from penstock.config.model import Limits

#: Seconds that it has before ``limits.body_rate`` counts.
HEAD_START = 5.0


class Arrival:
    """``what`` is on its way since ``begun``, and ``size`` bytes of it are here; seconds of trio's clock."""

    def __init__(self, what: str, limits: Limits, begun: float) -> None:
        self.size = 0
        self._what = what
        self._limits = limits
        self._begun = begun
        self._last = begun + limits.body_time

    @property
    def due(self) -> float:
        """When more has to be here.  Every byte buys time, but never beyond the whole."""
        return min(self._last, self._begun + HEAD_START + self.size / self._limits.body_rate)

    def why(self, now: float) -> str:
        """What to say when that time is over."""
        limits = self._limits
        if now < self._last:
            return f"{self._what} came slower than limits.body_rate ({limits.body_rate} bytes a second)"
        return f"{self._what} did not arrive within limits.body_time ({limits.body_time:g} s)"
