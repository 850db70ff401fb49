"""What every job of the load generator stands on: the job itself, its clients under one epoll, the clocks."""

from __future__ import annotations

import json
import select
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from time import monotonic, monotonic_ns, process_time_ns

from .client import Client, Fault
from .plan import After, Plan
from .processes import cpu_ns
from .websocket import WebSocketClient

Figures = dict[str, float]


@dataclass(kw_only=True)
class Job:
    """What to do to whom.  Durations in seconds."""

    kind: str
    port: int = 0
    dialect: str = ""  #: of the client; by default the target's
    clients: int = 1
    plan: Plan = field(default_factory=Plan)
    warm: float = 0.0  #: before the window in which is measured
    window: float = 0.0
    spread: float = 0.0  #: over which the clients are opened
    rounds: int = 1
    close: str = "fin"  #: fin, rst or half
    mock_port: int = 0
    beside: bool = False  #: as many clients of the bare relay are served at the same time
    beside_port: int = 0
    pids: dict[str, int] = field(default_factory=dict)  #: whose CPU time or memory is read, by role
    patience: float = 20.0  #: the whole job is over by then

    @classmethod
    def from_json(cls, text: str) -> Job:
        fields = json.loads(text)
        plan = fields.pop("plan")
        return cls(plan=Plan(**plan | {"after": After(plan["after"])}), **fields)


def quantile(values: Iterable[float], share: float) -> float:
    """The value below which this share of all lies."""
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(len(ordered) * share))]


class Load:
    """Clients under one epoll."""

    def __init__(self, job: Job) -> None:
        self.job = job
        self.deadline = monotonic() + job.patience
        self.epoll = select.epoll()
        self.clients: dict[int, Client] = {}
        self.connecting: set[int] = set()
        self.stream = True

    def open(self, plan: Plan) -> Client:
        """Connect; the request goes out as soon as the connection stands."""
        kind = WebSocketClient if self.job.dialect == "websocket" else Client
        return self.adopt(kind(self.job.port, self.job.dialect, plan))

    def open_beside(self, plan: Plan) -> Client:
        """The same through the relay, which hands on OpenAI's chunks whatever the target's client speaks."""
        return self.adopt(Client(self.job.beside_port, "openai", plan))

    def adopt(self, client: Client) -> Client:
        self.clients[client.fd] = client
        self.connecting.add(client.fd)
        self.epoll.register(client.fd, select.EPOLLOUT)
        return client

    def forget(self, client: Client) -> None:
        """Read no more from it; its socket stays open."""
        del self.clients[client.fd]
        self.epoll.unregister(client.fd)

    def drop(self, client: Client) -> None:
        self.forget(client)
        client.sock.close()

    def turn(self, timeout: float) -> list[Client]:
        """One wait; the clients that can be read."""
        readable = []
        for fd, _ in self.epoll.poll(max(0.0, timeout)):
            client = self.clients[fd]
            if fd in self.connecting:
                self.connecting.remove(fd)
                self.epoll.modify(fd, select.EPOLLIN)
                client.ask(stream=self.stream)
            else:
                readable.append(client)
        return readable

    def until(self, reached: Callable[[], bool], what: str, seconds: float | None = None) -> None:
        """Read every stream until then; with ``seconds``, no longer than that."""
        end = self.deadline if seconds is None else min(self.deadline, monotonic() + seconds)
        while not reached():
            left = end - monotonic()
            if left <= 0:
                if seconds is not None and end < self.deadline:
                    return
                waiting = next((client for client in self.clients.values() if not client.complete), None)
                last = (waiting.tail or waiting.rest)[-300:] if waiting else b""
                raise Fault(f"{what}: not within {self.job.patience} s; {len(self.clients)} streams open, {last!r}")
            for client in self.turn(left):
                client.read()
                if client.complete:
                    self.drop(client)

    def reading(self) -> Reading:
        return Reading(
            monotonic_ns(),
            {role: cpu_ns(pid) for role, pid in self.job.pids.items()} | {"client": process_time_ns()},
        )


@dataclass
class Reading:
    """All clocks at one instant, in nanoseconds."""

    at: int
    cpu: dict[str, int]

    def since(self, start: Reading, count: int) -> Figures:
        """What happened ``count`` times since then: how often a second, for how much CPU each."""
        seconds = (self.at - start.at) / 1e9
        figures = {"count": count, "seconds": seconds, "rate": count / seconds}
        for role, used in self.cpu.items():
            figures[f"cpu_{role}_us"] = (used - start.cpu[role]) / 1000 / max(1, count)
            figures[f"cpu_{role}_share"] = (used - start.cpu[role]) / 1e9 / seconds
        return figures
