"""penstock as a process: started with a configuration, seen through its log, /health, /metrics and /proc."""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import trio

from rawhttp import Client, connected, get

#: What a cold start may take on a busy machine; seconds.
START = 60.0
#: How often a state that only the process knows is asked for; seconds.
GLANCE = 0.004


class Process:
    """A running ``penstock serve``.  :meth:`read` must run while lines are waited for."""

    def __init__(self, config: Path) -> None:
        self.config = config
        command = [sys.executable, "-m", "penstock", "serve", "--config", str(config)]
        self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE)
        assert self._process.stderr is not None
        self._stderr = self._process.stderr.fileno()
        os.set_blocking(self._stderr, False)
        self._ended = False
        #: whether somebody reads the log, and whether he has come to its end
        self._read_by_somebody, self._all_read = False, trio.Event()
        self._rest = b""
        self.lines: list[dict[str, Any]] = []
        #: what is no JSON line: tracebacks of an interpreter that dies, warnings
        self.noise: list[str] = []
        self._more = trio.lowlevel.ParkingLot()
        deadline = time.monotonic() + START
        while not (first := self._seen("listening")):
            if time.monotonic() > deadline or self._process.poll() is not None:
                self.end()
                raise AssertionError(("it does not listen", self.lines, self.noise))
            select.select([self._stderr], [], [], 0.1)
            self._take()
        self.address: str = first["addresses"].split(", ")[0]

    @property
    def pid(self) -> int:
        return self._process.pid

    # the log

    async def read(self) -> None:
        """Take the log's lines as they come."""
        self._read_by_somebody = True
        while True:
            await trio.lowlevel.wait_readable(self._stderr)
            if self._ended or not self._take():
                self._all_read.set()
                return
            self._more.unpark_all()

    def _take(self) -> bool:
        try:
            data = os.read(self._stderr, 1 << 16)
        except BlockingIOError:
            return True
        *whole, self._rest = (self._rest + data).split(b"\n")
        for line in whole:
            try:
                self.lines.append(json.loads(line))
            except ValueError:
                self.noise.append(line.decode())
        return bool(data)

    def _seen(self, event: str, **fields: Any) -> dict[str, Any] | None:
        wanted = fields | {"event": event}
        return next((line for line in self.lines if wanted.items() <= line.items()), None)

    async def line(self, event: str, **fields: Any) -> dict[str, Any]:
        """The first line of this event with these fields, now or when it comes."""
        while (line := self._seen(event, **fields)) is None:
            await self._more.park()
        return line

    def assert_quiet(self) -> None:
        """Nothing but JSON lines, none of a bug."""
        bugs = [line for line in self.lines if "exception" in line or line["level"] in ("error", "critical")]
        assert not (self.noise or bugs), (self.noise, bugs)

    # what it holds

    def descriptors(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    def memory(self) -> int:
        """Resident bytes."""
        return int(Path(f"/proc/{self.pid}/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")

    # its end

    def signal(self, number: int) -> float:
        """Send a signal; when."""
        now = time.monotonic()
        os.kill(self.pid, number)
        return now

    async def exit(self) -> tuple[int, float]:
        """The exit status, and when it was seen; whoever reads the log has then read all of it."""
        while (status := self._process.poll()) is None:
            await trio.sleep(GLANCE)
        seen_at = time.monotonic()
        if self._read_by_somebody:
            await self._all_read.wait()
        return status, seen_at

    def end(self) -> None:
        """For the fixture: end it whatever it does."""
        with suppress(ProcessLookupError):
            self._process.send_signal(signal.SIGKILL)
        self._process.wait()
        assert self._process.stderr is not None
        # The reader may have been woken by the end, and not have run yet.
        self._ended = True
        self._process.stderr.close()


class Books:
    """What a process says and shows of itself, asked over one connection."""

    def __init__(self, process: Process, client: Client) -> None:
        self._process = process
        self._client = client
        self.descriptors = 0

    async def health(self) -> dict[str, Any]:
        await self._client.send(get("/health"))
        status, body = await self._client.json()
        assert status in (200, 503), body
        return dict(body)

    async def metrics(self) -> dict[str, float]:
        """Samples by name with labels."""
        await self._client.send(get("/metrics"))
        _, _, body = await self._client.answer()
        samples = (line.rpartition(" ") for line in body.decode().splitlines() if not line.startswith("#"))
        return {name: float(value) for name, _, value in samples}

    async def until(self, state: Callable[[dict[str, Any]], bool]) -> None:
        """Ask for /health until it is so."""
        while not state(await self.health()):
            await trio.sleep(GLANCE)

    async def streams(self, phase: str, count: int = 1) -> None:
        """Wait until so many streams are in this phase."""
        await self.until(lambda health: health["streams"].get(phase, 0) == count)

    async def nothing_left(self, *, idle: bool = False) -> None:
        """No stream, slot, place in a queue, connection, and no descriptor more than at the start.

        ``idle``: connections that wait for the next stream may be there.
        """
        await self.until(
            lambda health: (
                _held(health) == 0
                and (idle or _idle(health) == 0)
                and self._process.descriptors() - _idle(health) == self.descriptors
            )
        )
        metrics = await self.metrics()
        gauges = ("penstock_live_streams", "penstock_queue_length", "penstock_slots_busy", "penstock_backend_conn")
        left = {name: value for name, value in metrics.items() if name.startswith(gauges) and value}
        assert all(idle and 'state="idle"' in name for name in left), left

    async def begin(self) -> None:
        """Count descriptors from here on."""
        idle = _idle(await self.health())
        self.descriptors = self._process.descriptors() - idle


def _held(health: dict[str, Any]) -> int:
    """Everything in use."""
    return sum(health["streams"].values()) + sum(
        backend[kind] for backend in health["backends"].values() for kind in ("busy", "waiting", "connections")
    )


def _idle(health: dict[str, Any]) -> int:
    return sum(backend["idle_connections"] for backend in health["backends"].values())


@asynccontextmanager
async def books(process: Process) -> AsyncIterator[Books]:
    """The books over a connection of their own; descriptors are counted from here on."""
    async with connected(process.address) as client:
        opened = Books(process, client)
        await opened.begin()
        yield opened
