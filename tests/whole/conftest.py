from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from process import Process

from penstock.simulate.server import Settings, Simulation, serve


@pytest.fixture
def serving(tmp_path: Path) -> Iterator[Callable[[str], Process]]:
    """Starts ``penstock serve`` with a configuration; ended with the test, if it has not ended by itself."""
    started: list[Process] = []

    def start(config: str) -> Process:
        path = tmp_path / f"penstock-{len(started)}.toml"
        path.write_text(config)
        started.append(Process(path))
        return started[-1]

    yield start
    for process in started:
        process.end()
        process.assert_quiet()


@pytest.fixture
async def simulation(nursery: trio.Nursery) -> Simulation:
    """A stand-in for backends of every kind."""
    return await nursery.start(serve, Settings(keep=64))
