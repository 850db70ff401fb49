"""One alarm clock for all streams.

A token that waits with ``trio.sleep`` costs a scope of its own, a large part of its price at hundreds of streams.  Here
one task sleeps for all: a waiting stream is an entry in a heap, and all that are due at one waking are woken together.
"""

from __future__ import annotations

import heapq
import itertools
import math
import time
from typing import NoReturn

import trio

#: When, a tie-breaker, and who waits: one task, or none any more.
_Entry = tuple[float, int, list[trio.lowlevel.Task]]

#: So many entries that nobody waits for may stay; beyond it they must also be the smaller half.
_LEFT_OVER = 256


class Metronome:
    """Times are seconds of CLOCK_MONOTONIC."""

    def __init__(self) -> None:
        self._heap: list[_Entry] = []
        self._serial = itertools.count()
        self._left = 0
        self._sleep = trio.CancelScope()

    async def until(self, when: float) -> None:
        """Return at ``when``, or within the clock's millisecond after it; never when it is infinite."""
        if when == math.inf:
            await trio.sleep_forever()
        sleeper = [trio.lowlevel.current_task()]
        entry = (when, next(self._serial), sleeper)
        heapq.heappush(self._heap, entry)
        if self._heap[0] is entry:
            self._sleep.deadline = trio.current_time() + when - time.monotonic()

        def abort(_: object) -> trio.lowlevel.Abort:
            sleeper.clear()
            self._left += 1
            if self._left > max(_LEFT_OVER, len(self._heap) // 2):
                self._heap = [entry for entry in self._heap if entry[2]]
                heapq.heapify(self._heap)
                self._left = 0
            return trio.lowlevel.Abort.SUCCEEDED

        await trio.lowlevel.wait_task_rescheduled(abort)

    async def run(self) -> NoReturn:
        """Wake whoever is due; runs as long as the server."""
        while True:
            now = time.monotonic()
            while self._heap and self._heap[0][0] <= now:
                sleeper = heapq.heappop(self._heap)[2]
                for task in sleeper:
                    trio.lowlevel.reschedule(task)
                self._left -= not sleeper
            due = self._heap[0][0] - now if self._heap else math.inf
            with trio.CancelScope(deadline=trio.current_time() + due) as self._sleep:
                await trio.sleep_forever()
