"""A stream's end reaches its backend at once, whatever ends it and whatever it is doing, and leaves nothing behind.

Times are those of the two ends that are not ours: the client's close, or the instant in which a budget had run out, and
the backend's sight of the FIN, both on the machine's monotonic clock.
"""

from __future__ import annotations

import signal
import socket
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import NamedTuple

import pytest
import trio
from phases import PHASES, SPENT, Stage, configuration, full_backlog
from process import Process, books

from bench.witness import Witness
from penstock.simulate.server import Settings, Simulation, listen, serve

REASONS = {
    "queue": "queue_timeout",
    "connect": "connect_timeout",
    "first_token": "first_token_timeout",
    "silence": "silence",
    "write": "client_stalled",
    "total": "deadline",
}
CELLS = [(name, cause) for name, phase in PHASES.items() for cause in (*phase.ways, *phase.budgets)]

#: In the everyday run, on a machine that does other things too: the least of a cell is penstock's own, what others
#: take longer may be the machine's; seconds.
LEAST, WORST = 0.05, 0.9
#: What is published: of fifty, all but one, and all; milliseconds.
P99, MOST = 20, 50


@pytest.fixture(scope="module")
def backends() -> Iterator[tuple[socket.socket, str]]:
    """A listening socket for the stand-in, and the URL of a backend that accepts nothing."""
    with listen(Settings()) as listener, full_backlog() as far:
        yield listener, far


def url_of(listener: socket.socket) -> str:
    return f"http://127.0.0.1:{listener.getsockname()[1]}"


@pytest.fixture(scope="module")
def shared(backends: tuple[socket.socket, str], tmp_path_factory: pytest.TempPathFactory) -> Iterator[Process]:
    listener, far = backends
    config = tmp_path_factory.mktemp("teardown") / "penstock.toml"
    config.write_text(configuration(url_of(listener), far))
    process = Process(config)
    yield process
    process.end()
    process.assert_quiet()


@pytest.fixture
async def simulation(backends: tuple[socket.socket, str], nursery: trio.Nursery) -> Simulation:
    return await nursery.start(serve, Settings(), backends[0].dup())


@pytest.fixture
async def stage(shared: Process, simulation: Simulation, nursery: trio.Nursery) -> AsyncIterator[Stage]:
    nursery.start_soon(shared.read)
    async with books(shared) as opened:
        yield Stage(shared, opened, simulation)


async def cut(stage: Stage, phase_name: str, cause: str) -> float:
    """Bring a stream into a phase and end it; how long its backend lived on, in seconds, and never less than none."""
    phase = PHASES[phase_name]
    async with stage.bring(phase, "none" if cause in phase.ways else cause) as victim:
        left_at = await victim.leave(cause) if cause in phase.ways else None
        line, seen_at = await stage.closing_line(victim)
        closed_at = await victim.backend_saw_the_close()
        due_at = left_at or victim.spent_at(cause)
    assert line["reason"] == REASONS.get(cause, "client_gone")
    assert line["phase"] == phase.shown
    await stage.books.nothing_left()
    # Where no backend ever heard of the stream, the log's line stands for its close.
    over_at = closed_at or seen_at
    # A budget's clock starts after the request, and before the backend's record of it.
    assert over_at > (left_at or victim.asked_at + SPENT)
    return max(0.0, over_at - due_at)


@pytest.mark.parametrize(("phase", "cause"), CELLS, ids=[f"{phase}: {cause}" for phase, cause in CELLS])
async def test_an_end_reaches_the_backend_at_once(phase: str, cause: str, stage: Stage) -> None:
    with trio.fail_after(30):
        ways = PHASES[phase].ways
        late = [await cut(stage, phase, cause) for _ in range(3 if cause in ways else 1)]
    if cause in ways:
        assert min(late) <= LEAST, late
    assert max(late) <= WORST, late


class Late(NamedTuple):
    """How late fifty ends were; milliseconds."""

    p50: float
    p99: float
    worst: float

    @property
    def good(self) -> bool:
        return self.p99 <= P99 and self.worst <= MOST

    def __str__(self) -> str:
        return f"p50 {self.p50:6.2f}  p99 {self.p99:6.2f}  max {self.worst:6.2f} ms"


@pytest.mark.heavy
@pytest.mark.parametrize(("phase", "cause"), CELLS, ids=[f"{phase}: {cause}" for phase, cause in CELLS])
async def test_the_published_bound(phase: str, cause: str, stage: Stage, capsys: pytest.CaptureFixture[str]) -> None:
    async def fifty() -> Late:
        with trio.fail_after(300):
            late = sorted([await cut(stage, phase, cause) * 1000 for _ in range(50)])
        return Late(late[24], late[-2], late[-1])

    with Witness(stage.process.pid) as witness:
        late = await witness.undisturbed(fifty, lambda late: late.good)
    with capsys.disabled():
        print(f"\n{phase:20} {cause:12} n=50  {late}", end="")
    assert late.good, late


@pytest.mark.parametrize(
    ("number", "drain"),
    [(signal.SIGTERM, 0.0), (signal.SIGTERM, 0.3), (signal.SIGINT, 0.0)],
    ids=["SIGTERM", "SIGTERM with a drain", "SIGINT"],
)
async def test_a_stop_reaches_every_phase(
    number: int,
    drain: float,
    backends: tuple[socket.socket, str],
    simulation: Simulation,
    nursery: trio.Nursery,
    tmp_path: Path,
) -> None:
    """One stream in each phase at the same time."""
    listener, far = backends
    config = tmp_path / "penstock.toml"
    config.write_text(configuration(url_of(listener), far, drain=drain))
    process = Process(config)
    try:
        nursery.start_soon(process.read)
        with trio.fail_after(30):
            async with AsyncExitStack() as stack:
                stage = Stage(process, await stack.enter_async_context(books(process)), simulation)
                victims = [await stack.enter_async_context(stage.bring(phase)) for phase in PHASES.values()]
                due_at = process.signal(number) + drain
                for victim in victims:
                    closed_at = await victim.backend_saw_the_close()
                    assert closed_at is None or 0 < closed_at - due_at < WORST, victim.phase
                    line, _ = await stage.closing_line(victim)
                    assert (line["reason"], line["phase"]) == ("shutdown", victim.phase.shown)
                status, gone_at = await process.exit()
        assert status == 0
        # the end of the interpreter is the machine's
        assert gone_at - due_at < 5
        process.assert_quiet()
    finally:
        process.end()


def test_every_budget_runs_out_somewhere() -> None:
    assert {budget for phase in PHASES.values() for budget in phase.budgets} == set(REASONS)
    assert SPENT < 1
