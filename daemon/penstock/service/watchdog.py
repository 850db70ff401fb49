"""The pulse of the event loop: how late it runs, and the proof for the service manager that it runs at all.

The proof comes out of the loop itself.  A thread would go on pinging while the loop hangs.
"""

from __future__ import annotations

import math
from collections import deque
from collections.abc import Callable, Mapping

import trio

from penstock.service.notify import Notifier

#: Seconds between two looks at the clock.
PULSE = 1.0
#: How many looks are remembered: those of a minute, so that every scraper of the metric sees the same.
KEPT = 60


class Lag:
    """How late the event loop woke up: what every other task had to wait, too."""

    def __init__(self) -> None:
        self._late: deque[float] = deque(maxlen=KEPT)

    def note(self, late: float) -> None:
        self._late.append(late)

    def worst(self) -> float:
        """The longest of the last minute, in seconds."""
        return max(self._late, default=0.0)


def patience(environ: Mapping[str, str], pid: int) -> float | None:
    """How many seconds the service manager waits for a ping; None: it wants none, or none from this process."""
    microseconds = environ.get("WATCHDOG_USEC", "")
    if not microseconds.isdecimal() or not int(microseconds) or environ.get("WATCHDOG_PID", str(pid)) != str(pid):
        return None
    return int(microseconds) / 1e6


async def pulse(
    lag: Lag, notifier: Notifier, state: Callable[[], Mapping[str, str | int]], watchdog: float | None
) -> None:
    """Measure the lag about once a second, for ever; pass on ``state`` when it is a new one.

    A ping leaves at half of ``watchdog`` seconds (sd_watchdog_enabled(3)).
    """
    beats = 1 if watchdog is None else max(1, math.ceil(watchdog / 2 / PULSE))
    period = PULSE if watchdog is None else watchdog / 2 / beats
    told: Mapping[str, str | int] = {}
    beat = 0
    while True:
        due = trio.current_time() + period
        await trio.sleep_until(due)
        lag.note(trio.current_time() - due)
        beat += 1
        ping = {"WATCHDOG": 1} if watchdog is not None and beat % beats == 0 else {}
        now = state()
        if ping or now != told:
            notifier.tell({**now, **ping})
            told = now
