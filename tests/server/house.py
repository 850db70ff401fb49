"""The daemon and a stand-in backend in one process, over real sockets: what they hold can be looked at directly."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import msgspec
import trio

from penstock.config.model import Backend, Config, Key, Limits, Route, Server, Timeouts
from penstock.relay.outcome import Outcome
from penstock.service.daemon import Daemon
from penstock.simulate.server import Settings, Simulation, serve

#: Outcomes that nobody has looked at yet.
KEPT = 10_000


class House(msgspec.Struct, frozen=True):
    daemon: Daemon
    simulation: Simulation
    addresses: list[str]
    outcomes: trio.MemoryReceiveChannel[Outcome]

    @property
    def address(self) -> str:
        return self.addresses[0]

    async def until(self, state: Callable[[], bool]) -> None:
        """Ask again in every turn of the event loop until it is so."""
        while not state():
            await trio.sleep(0.001)

    async def nothing_left(self) -> None:
        """No stream, no slot, no place in a queue, no connection in use."""
        state = self.daemon.state
        gates = [backend.gate for backend in state.backends.values()]
        transports = [backend.transport for backend in state.backends.values()]
        await self.until(
            lambda: (
                not len(state.live)
                and not any(gate.busy or gate.waiting for gate in gates)
                and not any(transport.open for transport in transports)
            )
        )


async def settle_in(
    nursery: trio.Nursery,
    *,
    listen: tuple[str, ...] = ("127.0.0.1:0",),
    routes: dict[str, Route] | None = None,
    server: dict[str, Any] | None = None,
    timeouts: dict[str, float] | None = None,
    limits: dict[str, Any] | None = None,
    keys: tuple[Key, ...] = (),
    slots: int = 64,
    backend: str = "127.0.0.1",
) -> House:
    """A daemon that sends every model to the stand-in; the sections override single settings.

    ``backend`` is the name by which the stand-in is known.
    """
    simulation = await nursery.start(serve, Settings())
    config = Config(
        server=Server(listen=listen, **server or {}),
        timeouts=Timeouts(**timeouts or {}),
        limits=Limits(**limits or {}),
        backends={"sim": Backend(kind="simulate", url=simulation.url.replace("127.0.0.1", backend), slots=slots)},
        routes=routes or {"*": Route(targets=("sim",))},
        keys=keys,
    )
    heard, outcomes = trio.open_memory_channel[Outcome](KEPT)
    daemon = Daemon(config, heard.send_nowait)
    addresses = await nursery.start(daemon.serve)
    return House(daemon, simulation, addresses, outcomes)
