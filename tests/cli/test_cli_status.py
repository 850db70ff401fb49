"""``penstock status`` against a running daemon, and against none."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
import trio

from penstock.cli.status import lines
from penstock.config.addresses import TcpAddress
from penstock.config.load import read
from penstock.service.daemon import Daemon
from penstock.service.door import Door
from penstock.simulate import server as simulate
from ports import free_port

DOOR = Door(TcpAddress("127.0.0.1", 11435))


@pytest.fixture
def port() -> int:
    return free_port()


@pytest.fixture
def file(tmp_path: Path, port: int) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text(f'[server]\nlisten = ["127.0.0.1:{port}"]\n')
    return path


async def status(file: Path) -> tuple[int, str, str]:
    command = [sys.executable, "-m", "penstock", "status", "--config", str(file)]
    with trio.fail_after(20):
        result = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
    return result.returncode, result.stdout.decode(), result.stderr.decode()


def test_a_busy_daemon() -> None:
    gate = {"connections": 1, "idle_connections": 0}
    told = {
        "status": "ok",
        "version": "0.1.0",
        "generation": 7,
        "loaded": "2026-01-01T12:00:00+00:00",
        "log_content": True,
        "older_generations": {"5": 2},
        "streams": {"prefill": 1, "queued": 2},
        "backends": {
            "ollama": gate | {"slots": 1, "busy": 1, "waiting": 2, "resting": False},
            "cloud": gate | {"slots": 8, "busy": 0, "waiting": 0, "resting": True},
        },
    }
    assert list(lines(DOOR, told)) == [
        "penstock 0.1.0 on http://127.0.0.1:11435: ok",
        "config    generation 7, loaded 2026-01-01T12:00:00+00:00",
        "log       prompts and answers are logged: server.log_content is true",
        "streams   1 prefill, 2 queued",
        "          2 of generation 5",
        "backends  ollama  1 of 1 slots busy, 2 waiting",
        "          cloud   0 of 8 slots busy, 0 waiting, at rest after failures",
    ]


def test_a_daemon_from_before_an_upgrade_says_less() -> None:
    """It runs until it is restarted."""
    told = {
        "status": "ok",
        "version": "0.1.0",
        "generation": 1,
        "loaded": "2026-01-01T12:00:00+00:00",
        "older_generations": {},
        "streams": {},
        "backends": {},
    }
    assert list(lines(DOOR, told))[1:] == ["config    generation 1, loaded 2026-01-01T12:00:00+00:00", "streams   none"]


def test_a_stranger_is_told_little() -> None:
    assert list(lines(DOOR, {"status": "draining"})) == [
        "penstock on http://127.0.0.1:11435: draining",
        "for more put a key with admin = true into PENSTOCK_KEY",
    ]


async def test_a_running_daemon(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    backend = f'[backends.sim]\nkind = "simulate"\nurl = "{simulation.url}"\nslots = 2\n'
    file.write_text(file.read_text() + backend)
    daemon = Daemon(read(file, {}).config)
    await nursery.start(daemon.serve)
    code, told, fault = await status(file)
    assert (code, fault) == (0, "")
    _, config, *rest = told.splitlines()
    assert config.startswith("config    generation 1, loaded 20")
    assert rest == ["streams   none", "backends  sim  0 of 2 slots busy, 0 waiting"]
    daemon.state.draining = True
    assert (await status(file))[1].splitlines()[0].endswith(f"on http://127.0.0.1:{port}: draining")


async def test_no_daemon(file: Path, port: int) -> None:
    fault = f"Error: no daemon answers: cannot connect to 127.0.0.1:{port}: connection refused\n"
    assert await status(file) == (1, "", fault)


async def test_a_port_that_is_not_known(file: Path) -> None:
    file.write_text('[server]\nlisten = ["127.0.0.1:0"]\n')
    fault = "Error: no daemon answers: server.listen leaves the port to the system\n"
    assert await status(file) == (1, "", fault)


async def test_a_faulty_file(file: Path) -> None:
    file.write_text("drain = 3")
    code, told, fault = await status(file)
    assert (code, told) == (78, "")
    assert fault.startswith(f"{file}:1:1: drain: unknown key")
