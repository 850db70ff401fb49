"""A missed bound counts where the machine was quiet; elsewhere it is measured again, and at last that is said."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterable
from functools import partial

import pytest
import trio

from bench.machine import QUIET
from bench.witness import ATTEMPTS, LATE, STOLEN, Mood, Witness

CALM = Mood(others=QUIET, stolen=STOLEN, latest=LATE, pressure=None)
NOISE = {
    "others took": Mood(others=1.5, stolen=0.0, latest=0.0, pressure=0.75),
    "the hypervisor": Mood(others=0.0, stolen=0.3, latest=0.0, pressure=None),
    "the latest wakeup was 120 ms late": Mood(others=0.0, stolen=0.0, latest=0.12, pressure=None),
}


async def judged(monkeypatch: pytest.MonkeyPatch, figures: Iterable[int], moods: Iterable[Mood]) -> int:
    """What comes of these figures, of which 10 at most is good, in these moods."""
    found, felt = iter(figures), iter(moods)

    async def measure() -> int:
        return next(found)

    async def mood(*_: object) -> Mood:
        return next(felt)

    monkeypatch.setattr(Witness, "_mood", mood)
    with Witness() as witness:
        return await witness.undisturbed(measure, lambda figure: figure <= 10)


async def test_good_figures_are_good_on_any_machine(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await judged(monkeypatch, [9], [NOISE["others took"]]) == 9


async def test_a_miss_on_a_quiet_machine_is_a_miss(monkeypatch: pytest.MonkeyPatch) -> None:
    assert await judged(monkeypatch, [11, 9], [CALM, CALM]) == 11


@pytest.mark.parametrize("noise", NOISE)
async def test_a_miss_on_another_one_is_measured_again(noise: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert await judged(monkeypatch, [11, 12, 9], [NOISE[noise]] * 3) == 9
    assert await judged(monkeypatch, [11, 12, 13], [NOISE[noise], NOISE[noise], CALM]) == 13
    with pytest.raises(pytest.skip.Exception, match=f"the machine was never quiet: 11, while .*{noise}.*; 14, while"):
        await judged(monkeypatch, range(11, 11 + ATTEMPTS), [NOISE[noise]] * ATTEMPTS)


async def test_somebody_who_is_busy_is_noticed() -> None:
    """No child of ours: those are part of what is measured."""
    command = ["sh", "-c", "while :; do :; done >/dev/null & echo $!"]
    pid = int(subprocess.run(command, stdout=subprocess.PIPE, text=True, check=True).stdout)
    try:
        with Witness() as witness, pytest.raises(pytest.skip.Exception, match=r"others took [0-9.]+ cores"):
            await witness.undisturbed(partial(trio.sleep, 0.3), lambda _: False)
    finally:
        os.kill(pid, signal.SIGKILL)
