"""Who listens to the relay's outcomes: log and metrics in one place."""

from __future__ import annotations

import math
import time
from collections import defaultdict
from collections.abc import Callable

import msgspec

from penstock.chat.reasons import Reason
from penstock.errors import PenstockError
from penstock.observe.log import logger
from penstock.observe.metrics import Metrics
from penstock.observe.throttle import Throttle
from penstock.relay.content import Content
from penstock.relay.outcome import Outcome
from penstock.relay.stream import Plan

#: Ends that an owner need not be warned of.
QUIET = frozenset({Reason.COMPLETED, Reason.CLIENT_GONE, Reason.SHUTDOWN, Reason.KILLED, Reason.SUPERSEDED})

#: Characters of one field of what was asked and answered: a pipe takes all of them in one go.
LONGEST_CONTENT = 8192
#: Lines of refused requests with the same code: so many at once, then so many a second.  Anybody can be refused as
#: often as he likes, and must not fill the journal.
REFUSALS_AT_ONCE, REFUSALS_A_SECOND = 200, 1.0
#: Characters of a path and of a method, which clients make up.
LONGEST_NAME = 256
#: What goes on is told again after this many seconds.
TOLD_AGAIN = 60.0
OUT_OF_DESCRIPTORS = (
    "clients wait until others leave: allow penstock more descriptors (LimitNOFILE in its unit, or ulimit -n), "
    "or lower limits.connections"
)


class Observer:
    """Takes what happens, once each; ``hear`` gets every outcome too.  Several may count in the same metrics."""

    def __init__(self, hear: Callable[[Outcome], None] | None = None, metrics: Metrics | None = None) -> None:
        self.metrics = metrics or Metrics()
        self._hear = hear
        self._log = logger()
        self._tell_exhausted_at = -math.inf
        self._refusals = defaultdict[str, Throttle](lambda: Throttle(REFUSALS_AT_ONCE, REFUSALS_A_SECOND))

    def speak_anew(self) -> None:
        """Log as :func:`penstock.observe.log.configure` has set it up since."""
        self._log = logger()

    def ended(self, outcome: Outcome) -> None:
        """A stream's closing line, and its counts."""
        self.metrics.ended(outcome)
        log = self._log.info if outcome.reason in QUIET else self._log.warning
        log("stream ended", **line(outcome))
        if outcome.content is not None:
            self._log.info("stream content", stream=outcome.stream, **content(outcome.content))
        if self._hear is not None:
            self._hear(outcome)

    def fell_back(self, stream: str, plan: Plan, reason: Reason, message: str) -> None:
        """A target failed before the first content and the next one is tried."""
        self.metrics.fell_back(plan.backend.name, reason.value)
        self._log.warning(
            "target failed, trying the next",
            stream=stream,
            target=str(plan.target),
            reason=reason.value,
            message=message,
        )

    def refused(self, method: str, path: str, error: PenstockError) -> None:
        """A request was refused before a stream began."""
        self._refused(error, method=method[:LONGEST_NAME], path=path[:LONGEST_NAME])

    def turned_away(self, peer: str, error: PenstockError) -> None:
        """A connection was refused, or what came on it was no request; ``peer`` is an address, or ``user UID``."""
        self._refused(error, peer=peer)

    def _refused(self, error: PenstockError, **whose: str) -> None:
        self.metrics.refused(error.code)
        left_out = self._refusals[error.code].admit(time.monotonic())
        if left_out is None:
            return
        more = {"left_out": left_out} if left_out else {}
        self._log.info("request refused", **whose, status=error.status, code=error.code, message=error.logged, **more)

    def exhausted(self) -> None:
        """A connection waits to be accepted for want of a descriptor; told once a while, counted each time."""
        self.metrics.exhausted()
        now = time.monotonic()
        if now >= self._tell_exhausted_at:
            self._tell_exhausted_at = now + TOLD_AGAIN
            self._log.warning("out of file descriptors", message=OUT_OF_DESCRIPTORS)

    def bug(self, where: str, error: Exception) -> None:
        """An exception that should not have been: the only thing that is logged with a traceback."""
        self._log.error("a bug in penstock", where=where, exc_info=error)

    def scrape(self) -> tuple[bytes, str]:
        return self.metrics.scrape()


def line(outcome: Outcome) -> dict[str, object]:
    """The fields of a stream's closing line; absent what there is nothing to say of.  Seconds, bytes, tokens."""
    fields: dict[str, object] = {
        "reason": outcome.reason.value,
        "stream": outcome.stream,
        "key": outcome.key,
        "model": outcome.model,
        "target": outcome.target,
        "dialect": outcome.dialect,
        "phase": outcome.phase.value,
        "total": seconds(outcome.total),
        "first_token": seconds(outcome.first_token),
        "tokens": outcome.tokens,
        "tokens_per_second": None if outcome.tokens_per_second is None else round(outcome.tokens_per_second, 1),
        "prompt_tokens": outcome.prompt_tokens,
        "bytes_in": outcome.bytes_in,
        "bytes_out": outcome.bytes_out,
        "heartbeats": outcome.heartbeats or None,
        "attempts": outcome.attempts if outcome.attempts > 1 else None,
        "teardown": seconds(outcome.teardown),
        "orphaned": seconds(outcome.orphaned),
        "dropped": ",".join(outcome.dropped) or None,
        "message": outcome.message,
        "layer": outcome.layer,
    }
    fields |= {f"in_{phase.value}": seconds(spent) for phase, spent in outcome.phases.items() if spent >= 0.0005}
    return {name: value for name, value in fields.items() if value is not None}


def content(told: Content) -> dict[str, str]:
    """What was asked and answered, as far as there is some, with the middle of a long text left out."""
    return {name: shortened(text) for name, text in msgspec.structs.asdict(told).items() if text}


def shortened(text: str) -> str:
    left_out = len(text) - LONGEST_CONTENT
    if left_out <= 0:
        return text
    half = LONGEST_CONTENT // 2
    return f"{text[:half]} [… {left_out} characters …] {text[-half:]}"


def seconds(value: float | None) -> float | None:
    return None if value is None else round(value, 4)
