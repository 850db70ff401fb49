"""One alarm clock for all: order, cancellation, and nothing left behind."""

from __future__ import annotations

import math
import time

import trio
import trio.testing

from penstock.simulate.metronome import Metronome


async def test_sleepers_wake_in_their_order(nursery: trio.Nursery) -> None:
    metronome = Metronome()
    nursery.start_soon(metronome.run)
    start, woken = time.monotonic(), []

    async def sleep(after: float) -> None:
        await metronome.until(start + after)
        assert time.monotonic() >= start + after
        woken.append(after)

    async with trio.open_nursery() as sleepers:
        for after in (0.03, 0.01, 0.02, -1.0):
            sleepers.start_soon(sleep, after)
    assert woken == [-1.0, 0.01, 0.02, 0.03]


async def test_an_earlier_one_does_not_wait_for_a_later(nursery: trio.Nursery) -> None:
    metronome = Metronome()
    nursery.start_soon(metronome.run)
    nursery.start_soon(metronome.until, time.monotonic() + 3600)
    await trio.testing.wait_all_tasks_blocked()
    with trio.fail_after(1):
        await metronome.until(time.monotonic() + 0.01)


async def test_the_cancelled_are_forgotten(nursery: trio.Nursery) -> None:
    metronome = Metronome()
    nursery.start_soon(metronome.run)
    for when in (math.inf, time.monotonic() + 3600):
        for _ in range(3):
            async with trio.open_nursery() as sleepers:
                for _ in range(400):
                    sleepers.start_soon(metronome.until, when)
                await trio.testing.wait_all_tasks_blocked()
                sleepers.cancel_scope.cancel()
    with trio.fail_after(1):
        await metronome.until(time.monotonic() + 0.01)
    assert len(metronome._heap) <= 512
