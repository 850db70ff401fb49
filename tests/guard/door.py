"""A whole daemon in this process with a simulated backend behind it, and every route of it as a request."""

from __future__ import annotations

import re
from typing import Any

import msgspec
import trio

from penstock.config.model import Backend, BackendKind, Config, Key, Limits, Route, Server
from penstock.config.secrets import Reference
from penstock.relay.outcome import Outcome
from penstock.server.app import create_app
from penstock.service.daemon import Daemon
from penstock.simulate import server as simulate
from penstock.simulate.records import RequestRecord
from penstock.simulate.server import Simulation

Answer = tuple[int, dict[str, str], bytes]


class Asking(msgspec.Struct, frozen=True):
    """One method of one route, as a client would ask it."""

    endpoint: str
    method: str
    path: str

    def __str__(self) -> str:
        return f"{self.method} {self.path}"

    def raw(self, *headers: str, host: str | None = "HERE", version: str = "1.1", target: str = "") -> bytes:
        """The request; POST with a small body of JSON.  ``HERE`` stands for the daemon's own name."""
        body = b'{"model": "sim", "messages": [{"role": "user", "content": "hi"}]}' if self.method == "POST" else b""
        lines = [f"{self.method} {target or self.path} HTTP/{version}"]
        lines += [f"Host: {host}"] * (host is not None)
        lines += headers
        if body:
            lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
        return "\r\n".join([*lines, "", ""]).encode("latin-1") + body


class Door:
    """A running daemon and what its streams came to."""

    def __init__(
        self, daemon: Daemon, addresses: list[str], simulation: Simulation, outcomes: trio.MemoryReceiveChannel[Outcome]
    ) -> None:
        self.daemon = daemon
        self.addresses = addresses
        self.address = addresses[0]
        self.simulation = simulation
        self._outcomes = outcomes

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    @property
    def askings(self) -> list[Asking]:
        """Every method of every route but HEAD and OPTIONS, which have no answers of their own."""
        return [asking for asking in self.routes if asking.method not in ("HEAD", "OPTIONS")]

    @property
    def routes(self) -> list[Asking]:
        """Every method of every route."""
        return [
            Asking(rule.endpoint, method, re.sub("<.*>", "sim", rule.rule))
            for rule in create_app(self.daemon.state).url_map.iter_rules()
            for method in sorted(rule.methods or ())
        ]

    async def outcome(self) -> Outcome:
        """The next end of a stream."""
        return await self._outcomes.receive()

    @property
    def asked(self) -> list[RequestRecord]:
        """What the backend was asked to generate."""
        return [request for connection in self.simulation.records.connections for request in connection.requests]


async def open_door(
    nursery: trio.Nursery,
    *,
    keys: tuple[Key, ...] = (),
    routes: dict[str, Route] | None = None,
    listen: tuple[str, ...] = ("127.0.0.1:0",),
    script: str = "tokens=2",
    kind: BackendKind = "simulate",
    limits: Limits | None = None,
    **server: Any,
) -> Door:
    """Start it, with the simulated backend under every model name unless ``routes`` says otherwise."""
    simulation = await nursery.start(simulate.serve, simulate.Settings(script=script, models={"sim": script}))
    config = Config(
        server=Server(listen=listen, **server),
        backends={"b": Backend(kind=kind, url=simulation.url, slots=8)},
        routes=routes or {"*": Route(targets=("b",))},
        keys=keys,
        limits=limits or Limits(),
    )
    send, receive = trio.open_memory_channel[Outcome](100)
    daemon = Daemon(config, send.send_nowait)
    addresses = await nursery.start(daemon.serve)
    return Door(daemon, addresses, simulation, receive)


def key(name: str, text: str, **more: Any) -> Key:
    return Key(name=name, key=Reference.parse(text), **more)
