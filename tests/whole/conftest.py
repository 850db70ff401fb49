from __future__ import annotations

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from process import Process


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
