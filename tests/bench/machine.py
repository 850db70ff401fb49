"""The machine and its mood: what it is, what else it did during the run."""

from __future__ import annotations

import os
import platform
import time
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from typing import Self

import trio

#: cores that others may take before the machine no longer counts as quiet
QUIET = 0.2
_LIBRARIES = ("penstock", "trio", "hypercorn", "quart", "quart-trio", "httpx", "h11", "msgspec")


def describe() -> str:
    """Processor, cores, kernel, Python and libraries in one line."""
    info = Path("/proc/cpuinfo").read_text().splitlines()
    model = next((line.split(":")[1].strip() for line in info if line.startswith("model name")), platform.machine())
    libraries = ", ".join(f"{name} {version(name)}" for name in _LIBRARIES)
    return (
        f"{model}, {os.cpu_count()} cores, Linux {platform.release()}, "
        f"{platform.python_implementation()} {platform.python_version()}, {libraries}"
    )


def checkpoint_us() -> float:
    """One pass through Trio's scheduler: the yardstick by which absolute figures of two machines compare."""

    async def measure() -> float:
        best = float("inf")
        for _ in range(5):
            start = time.perf_counter()
            for _ in range(5000):
                await trio.lowlevel.checkpoint()
            best = min(best, (time.perf_counter() - start) / 5000)
        return best * 1e6

    return trio.run(measure)


@dataclass(frozen=True)
class Clock:
    """CPU seconds of the whole machine and of what belongs to the measurement, at one instant."""

    wall: float
    busy: float
    stolen: float
    own: float
    load: float

    @classmethod
    def now(cls, *pids: int) -> Self:
        """``pids`` belong to the measurement beside this process and its ended children."""
        ticks = os.sysconf("SC_CLK_TCK")
        user, nice, system, _, _, irq, softirq, stolen = map(
            int, Path("/proc/stat").read_text().splitlines()[0].split()[1:9]
        )
        stats = [Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split() for pid in pids]
        # proc(5): utime and stime
        running = sum(int(stat[11]) + int(stat[12]) for stat in stats)
        return cls(
            time.monotonic(), (user + nice + system + irq + softirq) / ticks, stolen / ticks,
            sum(os.times()[:4]) + running / ticks, os.getloadavg()[0],
        )  # fmt: skip

    def others(self, start: Clock) -> float:
        """Cores that other processes took since then."""
        return max(0.0, self.busy - start.busy - (self.own - start.own)) / (self.wall - start.wall)

    def since(self, start: Clock) -> str:
        wall = self.wall - start.wall
        others = self.others(start)
        quiet = "" if others <= QUIET else " **Not a quiet machine: bounds on wall-clock figures say little.**"
        return (
            f"load {start.load:.2f} before and {self.load:.2f} after (the run's own work included); meanwhile other "
            f"processes took {others:.2f} cores, the hypervisor {(self.stolen - start.stolen) / wall:.2f}; "
            f"{wall:.0f} s.{quiet}"
        )
