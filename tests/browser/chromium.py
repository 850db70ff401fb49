"""Debian's Chromium without a window, and a web server for the pages that it opens."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path
from typing import Any

import trio

CHROMIUM = next((path for name in ("chromium", "chromium-headless-shell") if (path := shutil.which(name))), None)
#: Neither calls home nor asks anything, and takes these names for this machine.
FLAGS = [
    "--headless",
    "--no-first-run",
    "--disable-gpu",
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-default-apps",
    "--disable-sync",
    "--password-store=basic",
    # as root it does not start otherwise, and in many containers neither
    "--no-sandbox",
]


@asynccontextmanager
async def opened(url: str, folder: Path, *, names: dict[str, str]) -> AsyncIterator[None]:
    """A browser that shows this page, until the end of the block; ``names`` are resolved as they say."""
    assert CHROMIUM is not None
    rules = ", ".join(f"MAP {name} {address}" for name, address in names.items())
    command = [CHROMIUM, *FLAGS, f"--user-data-dir={folder}", f"--host-resolver-rules={rules}", url]
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(
        command,
        stdin=quiet,
        stdout=quiet,
        stderr=quiet,
        env={**os.environ, "HOME": str(folder)},
        start_new_session=True,
    )
    try:
        yield
    finally:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


class Site:
    """One page, and what its script reports with a POST to ``/report``."""

    def __init__(self, page: str) -> None:
        self.page = page.encode()
        self.port = 0
        self._send, self._receive = trio.open_memory_channel[dict[str, Any]](1)

    async def report(self) -> dict[str, Any]:
        """What the script found out."""
        return await self._receive.receive()

    async def serve(self, task_status: trio.TaskStatus[int] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.serve_tcp(self.converse, self.port, host="127.0.0.1", task_status=_PortOf(self, task_status))

    async def converse(self, stream: trio.SocketStream, data: bytes = b"") -> None:
        """One request, of which ``data`` is here already, and one answer."""
        while b"\r\n\r\n" not in data:
            if not (more := bytes(await stream.receive_some())):
                return
            data += more
        head, _, body = data.partition(b"\r\n\r\n")
        length = next(
            (int(line[15:]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
        )
        while len(body) < length:
            body += bytes(await stream.receive_some())
        if head.startswith(b"POST /report "):
            self._send.send_nowait(json.loads(body))
        page = self.page if head.startswith(b"GET / ") else b""
        answer = b"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
        await stream.send_all(answer % (len(page), page))


class _PortOf:
    """Notes the port, and tells whoever waits for the server."""

    def __init__(self, site: Site, status: trio.TaskStatus[int]) -> None:
        self._site, self._status = site, status

    def started(self, listeners: list[trio.SocketListener]) -> None:
        self._site.port = listeners[0].socket.getsockname()[1]
        self._status.started(self._site.port)


class Rebound:
    """A name that leads to the attacker until its page is loaded, and to the daemon from then on.

    It stands on another loopback address with the daemon's own port, and hands the browser's bytes on as they are: what
    the daemon sees is what it sees when a name is rebound between two look-ups.
    """

    def __init__(self, site: Site, target: tuple[str, int]) -> None:
        self.site = site
        self.target = target
        self.turned = False

    async def serve(self, address: str, task_status: trio.TaskStatus[object] = trio.TASK_STATUS_IGNORED) -> None:
        await trio.serve_tcp(self.converse, self.target[1], host=address, task_status=task_status)

    async def converse(self, stream: trio.SocketStream) -> None:
        # Browsers open connections that they may never use.
        data = bytes(await stream.receive_some())
        if not self.turned and data.startswith(b"GET / "):
            self.turned = True
            await self.site.converse(stream, data)
            return
        async with await trio.open_tcp_stream(*self.target) as daemon, trio.open_nursery() as nursery:
            await daemon.send_all(data)
            nursery.start_soon(partial(splice, stream, daemon))
            await splice(daemon, stream)
            nursery.cancel_scope.cancel()


async def splice(source: trio.SocketStream, to: trio.SocketStream) -> None:
    try:
        while data := await source.receive_some():
            await to.send_all(data)
        await to.send_eof()
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        return
