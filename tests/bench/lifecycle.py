"""Jobs about the life of streams: how fast an end reaches the backend, what an open or a stalled one holds."""

from __future__ import annotations

import select
import socket
import struct
from time import monotonic_ns

from .client import Client, Fault
from .load import Figures, Job, Load, quantile
from .plan import After, Plan
from .processes import rss_kib

#: how often memory is looked at
LOOK = 0.05
#: streams that are open at a time while teardown is measured, and the pause between two of their ends, seconds
BATCH = 20
PAUSE = 0.004


class Watch(Client):
    """The mock's report of streams opened and closed at its end."""

    __slots__ = ("closed", "opened")

    def __init__(self, port: int) -> None:
        self.opened: set[int] = set()
        self.closed: dict[int, int] = {}
        super().__init__(port, "openai", Plan())

    def ask(self, *, stream: bool = True) -> None:
        self.sock.send(b"GET /events HTTP/1.1\r\nHost: 127.0.0.1\r\n\r\n")

    def take(self, data: bytes, now: int) -> None:
        *lines, self.rest = (self.rest + data).split(b"\n")
        for line in lines:
            what, _, times = line.partition(b" ")
            if times:
                ident, at = map(int, times.split())
                if what == b"open":
                    self.opened.add(ident)
                else:
                    self.closed[ident] = at


def close(load: Load, client: Client, how: str) -> int:
    """End a stream the way a client may; the time of it."""
    while client.read():
        # unread bytes would turn a FIN into a RST
        pass
    if how == "half":
        now = monotonic_ns()
        client.sock.shutdown(socket.SHUT_WR)
        load.forget(client)
        return now
    if how == "rst":
        client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    now = monotonic_ns()
    load.drop(client)
    return now


def teardown(job: Job) -> Figures:
    """From the client's end to the backend's socket closed.  A stream that is never closed there counts as a fault."""
    load = Load(job)
    watch = Watch(job.mock_port)
    load.adopt(watch)
    load.until(lambda: bool(watch.head), "report of the mock")
    ended: dict[int, int] = {}
    for first in range(0, job.rounds, BATCH):
        idents = range(first, min(first + BATCH, job.rounds))
        clients = [load.open(Plan(job.plan.rate, job.plan.frames, 0, job.plan.after, ident)) for ident in idents]
        load.until(lambda idents=idents: watch.opened.issuperset(idents), "requests at the backend")  # type: ignore[misc]
        if job.plan.after is not After.MUTE:
            load.until(lambda clients=clients: all(client.frames for client in clients), "first frames")  # type: ignore[misc]
        for ident, client in zip(idents, clients, strict=True):
            load.until(lambda: False, "pause", PAUSE)
            ended[ident] = close(load, client, job.close)
        load.until(lambda idents=idents: watch.closed.keys() >= set(idents), f"closing after {job.close}")  # type: ignore[misc]
        for client in clients:
            client.sock.close()
    waits = [(watch.closed[ident] - at) / 1e6 for ident, at in ended.items()]
    return {"p50_ms": quantile(waits, 0.5), "p99_ms": quantile(waits, 0.99), "max_ms": max(waits), "count": len(waits)}


def open_streams(job: Job) -> Figures:
    """What streams hold that are open and silent after their first frame, KiB each; and the target before any."""
    load = Load(job)
    pid = job.pids["target"]
    load.open(Plan(frames=1))
    load.until(lambda: not load.clients, "first stream")
    idle = rss_kib(pid)
    clients = [load.open(job.plan) for _ in range(job.clients)]
    load.until(lambda: all(client.frames for client in clients), "first frame of every stream")
    load.until(lambda: False, "settling", job.window)
    return {"idle_mib": idle / 1024, "stream_kib": (rss_kib(pid) - idle) / job.clients}


def stalled_reader(job: Job) -> Figures:
    """What a target takes on while its client reads nothing of a long answer; then all of it must come, in order."""
    load = Load(job)
    pid = job.pids["target"]
    load.open(Plan(frames=1))
    load.until(lambda: not load.clients, "first stream")
    idle = most = rss_kib(pid)
    client = load.open(job.plan)
    load.until(lambda: client.frames > 0, "first frame")
    load.epoll.modify(client.fd, 0)
    for _ in range(int(job.window / LOOK)):
        load.until(lambda: False, "stalling", LOOK)
        most = max(most, rss_kib(pid))
    load.epoll.modify(client.fd, select.EPOLLIN)
    load.until(lambda: not load.clients, "rest of the answer")
    if client.frames != job.plan.frames:
        raise Fault(f"{client.frames} frames of {job.plan.frames}")
    return {"grown_mib": (most - idle) / 1024, "megabytes": job.plan.frames * 240 / 1e6}
