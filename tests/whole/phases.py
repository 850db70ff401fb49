"""Every phase in which a stream can be caught, how to get one there, and which budgets run in it."""

from __future__ import annotations

import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from itertools import count
from typing import Any

import msgspec
from process import Books, Process

from penstock.simulate.records import RequestRecord
from penstock.simulate.server import Simulation
from rawhttp import WAYS, Client, call, connected, get, settled
from rawwebsocket import CLOSE, PATH, UPGRADE, Socket, create, frame

#: The budgets that the tests let run out; seconds.
SPENT = 0.15
#: What a client that stops reading has room for.
SMALL = 4096

_SERIAL = count(1)


class Phase(msgspec.Struct, frozen=True, kw_only=True):
    """``script`` brings a stream into it; ``shown`` is its name in /health; ``budgets`` are those that can run out."""

    script: str
    shown: str
    budgets: tuple[str, ...]
    backend: str = "sim"
    stream: bool = True
    reads: bool = True  #: whether the client reads
    socket: bool = False  #: whether it is a chat on a WebSocket

    @property
    def ways(self) -> tuple[str, ...]:
        """How its client can leave."""
        return (*WAYS, "close frame") if self.socket else WAYS


#: Budgets that a phase does not list do not run in it, but for ``write``, which needs a reader that has stopped.
PHASES = {
    "queued": Phase(script="fault=mute", shown="queued", budgets=("queue", "total"), backend="one"),
    "connecting": Phase(script="fault=mute", shown="connecting", budgets=("connect", "total"), backend="far"),
    "before headers": Phase(script="fault=mute", shown="headers", budgets=("first_token", "total")),
    "headers, then mute": Phase(script="first=1h", shown="prefill", budgets=("first_token", "total")),
    "streaming": Phase(script="tokens=100000,rate=100", shown="streaming", budgets=("total",)),
    "fallen silent": Phase(script="tokens=9,fault=silence@5", shown="streaming", budgets=("silence", "total")),
    "stalled reader": Phase(
        script="tokens=10000000,width=4000", shown="streaming", budgets=("write", "total"), reads=False
    ),
    "not streamed": Phase(
        script="tokens=9,fault=silence@5", shown="streaming", budgets=("silence", "total"), stream=False
    ),
    "on a WebSocket": Phase(script="tokens=100000,rate=100", shown="streaming", budgets=("total",), socket=True),
    "on a WebSocket, silent": Phase(
        script="fault=mute", shown="headers", budgets=("first_token", "total"), socket=True
    ),
}


#: By backend, the budgets that may run out there.
SPENDING = sorted({(phase.backend, budget) for phase in PHASES.values() for budget in phase.budgets})

HEAD = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
drain = {drain}
heartbeat = "1m"
[timeouts]
connect = "1m"
[backends.sim]
kind = "simulate"
url = "{sim}"
slots = 1000
[backends.one]
kind = "simulate"
url = "{sim}"
slots = 1
[backends.far]
kind = "simulate"
url = "{far}"
slots = 1000
"""


def configuration(sim: str, far: str, *, drain: float = 0.0) -> str:
    """Three backends: the stand-in, the same with one slot, and one that accepts no connection.

    The beginning of a model's name says which backend it goes to and which budget is short.
    """
    routes = {f"{name}-": (name, "") for name, _ in SPENDING}
    routes |= {f"{name}-{budget}-": (name, f"{budget} = {SPENT}") for name, budget in SPENDING}
    return HEAD.format(sim=sim, far=far, drain=drain) + "\n".join(
        f'[routes."sim:id={begin}*"]\ntargets = ["{name}"]\ntimeouts = {{ {short} }}'
        for begin, (name, short) in routes.items()
    )


@contextmanager
def full_backlog() -> Iterator[str]:
    """The URL of a listener whose queue of connections is full: a further SYN gets no answer."""
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen(0)
        fillers = []
        try:
            for _ in range(8):
                filler = socket.socket()
                fillers.append(filler)
                filler.setblocking(False)
                filler.connect_ex(listener.getsockname())
            yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        finally:
            for filler in fillers:
                filler.close()


class Victim(msgspec.Struct, kw_only=True):
    """One stream that was brought into a phase."""

    phase: Phase
    name: str
    model: str
    client: Client
    asked_at: float
    simulation: Simulation

    @property
    def record(self) -> RequestRecord | None:
        """What the backend knows of it; None where it never came so far."""
        return next(iter(self.simulation.records.stream(self.name)), None)

    async def leave(self, way: str) -> float:
        """The client leaves, now; when."""
        if way in WAYS:
            return self.client.leave(way)
        now = time.monotonic()
        await Socket(self.client).send(frame(CLOSE, (1000).to_bytes(2)))
        return now

    async def backend_saw_the_close(self) -> float | None:
        """When the backend's connection was closed; None where there never was one."""
        record = self.record
        if record is None:
            return None
        await self.simulation.records.until(lambda: record.peer_closed_at is not None)
        return record.peer_closed_at

    def spent_at(self, budget: str) -> float:
        """When this budget had run out."""
        record = self.record
        if budget == "first_token":
            assert record is not None
            return record.parsed_at + SPENT
        if budget in ("silence", "write"):
            assert record is not None and record.last_byte_at is not None
            return record.last_byte_at + SPENT
        return self.asked_at + SPENT


class Stage:
    """Brings victims into phases."""

    def __init__(self, process: Process, books: Books, simulation: Simulation) -> None:
        self.process = process
        self.books = books
        self.simulation = simulation

    @asynccontextmanager
    async def bring(self, phase: Phase, budget: str = "none") -> AsyncIterator[Victim]:
        """A stream that is in this phase now, or, where a budget ends it soon, on its way there."""
        async with AsyncExitStack() as stack:
            if phase.shown == "queued":
                await self._occupy(stack)
            name = f"{phase.backend}-{budget}-{next(_SERIAL)}"
            model = f"sim:id={name},{phase.script}"
            before = (await self.books.health())["streams"].get(phase.shown, 0)
            client = await stack.enter_async_context(
                connected(self.process.address, receive_buffer=None if phase.reads else SMALL)
            )
            if phase.socket:
                await client.send(get(PATH, *UPGRADE))
                assert (await client.head())[0] == 101
            asked_at = time.monotonic()
            await client.send(create(name, model) if phase.socket else call(model, stream=phase.stream))
            victim = Victim(
                phase=phase, name=name, model=model, client=client, asked_at=asked_at, simulation=self.simulation
            )
            if budget == "none":
                await self.books.streams(phase.shown, before + 1)
                if phase.stream and phase.shown == "streaming" and phase.reads:
                    await client.until(b" t1")
                elif not phase.reads:
                    await settled(lambda: victim.record and victim.record.bytes)
            yield victim

    async def _occupy(self, stack: AsyncExitStack) -> None:
        """Take the only slot."""
        client = await stack.enter_async_context(connected(self.process.address))
        await client.send(call(f"sim:id=one-hold-{next(_SERIAL)},fault=mute"))
        await self.books.until(lambda health: health["backends"]["one"]["busy"] == 1)

    async def closing_line(self, victim: Victim) -> tuple[dict[str, Any], float]:
        """The log's line of the victim's end, and when it was read."""
        line = await self.process.line("stream ended", model=victim.model)
        return line, time.monotonic()
