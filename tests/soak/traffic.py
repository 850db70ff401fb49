"""Mixed traffic: every language over every kind of backend, healthy and broken, over good and bad networks."""

from __future__ import annotations

import random
from contextlib import suppress

import trio

import rawhttp
from faults.proxy import Proxy
from faults.toxics import Toxic
from matrix.client import Asker, Client
from matrix.clients import CLIENTS
from matrix.table import KINDS, VARIANTS, rule_of
from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import WAYS, ask

#: What backends play, good answers more often than others.
SCRIPTS = (
    *["tokens=5"] * 4,
    "tokens=40,rate=400",
    "tokens=3,thinking=2,tools=2",
    "tokens=200,width=1000",
    "first=20ms,tokens=5",
    "status=500",
    "status=429,retry-after=1",
    *(f"tokens=9,fault={fault}" for fault in ("mute", "hangup", "gzip", "redirect", "bad-status")),
    *(f"tokens=9,fault={fault}@3" for fault in ("silence", "truncate", "cut", "rst", "error", "garbage", "dribble")),
)
#: The networks before them; every third connection at least has a good one.
TOXICS = {
    "good": Toxic(),
    "slow": Toxic(latency=0.003, jitter=0.005, slices=300, bandwidth=200_000),
    "reset": Toxic(end="reset", after=700),
    "half": Toxic(end="half-close", mark=b" t2"),
    "dead": Toxic(end="silence", mark=b" t1"),
}
HEAD = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
drain = "1s"
[timeouts]
connect = "300ms"
first_token = "300ms"
silence = "300ms"
"""
BACKEND = """
[backends.{kind}-{toxic}]
kind = "{kind}"
url = "{url}"
slots = 4
[routes."sim:id={kind}-{toxic}-*"]
targets = ["{kind}-{toxic}"]
"""
#: Clients that ask, one request after the other each.
TOGETHER = 12

#: Those kinds of backends that differ in more than a trifle.
LANGUAGES = [kind for kind in KINDS if kind not in VARIANTS]
CELLS = [
    (client, kind) for client in CLIENTS.values() for kind in LANGUAGES if rule_of(client.name, kind, "text") is None
]


async def networks(nursery: trio.Nursery) -> str:
    """Start a stand-in with a proxy for each toxic before it; the configuration of a daemon that knows them all."""
    simulation: Simulation = await nursery.start(serve, Settings(keep=16))
    port = int(simulation.url.rpartition(":")[2])
    urls = {name: (await nursery.start(Proxy(port, toxic).serve)).address for name, toxic in TOXICS.items()}
    backends = [BACKEND.format(kind=kind, toxic=name, url=url) for kind in LANGUAGES for name, url in urls.items()]
    return HEAD + "".join(backends)


class Traffic:
    """Requests of all sorts; ``requests`` counts them."""

    def __init__(self, address: str, seed: int) -> None:
        self._address = address
        self._dice = random.Random(seed)
        self.requests = 0

    async def everything(self) -> None:
        """Each client over each kind over each network once: what is made once for each, is made."""
        todo = [(client, kind, toxic) for client, kind in CELLS for toxic in TOXICS]

        async def some() -> None:
            while todo:
                await self._ask(*todo.pop(), "tokens=5")

        async with trio.open_nursery() as nursery:
            for _ in range(TOGETHER):
                nursery.start_soon(some)

    async def flow(self, seconds: float) -> None:
        """For so long; returns when the last client is gone."""
        until = trio.current_time() + seconds
        async with trio.open_nursery() as nursery:
            for _ in range(TOGETHER):
                nursery.start_soon(self._ask_on, until)

    async def _ask_on(self, until: float) -> None:
        dice = self._dice
        while trio.current_time() < until:
            toxic = dice.choice(list(TOXICS)) if dice.random() < 0.67 else "good"
            await self._ask(*dice.choice(CELLS), toxic, dice.choice(SCRIPTS))

    async def _ask(self, client: Client, kind: str, toxic: str, script: str) -> None:
        """One request, read to its end, or left at a moment and in a way that the dice say."""
        dice = self._dice
        self.requests += 1
        model = f"sim:id={kind}-{toxic}-{self.requests},{script}"
        stream = dice.choice(client.ways)
        if client.dialect != "websocket" and dice.random() < 0.03:
            # one that never comes to the end of its request
            request = client.request(model, stream=stream)
            asker: Asker = await ask(self._address, request[: dice.randrange(len(request))])
            patience = 0.01
        else:
            asker = await client.ask(self._address, model, stream=stream)
            patience = 2.0 if dice.random() < 0.7 else dice.random() * 0.05
        with trio.move_on_after(patience), suppress(AssertionError, ValueError, trio.BrokenResourceError):
            # what is told has its own tests: here it may be cut
            _, headers = await asker.head()
            await asker.body(headers)
        leaving = rawhttp.Client(asker.stream, "")
        leaving.leave(dice.choice(WAYS))
        asker.stream.socket.close()
