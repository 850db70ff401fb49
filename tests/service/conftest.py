from __future__ import annotations

import secrets
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from socket import socket

import pytest
from manager import Manager, Service


@pytest.fixture(params=["path", "abstract"])
def manager(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Manager]:
    name = secrets.token_hex(8)
    manager = Manager(f"@penstock-{name}" if request.param == "abstract" else str(tmp_path / name))
    yield manager
    manager.close()


@pytest.fixture
def started(tmp_path: Path) -> Iterator[Callable[..., Service]]:
    """Starts services, and ends those that still run when the test is over."""
    running = []

    def start(config: str, sockets: Sequence[socket] = (), **environ: str) -> Service:
        path = tmp_path / "penstock.toml"
        path.write_text(config)
        running.append(Service(path, tmp_path / "log", sockets, **environ))
        return running[-1]

    yield start
    for service in running:
        service.end()
