"""``penstock doctor`` as its owner runs it."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from penstock.simulate import server as simulate
from ports import free_port

DOCTOR = [sys.executable, "-m", "penstock", "doctor", "--config"]


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "penstock.toml"


@pytest.fixture
def port() -> int:
    return free_port()


async def doctor(*args: str | Path) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(20):
        return await trio.run_process([*DOCTOR, *map(str, args)], capture_stdout=True, capture_stderr=True, check=False)


async def test_what_is_found(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    file.write_text(
        f'[server]\nlisten = ["127.0.0.1:{port}"]\n[routes]\ncoder = ["sim/sim", "dead"]\n'
        f'[backends.sim]\nkind = "simulate"\nurl = "{simulation.url}"\n'
        '[backends.dead]\nkind = "ollama"\nurl = "http://127.0.0.1:1"\n'
    )
    result = await doctor(file)
    told = re.sub(r"after \d+\.\d\d s", "after 0.01 s", result.stdout.decode())
    address = f"127.0.0.1:{port}"
    width = len(address)
    assert told == (
        f"ok       {'configuration':{width}}  {file}\n"
        f"ok       {address}  free\n"
        f"ok       {'backend sim':{width}}  {simulation.url} is a server that speaks simulate, with 1 model\n"
        f"ok       {'backend sim':{width}}  'coder': first token after 0.01 s, through penstock\n"
        f"fault    {'backend dead':{width}}  http://127.0.0.1:1: cannot connect to 127.0.0.1:1: connection refused\n"
        f"         {'':{width}}  → start the server, or correct backends.dead.url\n"
    )
    assert (result.returncode, result.stderr) == (1, b"")


async def test_without_a_fault_the_exit_status_is_0(file: Path, port: int, nursery: trio.Nursery) -> None:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    backend = f'[backends.sim]\nkind = "simulate"\nurl = "{simulation.url}"\n'
    file.write_text(f'[server]\nlisten = ["127.0.0.1:{port}"]\n{backend}')
    result = await doctor(file, "--json", "--timeout", "5")
    told = json.loads(result.stdout)
    assert (result.returncode, result.stderr) == (0, b"")
    assert told["ok"] is True
    assert told["findings"][:2] == [
        {"subject": "configuration", "state": "ok", "text": str(file), "todo": ""},
        {"subject": f"127.0.0.1:{port}", "state": "ok", "text": "free", "todo": ""},
    ]


async def test_a_faulty_file_is_all_that_is_told(file: Path) -> None:
    file.write_text("drain = 3\n[server]\ndrain = 0x\n")
    result = await doctor(file, "--json")
    told = json.loads(result.stdout)
    assert (result.returncode, told["ok"]) == (1, False)
    (finding,) = told["findings"]
    assert (finding["subject"], finding["state"]) == ("configuration", "fault")
    assert finding["text"].startswith(f"{file}:3:")


async def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    result = await doctor(tmp_path / "none.toml")
    assert result.returncode == 1
    assert f"{tmp_path}/none.toml: cannot be read: No such file or directory" in result.stdout.decode()
