"""Whether a bound on time was missed by what is measured, or by the machine: a process beside it that only wakes up."""

from __future__ import annotations

import os
import select
import subprocess
import sys
from collections.abc import Awaitable, Callable
from typing import Self, TypeVar

import msgspec
import pytest
import trio

from .machine import QUIET, Clock

Figures = TypeVar("Figures")

#: Cores that the hypervisor may keep from the machine, and how late a wakeup may be (seconds), before it counts as
#: disturbed: a bound of tens of milliseconds is for several wakeups, one after the other.
STOLEN, LATE = 0.02, 0.005
#: How often something is measured before it is said that the machine is never quiet.
ATTEMPTS = 4
#: Tells how late it was woken, for each time in which it was later than LATE.
_PROGRAM = f"""
import time
while True:
    due = time.monotonic() + 0.002
    time.sleep(0.002)
    late = time.monotonic() - due
    if late > {LATE}:
        print(late, flush=True)
"""


class Mood(msgspec.Struct, frozen=True, kw_only=True):
    """What disturbed a measurement."""

    others: float  #: cores that other processes took
    stolen: float  #: cores that the hypervisor took
    latest: float  #: the latest wakeup of a process that does nothing else; seconds, 0 for less than LATE
    pressure: float | None  #: the share of time in which somebody waited for a core; None: the kernel does not tell

    @property
    def quiet(self) -> bool:
        return self.others <= QUIET and self.stolen <= STOLEN and self.latest <= LATE

    def __str__(self) -> str:
        waited = "" if self.pressure is None else f", somebody waited for a core in {self.pressure:.0%} of the time"
        return (
            f"others took {self.others:.2f} cores, the hypervisor {self.stolen:.2f}, "
            f"the latest wakeup was {self.latest * 1000:.0f} ms late{waited}"
        )


class Witness:
    """A context; ``pids`` are the processes that belong to what is measured, beside this one and its ended children."""

    def __init__(self, *pids: int) -> None:
        self._pids = pids

    def __enter__(self) -> Self:
        command = [sys.executable, "-I", "-S", "-c", _PROGRAM]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
        assert self._process.stdout is not None
        self._pipe = self._process.stdout
        os.set_blocking(self._pipe.fileno(), False)
        return self

    def __exit__(self, *_: object) -> None:
        self._process.kill()
        self._process.wait()
        self._pipe.close()

    async def undisturbed(self, measure: Callable[[], Awaitable[Figures]], good: Callable[[Figures], bool]) -> Figures:
        """The first figures that are good, or that a quiet machine gave, good or not.

        The test is skipped where the machine was quiet in none of the attempts, and says what disturbed them.
        """
        moods = []
        for _ in range(ATTEMPTS):
            await self._wakeups()
            start, waited = self._clock(), _waited()
            figures = await measure()
            mood = await self._mood(start, waited)
            if good(figures) or mood.quiet:
                return figures
            moods.append(f"{figures}, while {mood}")
        pytest.skip(f"the machine was never quiet: {'; '.join(moods)}")

    async def _mood(self, start: Clock, waited: float | None) -> Mood:
        now, waits, late = self._clock(), _waited(), await self._wakeups()
        wall = now.wall - start.wall
        return Mood(
            others=now.others(start),
            stolen=(now.stolen - start.stolen) / wall,
            latest=max(late, default=0.0),
            pressure=None if waits is None or waited is None else (waits - waited) / wall,
        )

    def _clock(self) -> Clock:
        return Clock.now(*self._pids, self._process.pid)

    async def _wakeups(self) -> list[float]:
        """How late those were that nobody has asked for yet."""
        # one that is late at this moment has told nothing yet
        await trio.sleep(2 * LATE)
        data = b""
        while select.select([self._pipe], [], [], 0)[0]:
            data += os.read(self._pipe.fileno(), 1 << 16)
        return [float(line) for line in data.split()]


def _waited() -> float | None:
    """Seconds since the machine's start in which some process waited for a core; where the kernel keeps book of it."""
    try:
        with open("/proc/pressure/cpu") as file:
            return int(file.readline().rpartition("total=")[2]) / 1e6
    except OSError:
        return None
