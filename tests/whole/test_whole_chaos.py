"""What happens to backends, clocks and names: one is killed or stopped, they jump, they hang."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
from process import Process, books
from short_budgets import CONFIG, backend

import rawhttp
from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.table import KINDS, rule_of
from penstock.simulate.server import Simulation
from rawhttp import answered, ask, call, connected

# --- a backend dies, hangs, comes back -------------------------------------------------------------------------------


@contextmanager
def stand_in(port: int = 0) -> Iterator[tuple[subprocess.Popen[bytes], str]]:
    """``penstock simulate`` as a process, and its URL."""
    command = [sys.executable, "-m", "penstock", "simulate", "--listen", f"127.0.0.1:{port}"]
    process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE)
    assert process.stdout is not None
    try:
        yield process, process.stdout.readline().decode().strip()
    finally:
        process.kill()
        process.wait()
        process.stdout.close()


NATURAL = {"responses": "openai", "typed_events": "openai", "websocket": "openai"}
CELLS = [(client, NATURAL.get(client.dialect, client.dialect)) for client in CLIENTS.values()]
CELLS += [(CLIENTS["OpenAI chat"], kind) for kind in KINDS]


async def broken(process: Process, client: Client, model: str, reason: str, begun: Callable[[], None]) -> None:
    """A stream that is under way until something happens to its backend: what its client is told of it."""
    assert rule_of(client.name, model.partition("-")[0].removeprefix("sim:id="), "text") is None
    asker = await client.ask(process.address, model, stream=True)
    async with asker.stream:
        status, headers = await asker.head()
        assert status == 200
        piece = asker.chunk if isinstance(asker, rawhttp.Client) else partial(asker.until, b"\n")
        while b" t1" not in await piece():
            pass
        begun()
        told = await asker.body(headers)
    line = await process.line("stream ended", model=model)
    assert line["reason"] == reason
    assert line["message"].encode() in told


async def under_way(process: Process, reason: str, strike: Callable[[], None], nursery: trio.Nursery, tag: str) -> None:
    """Every language in mid-answer when it strikes."""
    left = len(CELLS)
    struck = trio.Event()

    def begun() -> None:
        nonlocal left
        left -= 1
        if not left:
            struck.set()

    async with trio.open_nursery() as asking:
        for number, (client, kind) in enumerate(CELLS):
            model = f"sim:id={kind}-{tag}{number},tokens=1000000,rate=100"
            asking.start_soon(broken, process, client, model, reason, begun)
        await struck.wait()
        strike()


async def test_a_backend_that_is_killed_and_comes_back(
    serving: Callable[[str], Process], nursery: trio.Nursery
) -> None:
    with stand_in() as (victim, url), trio.fail_after(30):
        process = serving(CONFIG + "".join(backend(kind, url, kind) for kind in KINDS))
        nursery.start_soon(process.read)
        async with books(process) as book:
            await under_way(process, "backend_truncated", victim.kill, nursery, "killed")
            victim.wait()
            await book.nothing_left()
            assert all(state["resting"] for state in (await book.health())["backends"].values())
            for kind in KINDS:
                client = next(client for client, of in CELLS if of == kind)
                status, _, body = await answered(process.address, client.request(f"sim:id={kind}-dead", stream=True))
                assert (status, "refused" in client.refusal(body)) == (502, True)
            with stand_in(int(url.rpartition(":")[2])):
                for kind in KINDS:
                    client = next(client for client, of in CELLS if of == kind)
                    model = f"sim:id={kind}-back,tokens=3"
                    status, _, body = await answered(process.address, client.request(model, stream=True))
                    assert (status, client.read(body, stream=True).text) == (200, " t0 t1 t2")
                assert not any(state["resting"] for state in (await book.health())["backends"].values())


@pytest.mark.heavy
async def test_a_backend_that_is_stopped_is_silent(serving: Callable[[str], Process], nursery: trio.Nursery) -> None:
    """The kernel goes on accepting for it."""
    with stand_in() as (victim, url), trio.fail_after(30):
        process = serving(CONFIG + "".join(backend(kind, url, kind) for kind in KINDS))
        nursery.start_soon(process.read)
        async with books(process) as book:
            await under_way(process, "silence", lambda: victim.send_signal(signal.SIGSTOP), nursery, "stopped")
            status, told = await asked(process, "sim:id=openai-mute,tokens=1")
            assert (status, told["error"]["code"]) == (504, "first_token_timeout")
            victim.send_signal(signal.SIGCONT)
            status, _ = await asked(process, "sim:id=openai-back,tokens=1")
            assert status == 200
            await book.nothing_left(idle=True)


async def asked(process: Process, model: str) -> tuple[int, dict[str, dict[str, str]]]:
    """Status and body of an answer in one piece."""
    async with connected(process.address) as client:
        await client.send(call(model, stream=False))
        return await client.json()


# --- clocks and names ------------------------------------------------------------------------------------------------


JUMPING = """
import itertools, time
steps = itertools.cycle((0.0, 86400.0, -86400.0, 3600.0))
real = time.time
time.time = lambda: real() + next(steps)
time.time_ns = lambda: int(time.time() * 1e9)
"""
HANGING = """
import socket, threading
real = socket.getaddrinfo
def getaddrinfo(host, port, family=0, type=0, proto=0, flags=0):
    if "hangs" in str(host) and not flags & socket.AI_NUMERICHOST:
        threading.Event().wait()
    return real(host, port, family, type, proto, flags)
