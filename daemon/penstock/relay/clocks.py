"""The clocks of one stream: which budget runs, when it is spent, when the client needs a sign of life.

Pure arithmetic on times that are passed in; docs/timeouts.md says it in words.  Nothing here re-arms a timer per
chunk: the pump notes times, and asks what is due only when the earliest deadline has passed.
"""

from __future__ import annotations

from math import inf

from penstock.chat.lifecycle import Phase
from penstock.config.model import Timeouts
from penstock.errors import FirstTokenTimeout, QueueTimeout, Silence, StreamError

#: How long a finished answer waits for the end of its body before it counts as ended.
LINGER = 2.0


class Clocks:
    """All times are seconds of trio's clock.

    ``grace``: after this long without an event the status goes out; ``heartbeat``: after this long without a byte to
    the client it gets a sign of life.
    """

    __slots__ = (
        "_byte_at",
        "_grace_until",
        "_heartbeat",
        "_phase",
        "_progress_at",
        "_sent_at",
        "_since",
        "timeouts",
    )

    def __init__(self, now: float, *, grace: float, heartbeat: float, timeouts: Timeouts) -> None:
        self._heartbeat = heartbeat
        self._grace_until = now + grace
        self.timeouts = timeouts
        self._phase = Phase.QUEUED
        self._since = now
        self._progress_at = now
        self._byte_at: float | None = None
        self._sent_at: float | None = None

    def enter(self, phase: Phase, now: float, timeouts: Timeouts | None = None) -> None:
        """A phase begins, and with it its budget's clock; first_token spans headers and prefill."""
        if timeouts is not None:
            self.timeouts = timeouts
        if not (self._phase is Phase.HEADERS and phase is Phase.PREFILL):
            self._since = now
            self._progress_at = now
        if phase is Phase.QUEUED:
            self._byte_at = None
        elif phase is Phase.PREFILL:
            # the head is the first that came
            self._byte_at = now
        self._phase = phase

    def heard(self, now: float) -> None:
        """The backend sent bytes of any kind."""
        self._byte_at = now

    def progressed(self, now: float) -> None:
        """The backend sent a token, prefill progress or a finish reason."""
        self._progress_at = now

    def sent(self, now: float) -> None:
        """The client got bytes."""
        self._sent_at = now

    def held_up(self, now: float) -> None:
        """The client kept us from reading until now: the backend owes nothing for that time."""
        self._progress_at = now
        if self._byte_at is not None:
            self._byte_at = now

    def due(self) -> float:
        """The earliest time at which something is to be done."""
        return min(self._spent_at(), self._alive_until(), self.beat_at())

    def beat_at(self) -> float:
        """When the client needs a sign of life."""
        if self._phase is Phase.CONNECTING:
            # a connection in the making cannot be interrupted without losing it, and has the shortest budget
            return inf
        return self._grace_until if self._sent_at is None else self._sent_at + self._heartbeat

    def _spent_at(self) -> float:
        budgets = self.timeouts
        if self._phase is Phase.QUEUED:
            return self._since + budgets.queue
        if self._phase is Phase.CONNECTING:
            return self._since + budgets.connect
        if self._phase in (Phase.HEADERS, Phase.PREFILL):
            return self._progress_at + budgets.first_token
        if self._phase is Phase.STREAMING:
            return self._progress_at + budgets.silence
        if self._phase is Phase.FINISHING:
            return self._progress_at + LINGER
        return inf

    def _alive_until(self) -> float:
        if self.timeouts.liveness is None or self._byte_at is None or self._phase is Phase.FINISHING:
            return inf
        return self._byte_at + self.timeouts.liveness

    def spent(self, now: float) -> StreamError | None:
        """The error of the budget that is spent, if one is."""
        budgets = self.timeouts
        if now >= self._spent_at():
            if self._phase is Phase.QUEUED:
                return QueueTimeout(f"no slot came free within the queue budget of {budgets.queue:g} s")
            if self._phase in (Phase.HEADERS, Phase.PREFILL):
                return FirstTokenTimeout(
                    f"the backend sent no token within the first_token budget of {budgets.first_token:g} s"
                )
            if self._phase is Phase.STREAMING:
                return Silence(f"the backend sent no token for {budgets.silence:g} s (silence budget)")
        if now >= self._alive_until():
            return Silence(f"the backend sent not a byte for {budgets.liveness:g} s (liveness budget)")
        return None

    def lingered(self, now: float) -> bool:
        """Whether a finished answer has waited long enough for the end of its body."""
        return self._phase is Phase.FINISHING and now >= self._spent_at()
