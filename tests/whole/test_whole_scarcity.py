"""What a machine can run out of: descriptors, room for the log, readers of it."""

from __future__ import annotations

import json
import os
import resource
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import asynccontextmanager, contextmanager, suppress
from pathlib import Path
from typing import IO

import pytest
import trio
from process import Process, books
from short_budgets import CONFIG, backend

from penstock.simulate.server import Simulation
from ports import free_port
from rawhttp import answered, call, connect, connected, get


async def test_without_descriptors_clients_wait_and_nobody_spins(
    serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> None:
    process = serving(CONFIG + backend("sim", simulation.url))
    nursery.start_soon(process.read)
    with trio.fail_after(20):
        async with books(process) as book, connected(process.address) as running, connected(process.address) as early:
            await running.send(call("sim:id=sim-run,tokens=1000000,rate=200"))
            await running.until(b" t1")
            await book.health()
            highest = max(int(fd) for fd in os.listdir(f"/proc/{process.pid}/fd"))
            _, hard = resource.prlimit(process.pid, resource.RLIMIT_NOFILE)
            resource.prlimit(process.pid, resource.RLIMIT_NOFILE, (highest + 4, hard))
            crowd = [await connect(process.address) for _ in range(20)]
            while not (pauses := (await book.metrics())["penstock_accept_pauses_total"]):
                await trio.sleep(0.01)

            # what needs a connection to a backend is told so, and no backend is blamed
            await early.send(call("sim:id=sim-early,tokens=1"))
            status, told = await early.json()
            assert (status, told["error"]["code"]) == (503, "exhausted")
            assert "LimitNOFILE" in told["error"]["message"]
            assert (await process.line("stream ended", model="sim:id=sim-early,tokens=1"))["reason"] == "exhausted"
            assert not (await book.health())["backends"]["sim"]["resting"]

            # streams go on, and the loop does not spin
            before, began = cpu(process.pid), time.monotonic()
            await trio.sleep(0.5)
            spent, paused = cpu(process.pid) - before, (await book.metrics())["penstock_accept_pauses_total"] - pauses
            took = time.monotonic() - began
            assert spent < 0.6 * took
            # ten a second
            assert paused < 20 * took + 2
            await running.until(b" t50")
            assert len([line for line in process.lines if line["event"] == "out of file descriptors"]) == 1

            for client in crowd:
                client.stream.socket.close()
            running.leave("fin")
            await process.line("stream ended", reason="client_gone")
            status, _, _ = await answered(process.address, call("sim:id=sim-late,tokens=1"))
            assert status == 200


def cpu(pid: int) -> float:
    """Seconds of processor time so far."""
    fields = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2].split()
    return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")


@asynccontextmanager
async def logging_to(file: Path, log: IO[str], simulation: Simulation) -> AsyncIterator[str]:
    """A daemon whose log goes there, at the address that its configuration gives it; stopped, it must end well."""
    port = free_port()
    file.write_text(CONFIG.replace("127.0.0.1:0", f"127.0.0.1:{port}") + backend("sim", simulation.url))
    command = [sys.executable, "-m", "penstock", "serve", "--config", str(file)]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=log)
    try:
        address = f"http://127.0.0.1:{port}"
        while not await listening(address):
            await trio.sleep(0.02)
        yield address
        process.send_signal(signal.SIGTERM)
        while process.poll() is None:
            await trio.sleep(0.01)
        assert process.returncode == 0
    finally:
        process.kill()
        process.wait()


async def lost_lines(address: str) -> int:
    _, _, metrics = await answered(address, get("/metrics"))
    (line,) = [line for line in metrics.decode().splitlines() if line.startswith("penstock_log_lines_lost_total ")]
    return round(float(line.rpartition(" ")[2]))


async def test_a_full_disk_under_the_log_costs_lines_and_nothing_else(simulation: Simulation, tmp_path: Path) -> None:
    with open("/dev/full", "w") as full, trio.fail_after(20):
        async with logging_to(tmp_path / "penstock.toml", full, simulation) as address:
            for number in range(3):
                status, _, body = await answered(address, call(f"sim:id=sim-{number},tokens=3"))
                assert status == 200 and b" t2" in body
            # that it listens, and three streams
            assert await lost_lines(address) == 4


@contextmanager
def small_disk(folder: Path) -> Iterator[Path]:
    """A file system with room for 64 KiB."""
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=64k", "penstock-test", folder], capture_output=True, text=True, check=False
    )
    if mounted.returncode:
        pytest.skip(f"no file system can be mounted here: {mounted.stderr.strip()}")
    try:
        yield folder
    finally:
        subprocess.run(["umount", folder], check=True)


@pytest.mark.heavy
@pytest.mark.skipif(os.geteuid() != 0, reason="only root mounts file systems")
async def test_a_disk_that_fills_and_has_room_again(simulation: Simulation, tmp_path: Path) -> None:
    with small_disk(tmp_path / "disk") as disk, (disk / "log").open("w") as log, trio.fail_after(30):
        async with logging_to(tmp_path / "penstock.toml", log, simulation) as address:
            filler = disk / "filler"
            with suppress(OSError), filler.open("wb", buffering=0) as file:
                while True:
                    file.write(bytes(512))
            asked = 0
            while (lost := await lost_lines(address)) < 20:
                asked += 1
                status, _, body = await answered(address, call(f"sim:id=sim-{asked},tokens=3"))
                assert status == 200 and b" t2" in body
            # not a line came through in between, once the page was full
            assert lost >= asked - 8
            filler.unlink()
            assert (await answered(address, call("sim:id=sim-again,tokens=3")))[0] == 200
            assert await lost_lines(address) == lost
        lines = [json.loads(line) for line in (disk / "log").read_text().splitlines() if line.endswith("}")]
    told = [line for line in lines if line["event"] == "lines were lost that could not be written"]
    assert [line["lost"] for line in told] == [lost]
    after = lines[lines.index(told[0]) + 1 :]
    assert after[0]["model"] == "sim:id=sim-again,tokens=3"
    assert after[-1]["event"] == "stopped"


async def listening(address: str) -> bool:
    with suppress(OSError):
        async with connected(address):
            return True
    return False


@pytest.mark.heavy
async def test_a_log_that_nobody_reads_costs_lines_and_never_time(
    serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> None:
    """A pager that was left open, for instance: its pipe is full."""
    process = serving(CONFIG + backend("sim", simulation.url))
    with trio.fail_after(20):
        async with books(process) as book:
            while not (lost := (await book.metrics())["penstock_log_lines_lost_total"]):
                status, _, _ = await answered(process.address, call(f"sim:id=sim-{'x' * 100},tokens=1"))
                assert status == 200
            nursery.start_soon(process.read)
            await process.line("stream ended")
            await answered(process.address, call("sim:id=sim-again,tokens=1"))
            line = await process.line("lines were lost that could not be written")
            assert lost <= line["lost"] <= lost + 1
            assert (await process.line("stream ended", model="sim:id=sim-again,tokens=1"))["reason"] == "completed"
            await book.nothing_left(idle=True)
    # what was cut off in its middle ended its line
    assert len(process.noise) <= 1
    process.noise.clear()