socket.getaddrinfo = getaddrinfo
"""


@pytest.fixture
def odd(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """Has code run at the start of every further Python process (the module site, "sitecustomize")."""

    def make(code: str) -> None:
        folder = tmp_path / "odd"
        folder.mkdir()
        (folder / "sitecustomize.py").write_text(code)
        monkeypatch.setenv("PYTHONPATH", str(folder), prepend=os.pathsep)

    return make


@pytest.mark.heavy
async def test_a_wall_clock_that_jumps_moves_no_deadline(
    odd: Callable[[str], None], serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> None:
    """By a day to and fro, at every look at it."""
    odd(JUMPING)
    process = serving(
        CONFIG.replace("[timeouts]", 'heartbeat = "100ms"\ngrace = "100ms"\n[timeouts]')
        + backend("sim", simulation.url)
    )
    nursery.start_soon(process.read)
    with trio.fail_after(20):
        async with books(process) as book:
            for script, reason, least in (
                ("tokens=20,rate=100", "completed", 0.15),
                ("first=300ms,tokens=1", "completed", 0.3),
                ("tokens=9,fault=silence@3", "silence", 0.5),
                ("fault=mute", "first_token_timeout", 0.5),
            ):
                model = f"sim:id=sim-jump,{script}"
                began = time.monotonic()
                await answered(process.address, call(model))
                took = time.monotonic() - began
                line = await process.line("stream ended", model=model)
                assert line["reason"] == reason
                # the connection to the backend may settle a little after the last byte
                assert least <= line["total"] < took + 0.5 < least + 15
                assert all(0 <= value < took + 0.5 for name, value in line.items() if name.startswith("in_"))
            assert 0 < (await book.metrics())['penstock_stream_seconds_sum{dialect="openai",target="sim"}'] < 10
            await book.nothing_left(idle=True)


@pytest.mark.heavy
async def test_a_name_that_hangs_holds_up_nobody_else(
    odd: Callable[[str], None], serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> None:
    """More lookups at a time than there are threads for them."""
    odd(HANGING)
    port = simulation.url.rpartition(":")[2]
    config = (
        CONFIG
        + backend("hung", f"http://hangs.example:{port}").replace("[routes", 'timeouts = { connect = "3s" }\n[routes')
        + backend("named", f"http://localhost:{port}")
    )
    process = serving(config)
    nursery.start_soon(process.read)
    with trio.fail_after(20):
        async with books(process) as book:
            hung = [await ask(process.address, call(f"sim:id=hung-{number}", stream=False)) for number in range(60)]
            await book.streams("connecting", 60)
            began = time.monotonic()
            status, _ = await asked(process, "sim:id=named-1,tokens=1")
            # those that hang have three seconds
            assert (status, time.monotonic() - began < 2) == (200, True)
            for client in hung:
                async with client.stream:
                    status, told = await client.json()
                    assert (status, told["error"]["code"]) == (504, "connect_timeout")
            # the threads still hang, and nobody waits for them
            status, _ = await asked(process, "sim:id=named-2,tokens=1")
            assert status == 200
            assert {line["reason"] for line in process.lines if "hung" in line.get("model", "")} == {"connect_timeout"}


@pytest.mark.heavy
async def test_a_name_that_does_not_exist_is_said(
    serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> None:
    process = serving(CONFIG + backend("gone", "http://nowhere.invalid:1"))
    nursery.start_soon(process.read)
    with trio.fail_after(20):
        status, told = await asked(process, "sim:id=gone-1")
        assert status in (502, 504)
        assert told["error"]["code"] in ("connect_failed", "connect_timeout")
        assert "nowhere.invalid:1" in told["error"]["message"]
