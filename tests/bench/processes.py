"""Child processes: start, own, measure, end.  None outlives the harness."""

from __future__ import annotations

import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import time
from functools import cached_property
from pathlib import Path
from types import TracebackType
from typing import IO, Self

ROOT = Path(__file__).parents[2]
_PR_SET_PDEATHSIG = 1


class BenchError(Exception):
    """The run cannot go on; the text says why."""


def die_with_parent() -> None:
    ctypes.CDLL(None).prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)


def cpu_ns(pid: int) -> int:
    """CPU time of a process, ended threads included: the clock that clock_getcpuclockid(3) names."""
    return time.clock_gettime_ns((~pid << 3) | 2)


def rss_kib(pid: int) -> int:
    """Resident memory of a process."""
    for line in Path(f"/proc/{pid}/status").read_text().splitlines():
        if line.startswith("VmRSS:"):
            return int(line.split()[1])
    raise BenchError(f"process {pid} has no memory left to measure")


def free_port() -> int:
    """A port that nobody listens on."""
    with socket.create_server(("127.0.0.1", 0)) as probe:
        return int(probe.getsockname()[1])


def listens(pid: int, port: int) -> bool:
    """Whether the socket that listens on this port belongs to this process, and not to a stranger."""
    wanted = f"0100007F:{port:04X}"
    inodes = set()
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if fields[1] == wanted and fields[3] == "0A":
            inodes.add(f"socket:[{fields[9]}]")
    folder = Path(f"/proc/{pid}/fd")
    return any(os.readlink(entry) in inodes for entry in folder.iterdir())


class Child:
    """A process that serves one port of the loopback; it is ended with the ``with`` block."""

    def __init__(self, name: str, arguments: list[str], log: Path, port: int | None = None) -> None:
        """Without ``port``, the process prints its own on its first line."""
        self.name = name
        self.log = log
        with log.open("wb") as errors:
            self.process = subprocess.Popen(
                [sys.executable, "-m", *arguments],
                cwd=ROOT,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if port is None else errors,
                stderr=errors,
                preexec_fn=die_with_parent,
            )
        self.pid = self.process.pid
        self._port = port

    @cached_property
    def port(self) -> int:
        """Where it listens, once it does."""
        return self._wait_until_served(self._port) if self._port else self._read_port()

    def _read_port(self) -> int:
        output: IO[bytes] | None = self.process.stdout
        assert output is not None
        if select.select([output], [], [], 10)[0] and (line := output.readline().strip()).isdigit():
            return int(line)
        raise BenchError(f"{self.name} did not start: {self.last_words()}")

    def _wait_until_served(self, port: int) -> int:
        deadline = time.monotonic() + 20
        while time.monotonic() < deadline and self.process.poll() is None:
            with socket.socket() as probe:
                if probe.connect_ex(("127.0.0.1", port)) == 0:
                    if not listens(self.pid, port):
                        raise BenchError(f"port {port} of {self.name} is served by another process")
                    return port
            time.sleep(0.02)
        raise BenchError(f"{self.name} does not answer on port {port}: {self.last_words()}")

    def last_words(self) -> str:
        text = self.log.read_text(errors="replace")[-2000:]
        return f"exit status {self.process.poll()}, it said:\n{text}"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.process.terminate()
        try:
            self.process.wait(3)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                stream.close()
