"""The pulse of the event loop: pings that only a loop that turns can send, and its lag as a metric."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping

import pytest
import trio
from trio.testing import MockClock

from penstock.config.model import Config
from penstock.service.daemon import Daemon
from penstock.service.notify import Notifier
from penstock.service.watchdog import KEPT, Lag, patience, pulse


class Ear(Notifier):
    """Hears everything itself, with the time."""

    def __init__(self, clock: Callable[[], float] = trio.current_time) -> None:
        super().__init__(None)
        self._clock = clock
        self.heard: list[tuple[float, dict[str, str | int]]] = []

    def tell(self, state: Mapping[str, str | int]) -> None:
        self.heard.append((self._clock(), dict(state)))

    def pings(self) -> list[float]:
        return [at for at, state in self.heard if "WATCHDOG" in state]


@pytest.mark.parametrize(
    ("environ", "seconds"),
    [
        ({}, None),
        ({"WATCHDOG_USEC": "30000000"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "7"}, 30.0),
        ({"WATCHDOG_USEC": "30000000", "WATCHDOG_PID": "8"}, None),
        ({"WATCHDOG_USEC": "0"}, None),
        ({"WATCHDOG_USEC": "soon"}, None),
        ({"WATCHDOG_USEC": ""}, None),
        ({"WATCHDOG_PID": "7"}, None),
    ],
)
def test_what_the_environment_asks_for(environ: dict[str, str], seconds: float | None) -> None:
    assert patience(environ, pid=7) == seconds


@pytest.mark.parametrize("watchdog", [0.4, 2.0, 3.0, 10.0, 30.0])
async def test_pings_leave_at_half_the_time(watchdog: float, autojump_clock: MockClock) -> None:
    ear = Ear()
    begun = trio.current_time()
    with trio.move_on_after(watchdog * 2.6):
        await pulse(Lag(), ear, dict, watchdog)
    assert [at - begun for at in ear.pings()] == pytest.approx([watchdog / 2 * n for n in range(1, 6)])


async def test_without_a_watchdog_only_news_are_told(autojump_clock: MockClock) -> None:
    ear = Ear()
    begun = trio.current_time()

    def state() -> dict[str, str | int]:
        return {"STATUS": "early" if trio.current_time() - begun < 10.5 else "late"}

    with trio.move_on_after(60):
        await pulse(Lag(), ear, state, None)
    assert [(round(at - begun), told) for at, told in ear.heard] == [(1, {"STATUS": "early"}), (11, {"STATUS": "late"})]


async def test_a_ping_brings_the_state_along(autojump_clock: MockClock) -> None:
    ear = Ear()
    with trio.move_on_after(3):
        await pulse(Lag(), ear, lambda: {"STATUS": "s"}, 4.0)
    assert [told for _, told in ear.heard] == [{"STATUS": "s"}, {"STATUS": "s", "WATCHDOG": 1}]


async def test_a_loop_that_hangs_sends_no_pings_and_is_late(nursery: trio.Nursery) -> None:
    ear, lag = Ear(time.monotonic), Lag()
    nursery.start_soon(pulse, lag, ear, dict, 0.1)
    while len(ear.pings()) < 2:
        await trio.sleep(0.01)
    begun = time.monotonic()
    time.sleep(0.5)
    ended = time.monotonic()
    while ear.pings()[-1] < ended:
        await trio.sleep(0.01)
    assert not [at for at in ear.pings() if begun < at < ended]
    assert lag.worst() >= 0.5 - 0.1
    nursery.cancel_scope.cancel()


async def test_the_metric_is_the_worst_of_the_last_minute() -> None:
    daemon = Daemon(Config())

    def told() -> str:
        text, _ = daemon.state.observer.scrape()
        return next(line for line in text.decode().splitlines() if line.startswith("penstock_loop_lag_seconds"))

    assert told() == "penstock_loop_lag_seconds 0.0"
    daemon.lag.note(0.25)
    daemon.lag.note(0.001)
    assert told() == "penstock_loop_lag_seconds 0.25"
    for _ in range(KEPT - 1):
        daemon.lag.note(0.001)
    assert told() == "penstock_loop_lag_seconds 0.001"
