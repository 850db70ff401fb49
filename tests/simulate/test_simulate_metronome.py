"""One alarm clock for all: order, cancellation, and nothing left behind."""

from __future__ import annotations

import math
from types import SimpleNamespace

import pytest
import trio
import trio.testing
from trio.testing import MockClock

from penstock.simulate import metronome as metronome_module
from penstock.simulate.metronome import Metronome


@pytest.fixture
async def metronome(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> Metronome:
    """On a clock that jumps: on the real one, sleepers that are woken together run in any order."""
    monkeypatch.setattr(metronome_module, "time", SimpleNamespace(monotonic=trio.current_time))
    metronome = Metronome()
    nursery.start_soon(metronome.run)
    return metronome


async def test_sleepers_wake_in_their_order(metronome: Metronome, autojump_clock: MockClock) -> None:
    start, woken = trio.current_time(), []

    async def sleep(after: float) -> None:
        await metronome.until(start + after)
        woken.append((after, round(trio.current_time() - start, 6)))

    async with trio.open_nursery() as sleepers:
        for after in (0.03, 0.01, 0.02, -1.0):
            sleepers.start_soon(sleep, after)
    assert woken == [(-1.0, 0.0), (0.01, 0.01), (0.02, 0.02), (0.03, 0.03)]


async def test_an_earlier_one_does_not_wait_for_a_later(
    metronome: Metronome, nursery: trio.Nursery, autojump_clock: MockClock
) -> None:
    nursery.start_soon(metronome.until, trio.current_time() + 3600)
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(1):
        await metronome.until(trio.current_time() + 0.01)


async def test_the_cancelled_are_forgotten(metronome: Metronome, autojump_clock: MockClock) -> None:
    for when in (math.inf, trio.current_time() + 3600):
        for _ in range(3):
            async with trio.open_nursery() as sleepers:
                for _ in range(400):
                    sleepers.start_soon(metronome.until, when)
                await trio.testing.wait_all_tasks_blocked()
                sleepers.cancel_scope.cancel()
    with trio.fail_after(1):
        await metronome.until(trio.current_time() + 0.01)
    assert len(metronome._heap) <= 512
