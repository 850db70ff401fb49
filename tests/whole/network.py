"""Every fault of the network between daemon and backend, and what it must come to."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager

import msgspec
import trio
from phases import full_backlog

from faults.proxy import Proxy
from faults.toxics import Toxic
from matrix.table import KINDS
from penstock.simulate.server import Settings, Simulation, serve

#: Budgets of the backends whose network falls silent; seconds.
SPENT = 0.8
#: What every backend plays; the marks below are in it.
SCRIPT = "tokens=5"
WHOLE = " t0 t1 t2 t3 t4"


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """``toxic`` on the connection, None: there is none; and the one reason that the stream must end with."""

    reason: str
    toxic: Toxic | None
    #: the text that the client may have got before it, at most
    told: str = ""


def _survived(**toxic: object) -> Fault:
    return Fault(reason="completed", toxic=msgspec.convert(toxic, Toxic), told=WHOLE)


HEAD_END, THIRD_TOKEN = b"\r\n\r\n", b" t2"

FAULTS = {
    "latency": _survived(latency=0.03),
    "jitter": _survived(latency=0.001, jitter=0.03, slices=200),
    "bandwidth": _survived(bandwidth=10_000),
    "slicer": _survived(slices=1),
    "request latency": _survived(latency=0.03, upward=True),
    "request bandwidth": _survived(bandwidth=5_000, upward=True),
    "request slicer": _survived(slices=1, upward=True),
    "nobody listens": Fault(reason="connect_failed", toxic=None),
    "nobody accepts": Fault(reason="connect_timeout", toxic=None),
    "reset at once": Fault(reason="connect_failed", toxic=Toxic(end="reset")),
    "closed at once": Fault(reason="connect_failed", toxic=Toxic(end="close")),
    "half-closed at once": Fault(reason="connect_failed", toxic=Toxic(end="half-close")),
    "silent from the start": Fault(reason="first_token_timeout", toxic=Toxic(end="silence")),
    "reset in the head": Fault(reason="connect_failed", toxic=Toxic(end="reset", after=20)),
    "closed in the head": Fault(reason="backend_garbled", toxic=Toxic(end="close", after=20)),
    "half-closed in the head": Fault(reason="backend_garbled", toxic=Toxic(end="half-close", after=20)),
    "silent in the head": Fault(reason="first_token_timeout", toxic=Toxic(end="silence", after=20)),
    "reset after the head": Fault(reason="backend_truncated", toxic=Toxic(end="reset", mark=HEAD_END)),
    "closed after the head": Fault(reason="backend_truncated", toxic=Toxic(end="close", mark=HEAD_END)),
    "half-closed after the head": Fault(reason="backend_truncated", toxic=Toxic(end="half-close", mark=HEAD_END)),
    "silent after the head": Fault(reason="first_token_timeout", toxic=Toxic(end="silence", mark=HEAD_END)),
    "reset in mid-answer": Fault(
        reason="backend_truncated", toxic=Toxic(end="reset", mark=THIRD_TOKEN, after=3), told=" t0 t1 t2"
    ),
    "closed in mid-answer": Fault(
        reason="backend_truncated", toxic=Toxic(end="close", mark=THIRD_TOKEN, after=3), told=" t0 t1 t2"
    ),
    "half-closed in mid-answer": Fault(
        reason="backend_truncated", toxic=Toxic(end="half-close", mark=THIRD_TOKEN, after=3), told=" t0 t1 t2"
    ),
    "silent in mid-answer": Fault(
        reason="silence", toxic=Toxic(end="silence", mark=THIRD_TOKEN, after=3), told=" t0 t1 t2"
    ),
    "request reset": Fault(reason="connect_failed", toxic=Toxic(end="reset", after=30, upward=True)),
    "request cut": Fault(reason="connect_failed", toxic=Toxic(end="close", after=30, upward=True)),
    "request swallowed": Fault(reason="first_token_timeout", toxic=Toxic(end="silence", after=30, upward=True)),
}

BACKEND = """
[backends."{name}"]
kind = "{kind}"
url = "{url}"
slots = 64
{timeouts}
[routes."sim:id={name}-*"]
targets = ["{name}"]
"""
SHORT = f"timeouts = {{ connect = {SPENT}, first_token = {SPENT}, silence = {SPENT} }}"
HEAD = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
"""


class Network:
    """One stand-in, and before it a proxy for each fault; each with a backend of each kind in the configuration."""

    def __init__(self, simulation: Simulation, proxies: dict[str, Proxy], config: str) -> None:
        self.simulation = simulation
        self.proxies = proxies
        self.config = config


def name_of(kind: str, fault: str) -> str:
    """The backend of this kind behind this fault."""
    return f"{kind}-{fault.replace(' ', '-')}"


def model_of(kind: str, fault: str, number: int) -> str:
    """A model's name that leads there; no two streams have the same."""
    return f"sim:id={name_of(kind, fault)}-{number},{SCRIPT}"


@contextmanager
def networked(
    simulation: Simulation, proxies: dict[str, Proxy], faults: Mapping[str, Fault] = FAULTS
) -> Iterator[Network]:
    """The network and the configuration for it."""
    with ExitStack() as stack:
        closed = stack.enter_context(socket.socket())
        closed.bind(("127.0.0.1", 0))
        urls = {name: proxy.address for name, proxy in proxies.items()} | {
            "nobody listens": f"http://127.0.0.1:{closed.getsockname()[1]}",
            "nobody accepts": stack.enter_context(full_backlog()),
        }
        backends = [
            BACKEND.format(
                name=name_of(kind, fault),
                kind=kind,
                url=urls[fault],
                timeouts=SHORT if "timeout" in it.reason or it.reason == "silence" else "",
            )
            for kind in KINDS
            for fault, it in faults.items()
        ]
        yield Network(simulation, proxies, HEAD + "".join(backends))


async def start(nursery: trio.Nursery, faults: Mapping[str, Fault] = FAULTS) -> tuple[Simulation, dict[str, Proxy]]:
    """The stand-in and a proxy for each toxic."""
    simulation: Simulation = await nursery.start(serve, Settings(keep=64))
    port = int(simulation.url.rpartition(":")[2])
    proxies: dict[str, Proxy] = {}
    for name, fault in faults.items():
        if fault.toxic is not None:
            proxies[name] = await nursery.start(Proxy(port, fault.toxic).serve)
    return simulation, proxies
