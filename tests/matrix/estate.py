"""One stand-in backend, and before it two daemons that know it by each kind of backend; in a thread of their own.

The model's name carries everything: which kind of backend shall be asked (the routes go by that), the name of the
stream in the stand-in's records, and the script that the stand-in plays.
"""

from __future__ import annotations

import json
import queue
import threading
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from itertools import count
from typing import Any

import msgspec
import trio

from matrix.table import KINDS
from penstock.config.model import Backend, Config, Route, Server, TimeoutOverrides
from penstock.service.daemon import Daemon
from penstock.simulate.server import Settings, serve
from rawhttp import answered, get

#: Seconds in which the impatient daemon commits to an answer, and between its heartbeats.
HASTE = 0.02
#: What plays behind two names with short budgets.
ENDLESS = "sim:id=endless,tokens=1000000,rate=100"
LIFELESS = "sim:id=lifeless,fault=mute"
LOOPBACK = ("127.0.0.1:0",)
#: A KoboldCpp with one slot: only then the counts of its last answer are known to be this one's.
ALONE = "alone-koboldcpp"

_NUMBERS = count(1)
#: What it takes to use it all, and to end it from another thread.
_Started = tuple[str, list[str], trio.lowlevel.TrioToken, trio.CancelScope]


class Estate(msgspec.Struct, frozen=True):
    """Where everything is."""

    simulation: str
    daemon: str
    #: a daemon that commits to an answer after :data:`HASTE` and gives a heartbeat as often
    impatient: str

    async def record(self, stream: str, state: str = "asked", wait: float = 5.0) -> dict[str, Any]:
        """What the backend saw of a stream, once it has come as far as ``state``."""
        page = get(f"/simulate/streams/{stream}?wait={wait}&for={state}")
        status, _, body = await answered(self.simulation, page)
        assert status == 200, body
        record: dict[str, Any] = json.loads(body)[-1]
        return record

    async def asked(self, stream: str) -> bool:
        """Whether the backend was asked at all."""
        status, _, _ = await answered(self.simulation, get(f"/simulate/streams/{stream}"))
        return status == 200


def named(kind: str, script: str) -> tuple[str, str]:
    """A name for a stream of this script from this kind of backend, and the model's name that asks for it."""
    stream = f"{kind}-{next(_NUMBERS)}"
    return stream, f"sim:id={stream},{script}"


@contextmanager
def running() -> Iterator[Estate]:
    """Everything at work, until the end of the block."""
    with serving(Settings(), _daemons) as (simulation, (daemon, impatient)):
        yield Estate(simulation, daemon, impatient)


def _daemons(url: str) -> list[Config]:
    backends = {kind: Backend(kind=kind, url=url, slots=64) for kind in KINDS}
    backends |= {f"whole-{kind}": Backend(kind=kind, url=url, slots=64, stream="never") for kind in KINDS}
    backends[ALONE] = Backend(kind="koboldcpp", url=url)
    routes = {f"sim:id={name}-*": Route(targets=(name,)) for name in backends}
    routes |= {f"listed-{kind}": Route(targets=(f"{kind}/sim",)) for kind in KINDS}
    routes |= {
        "endless": Route(targets=(f"openai/{ENDLESS}",), timeouts=TimeoutOverrides(total=0.2)),
        "lifeless": Route(targets=(f"openai/{LIFELESS}",), timeouts=TimeoutOverrides(first_token=0.2)),
    }
    servers = (Server(listen=LOOPBACK), Server(listen=LOOPBACK, grace=HASTE, heartbeat=HASTE))
    return [Config(server=server, backends=backends, routes=routes) for server in servers]


@contextmanager
def serving(settings: Settings, configs: Callable[[str], Sequence[Config]]) -> Iterator[tuple[str, list[str]]]:
    """A stand-in, and daemons with the configurations that are made for its URL: the addresses of all."""
    started: queue.SimpleQueue[_Started | Exception] = queue.SimpleQueue()

    async def live() -> None:
        async with trio.open_nursery() as nursery:
            simulation = await nursery.start(serve, settings)
            addresses = [(await nursery.start(Daemon(config).serve))[0] for config in configs(simulation.url)]
            started.put((simulation.url, addresses, trio.lowlevel.current_trio_token(), nursery.cancel_scope))

    def run() -> None:
        try:
            trio.run(live)
        except Exception as error:
            started.put(error)
            raise

    thread = threading.Thread(target=run, name="estate")
    thread.start()
    outcome = started.get()
    if isinstance(outcome, Exception):
        raise outcome
    simulation, addresses, token, scope = outcome
    try:
        yield simulation, addresses
    finally:
        token.run_sync_soon(scope.cancel)
        thread.join()
