"""The service manager's part, played by a test: it hears what it is told, and starts penstock with its sockets."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
from collections import deque
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import trio

#: What a start or a stop may take on a busy machine; seconds.
LONG = 60.0

#: Becomes penstock, as a manager's child does between fork and exec: sockets from 3 on, LISTEN_PID its own.
LAUNCH = """
import fcntl, os, sys
count = int(sys.argv[1])
high = [fcntl.fcntl(int(number), fcntl.F_DUPFD, 100) for number in sys.argv[2 : 2 + count]]
for number, descriptor in enumerate(high):
    os.dup2(descriptor, 3 + number)
if count:
    os.environ |= {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count)}
if "WATCHDOG_USEC" in os.environ:
    os.environ["WATCHDOG_PID"] = str(os.getpid())
os.execv(sys.executable, [sys.executable, "-m", "penstock", *sys.argv[2 + count :]])
"""


class Manager:
    """The socket behind ``$NOTIFY_SOCKET``, a path or ``@name``."""

    def __init__(self, address: str) -> None:
        self.address = address
        self._waiting: deque[dict[str, str]] = deque()
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(address.replace("@", "\0", 1) if address.startswith("@") else address)

    def take(self) -> list[dict[str, str]]:
        """The messages that wait now."""
        taken = []
        while True:
            try:
                text = self._sock.recv(65536).decode()
            except BlockingIOError:
                return taken
            taken.append(dict(line.split("=", 1) for line in text.split("\n")))

    async def until(self, wanted: Callable[[dict[str, str]], Any]) -> dict[str, str]:
        """The first message that is so, of those that nobody has asked for yet."""
        while True:
            while self._waiting:
                if wanted(message := self._waiting.popleft()):
                    return message
            await trio.lowlevel.wait_readable(self._sock)
            self._waiting.extend(self.take())

    def close(self) -> None:
        self._sock.close()


class Service:
    """A running ``penstock serve`` with a simulated backend, started as a service."""

    def __init__(self, config: Path, log: Path, sockets: Sequence[socket.socket] = (), **environ: str) -> None:
        verb = ["serve", "--demo", "--config", str(config)]
        numbers = [sock.fileno() for sock in sockets]
        self._log = log
        with log.open("ab") as stderr:
            self._process = subprocess.Popen(
                [sys.executable, "-c", LAUNCH, str(len(numbers)), *map(str, numbers), *verb],
                env=os.environ | environ,
                pass_fds=numbers,
                stdin=subprocess.DEVNULL,
                stderr=stderr,
            )

    @property
    def log(self) -> str:
        return self._log.read_text()

    def signal(self, number: int) -> None:
        self._process.send_signal(number)

    async def exit(self) -> int:
        """The exit status."""
        with trio.fail_after(LONG):
            return await trio.to_thread.run_sync(self._process.wait, abandon_on_cancel=True)

    def end(self) -> None:
        """For the fixture: end it whatever it does."""
        self._process.send_signal(signal.SIGKILL)
        self._process.wait()


def listening(address: str) -> socket.socket:
    """A listening socket as a manager makes it: blocking, and inherited where it is passed on."""
    if address.startswith("/"):
        sock = socket.socket(socket.AF_UNIX)
        sock.bind(address)
    else:
        sock = socket.socket(socket.AF_INET6 if ":" in address else socket.AF_INET)
        sock.bind((address, 0))
    sock.listen()
    return sock


def item(sock: socket.socket) -> str:
    """The socket's address as ``server.listen`` says it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        return f"unix:{name}"
    return f"[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"{name[0]}:{name[1]}"


def url(sock: socket.socket) -> str:
    """The same as a client of the tests says it."""
    return item(sock) if sock.family == socket.AF_UNIX else f"http://{item(sock)}"
