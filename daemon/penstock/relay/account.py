"""What one stream has come to so far: its place in the life cycle, its times and its counts."""

from __future__ import annotations

from collections.abc import Callable
from math import inf

import trio

from penstock.chat.lifecycle import Life, Phase, Step
from penstock.dialects.base import Timing
from penstock.relay.clocks import Clocks
from penstock.relay.outcome import Gaps

#: Phases in which the client has got content.
SENT = frozenset({Phase.STREAMING, Phase.FINISHING})


class Account:
    """Times are seconds of trio's clock; ``phases`` adds up the seconds in each, of all attempts."""

    __slots__ = (
        "bytes_in",
        "clocks",
        "first_token_at",
        "gaps",
        "last_token_at",
        "life",
        "new_life",
        "phase_since",
        "phases",
        "started",
    )

    def __init__(self, clocks: Clocks, started: float, new_life: Callable[[], Life] = Life) -> None:
        self.new_life = new_life
        self.life = new_life()
        self.clocks = clocks
        self.started = started
        self.phases: dict[Phase, float] = {}
        self.phase_since = started
        self.bytes_in = 0
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self.gaps = Gaps()

    @property
    def content_sent(self) -> bool:
        """Whether it is too late for another target."""
        return self.life.phase in SENT

    def enter(self, step: Step) -> None:
        """Take a step of the life cycle."""
        before = self.life.phase
        self.life.step(step)
        self.entered(before)

    def entered(self, before: Phase) -> None:
        """The phase has changed from this one: add up its time, start the clock of the next."""
        now = trio.current_time()
        self.phases[before] = self.phases.get(before, 0.0) + now - self.phase_since
        self.phase_since = now
        self.clocks.enter(self.life.phase, now)

    def start_over(self) -> None:
        """This target failed before the first content, and another one is tried."""
        self.enter(Step.RETRY)
        self.life = self.new_life()

    def tokens_at(self, now: float) -> None:
        """A read brought tokens."""
        if self.first_token_at is None:
            self.first_token_at = now
        elif self.last_token_at is not None:
            self.gaps.note(now - self.last_token_at)
        self.last_token_at = now

    @property
    def tokens(self) -> int:
        """As the backend counts them; where it does not, the frames that had content."""
        usage = self.life.usage
        return (usage.completion_tokens if usage is not None else 0) or self.life.tokens

    @property
    def tokens_per_second(self) -> float | None:
        """Between the first token and the last; None where that is no time."""
        span = (self.last_token_at or 0.0) - (inf if self.first_token_at is None else self.first_token_at)
        return (self.tokens - 1) / span if span > 0 else None

    def timing(self) -> Timing:
        """The durations for a dialect that tells them."""
        now = trio.current_time()
        first = now if self.first_token_at is None else self.first_token_at
        waited = sum(self.phases.get(phase, 0.0) for phase in (Phase.QUEUED, Phase.CONNECTING))
        return Timing(
            total_ns=nanoseconds(now - self.started),
            load_ns=nanoseconds(waited),
            prompt_ns=nanoseconds(first - self.started - waited),
            completion_ns=nanoseconds(now - first),
        )


def nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))
