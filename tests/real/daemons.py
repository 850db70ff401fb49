"""Servers as processes, with output that can be waited for: penstock itself, the simulated backend, llama.cpp."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import queue
import re
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import Future
from pathlib import Path
from typing import Any, TypeVar

import httpx

T = TypeVar("T")

#: Whatever is waited for in these tests comes within this time or never; seconds.
DEADLINE = 30.0
#: How soon a backend's connection must be closed after its client's, on a machine that does other things too; what is
#: promised is less, and is measured elsewhere; seconds.
TEARDOWN = 0.9

PENSTOCK = (sys.executable, "-m", "penstock")


class Server:
    """A process whose every line of output is kept until somebody waits for it."""

    def __init__(self, *command: str, folder: Path | None = None, environ: dict[str, str] | None = None) -> None:
        """``environ`` is added to the environment of the tests."""
        self.process = subprocess.Popen(
            command,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            cwd=folder,
            env=os.environ | (environ or {}),
        )
        self._lines: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.url = ""

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)
        self._lines.put(None)

    def said(self, wanted: Callable[[str], T | None]) -> T:
        """What the first line says that has something to say; those before it are gone."""
        deadline = time.monotonic() + DEADLINE
        skipped: list[str] = []
        while True:
            try:
                line = self._lines.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                raise AssertionError(f"not within {DEADLINE} s; it said: {skipped}") from None
            assert line is not None, f"it ended; it said: {skipped}"
            if (found := wanted(line)) is not None:
                return found
            skipped.append(line)

    def rest(self) -> list[str]:
        """Everything that nobody waited for, once the process has ended."""
        self._reader.join(DEADLINE)
        lines = []
        while not self._lines.empty():
            lines.append(self._lines.get() or "")
        return lines

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join(DEADLINE)
        for pipe in (self.process.stdin, self.process.stdout):
            assert pipe is not None
            pipe.close()


class Simulated(Server):
    """``penstock simulate`` with its records."""

    def request(self, name: str, state: str = "ended") -> dict[str, Any]:
        """The newest request of this name, once it has come so far."""
        answer = httpx.get(
            f"{self.url}/simulate/streams/{name}?wait={DEADLINE}&for={state}", timeout=2 * DEADLINE, trust_env=False
        )
        found: dict[str, Any] = answer.raise_for_status().json()[-1]
        return found

    def closed_at(self, name: str) -> float:
        """When the peer closed this request's connection; the clock is ``time.monotonic()``."""
        at: float | None = self.request(name, "closed")["peer_closed_at"]
        assert at is not None, "the connection is still open"
        return at


class Penstock(Server):
    """``penstock serve``; its log is JSON."""

    def logged(self, event: str, **fields: str) -> dict[str, Any]:
        """The next log line of this event, with these values."""

        def wanted(line: str) -> dict[str, Any] | None:
            # anything else is a traceback, which the failure shows
            entry = json.loads(line) if line.startswith("{") else {}
            return entry if {"event": event, **fields}.items() <= entry.items() else None

        return self.said(wanted)

    def outcome(self, model: str) -> dict[str, Any]:
        """The closing line of the next stream of this model."""
        return self.logged("stream ended", model=model)

    def health(self) -> dict[str, Any]:
        found: dict[str, Any] = httpx.get(f"{self.url}/health", trust_env=False).raise_for_status().json()
        return found


class Scripted(Server):
    """A process that answers each line of JSON with one of the same ``number``, in any order; asked by any thread."""

    def __init__(self, *command: str, folder: Path | None = None) -> None:
        self._numbers = itertools.count(1)
        self._asked: dict[int, Future[dict[str, Any]]] = {}
        self._lock = threading.Lock()
        super().__init__(*command, folder=folder)

    def _read(self) -> None:
        assert self.process.stdout is not None
        unasked = []
        for line in self.process.stdout:
            found = json.loads(line) if line.startswith("{") else {}
            if (asked := self._asked.pop(found.pop("number", 0), None)) is not None:
                asked.set_result(found)
            else:
                unasked.append(line)
        for asked in self._asked.values():
            asked.set_exception(AssertionError(f"it ended; it said: {unasked}"))

    def ask(self, question: dict[str, Any], patience: float = DEADLINE) -> dict[str, Any]:
        assert self.process.stdin is not None
        number, answer = next(self._numbers), Future[dict[str, Any]]()
        with self._lock:
            self._asked[number] = answer
            print(json.dumps(question | {"number": number}), file=self.process.stdin, flush=True)
        return answer.result(patience)


@contextlib.contextmanager
def simulated(*options: str) -> Iterator[Simulated]:
    server = Simulated(*PENSTOCK, "simulate", "--listen", "127.0.0.1:0", *options)
    try:
        server.url = server.said(lambda line: line.strip() if line.startswith("http") else None)
        yield server
    finally:
        server.kill()


def ready(line: str) -> str | None:
    """The URL that the launcher prints; the server's own log may write into the same line."""
    found = re.search(r"READY (http://[0-9.:]+)", line)
    return found[1] if found else None


@contextlib.contextmanager
def llama(model: Path, **settings: object) -> Iterator[Server]:
    launcher = Path(__file__).with_name("llama_server.py")
    server = Server(sys.executable, str(launcher), str(model), json.dumps(settings))
    try:
        server.url = server.said(ready)
        yield server
    finally:
        server.kill()


@contextlib.contextmanager
def penstock(folder: Path, configuration: str, *, eager: bool = False) -> Iterator[Penstock]:
    """A daemon on a free port.  Leaving checks that nothing in it was a bug and that it stops when told to.

    One that is ``eager`` begins its answers and sends heartbeats so soon that no test need wait for them.
    """
    file = folder / "penstock.toml"
    pace = 'grace = "1s"\nheartbeat = "200ms"\n' if eager else ""
    file.write_text(f'[server]\nlisten = ["127.0.0.1:0"]\nlog_format = "json"\ndrain = 0\n{pace}{configuration}')
    server = Penstock(*PENSTOCK, "serve", "--config", str(file))
    try:
        server.url = server.logged("listening")["addresses"]
        yield server
        server.process.terminate()
        assert server.process.wait(DEADLINE) == 0
        assert not [line for line in server.rest() if "a bug in penstock" in line]
    finally:
        server.kill()


def until(true: Callable[[], bool], what: str) -> None:
    """Ask again and again until it is true."""
    deadline = time.monotonic() + DEADLINE
    while not true():
        assert time.monotonic() < deadline, f"not within {DEADLINE} s: {what}"
