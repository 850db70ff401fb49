"""Whether a process grows: a robust line through its samples, and how much it may rise."""

from __future__ import annotations

from collections.abc import Sequence
from statistics import median

import msgspec

MIB = 1 << 20
#: Of the samples, the share at the beginning that is warm-up: caches fill, the allocator finds its size.
WARM_UP = 1 / 3
#: How far the line may rise from the end of the warm-up to the last sample.  Of whole things: by none.
MAY_RISE = {"memory": 2.0 * MIB, "descriptors": 0.5, "tasks": 0.5}


class Sample(msgspec.Struct, frozen=True, kw_only=True):
    """A process at rest, when nothing is going on in it."""

    at: float  #: seconds since the begin
    requests: int  #: so far
    memory: int  #: resident bytes
    descriptors: int  #: without the connections that are kept for the next stream
    tasks: int
    series: int  #: lines of its metrics


class Trend(msgspec.Struct, frozen=True, kw_only=True):
    """One figure over time: where it began, where it ended, and the rise of the line between."""

    name: str
    first: float
    last: float
    rise: float
    allowed: float

    @property
    def good(self) -> bool:
        return self.rise <= self.allowed


def slope(points: Sequence[tuple[float, float]]) -> float:
    """The median of the slopes between all pairs (Theil and Sen): a third of the points may be wild."""
    slopes = [(y2 - y1) / (x2 - x1) for i, (x1, y1) in enumerate(points) for x2, y2 in points[i + 1 :] if x2 > x1]
    return median(slopes) if slopes else 0.0


def trends(samples: Sequence[Sample], may_rise: dict[str, float] = MAY_RISE) -> list[Trend]:
    """A trend for each figure, after the warm-up."""
    warm = samples[int(len(samples) * WARM_UP) :]
    span = warm[-1].at - warm[0].at
    found = []
    for name, allowed in may_rise.items():
        values = [float(getattr(sample, name)) for sample in warm]
        rise = slope([(sample.at, value) for sample, value in zip(warm, values, strict=True)]) * span
        found.append(Trend(name=name, first=values[0], last=values[-1], rise=rise, allowed=allowed))
    return found


def table(samples: Sequence[Sample], found: Sequence[Trend]) -> str:
    """For people."""
    warm = samples[int(len(samples) * WARM_UP) :]
    lines = [
        f"{samples[-1].requests} requests in {samples[-1].at / 60:.1f} minutes; "
        f"measured over the last {(warm[-1].at - warm[0].at) / 60:.1f}, at rest, {len(warm)} times; "
        f"{warm[0].series} to {warm[-1].series} series of metrics",
        f"{'':12}{'first':>12}{'last':>12}{'rise':>12}{'allowed':>12}",
    ]
    for trend in found:
        values = [trend.first, trend.last, trend.rise, trend.allowed]
        shown = [f"{value / MIB:.2f} MiB" if trend.name == "memory" else f"{value:.1f}" for value in values]
        lines.append(f"{trend.name:12}" + "".join(f"{text:>12}" for text in shown) + ("" if trend.good else "  GROWS"))
    return "\n".join([*lines, "it does not grow" if all(trend.good for trend in found) else "IT GROWS"])
