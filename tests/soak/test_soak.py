"""A short soak, and that the verdict would find what grows."""

from __future__ import annotations

from pathlib import Path

import pytest

from soak.running import soak
from soak.verdict import MIB, Sample, slope, table, trends


def samples(*figures: tuple[float, int, int]) -> list[Sample]:
    """Of memory in MiB, descriptors and tasks, a minute apart."""
    return [
        Sample(at=60.0 * at, requests=at, memory=round(memory * MIB), descriptors=descriptors, tasks=tasks, series=9)
        for at, (memory, descriptors, tasks) in enumerate(figures)
    ]


STEADY = [(50.0, 9, 8)] * 30


def wild(every: int) -> list[tuple[float, int, int]]:
    return [(50.0 + 40 * (at % every == 0), 9, 8) for at in range(30)]


def growing(memory: float = 0.0, descriptors: float = 0.0, tasks: float = 0.0) -> list[tuple[float, int, int]]:
    return [(50 + memory * at, 9 + int(descriptors * at), 8 + int(tasks * at)) for at in range(30)]


@pytest.mark.parametrize(
    ("figures", "growth"),
    [
        (STEADY, []),
        (wild(5), []),
        # a warm-up is no growth
        ([(30.0 + at, 5, 4) for at in range(10)] + STEADY[10:], []),
        (growing(memory=0.05), []),
        (growing(memory=0.2), ["memory"]),
        (growing(descriptors=0.1), ["descriptors"]),
        (growing(tasks=0.1, memory=1.0), ["memory", "tasks"]),
    ],
    ids=["steady", "wild", "warm-up", "slow", "memory", "descriptors", "two"],
)
def test_the_verdict(figures: list[tuple[float, int, int]], growth: list[str]) -> None:
    taken = samples(*figures)
    found = trends(taken)
    assert [trend.name for trend in found if not trend.good] == growth
    assert table(taken, found).endswith("IT GROWS" if growth else "it does not grow")


def test_the_line_is_the_median_of_all_pairs() -> None:
    assert slope([(0, 0), (1, 2), (2, 4), (3, 6), (4, 900)]) == 2
    assert slope([(0, 1)]) == 0


@pytest.mark.parametrize(
    ("seconds", "flow"),
    [
        # In so few requests memory tells a gross leak only; descriptors and tasks are counted one by one.
        pytest.param(6.0, 0.3, id="seconds"),
        # some thousand requests: what leaks an object or two a request is beyond the bound
        pytest.param(180.0, 4.0, id="minutes", marks=pytest.mark.heavy),
    ],
)
async def test_mixed_traffic_leaves_nothing(seconds: float, flow: float, tmp_path: Path) -> None:
    taken = await soak(seconds, tmp_path, flow=flow)
    found = trends(taken)
    assert len(taken) >= 3
    assert all(trend.good for trend in found), table(taken, found)
