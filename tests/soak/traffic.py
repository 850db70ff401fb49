"""Mixed traffic: every language over every kind of backend, healthy and broken, over good and bad networks."""

from __future__ import annotations

import json
import random
from contextlib import suppress
from functools import partial
from typing import get_args

import trio

import rawhttp
from faults.proxy import Proxy
from faults.toxics import End, Toxic
from matrix.client import TURNS, Asker, Body, Client
from matrix.clients import CLIENTS
from matrix.table import KINDS, rule_of
from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import WAYS, ask, get, post

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
#: The networks before them: half of their connections are good, the others end in every way at every place.
ENDS: tuple[End, ...] = get_args(End)
BAD = (
    Toxic(latency=0.003, jitter=0.005, slices=300, bandwidth=200_000),
    Toxic(latency=0.003, jitter=0.005, slices=50, upward=True),
    *(Toxic(end=end, mark=mark) for end in ENDS for mark in (b"", b"HTTP/1", b"\r\n\r\n", b" t2")),
    *(Toxic(end=end, after=30, upward=True) for end in ENDS),
)
TOXICS = (*[Toxic()] * len(BAD), *BAD)
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
[backends.{kind}]
kind = "{kind}"
url = "{url}"
slots = 16
[routes."sim:id={kind}-*"]
targets = ["{kind}"]
"""
#: Clients that ask, one request after the other each.
TOGETHER = 12

CELLS = [(client, kind) for client in CLIENTS.values() for kind in KINDS if rule_of(client.name, kind, "text") is None]
#: What is asked beside: ways in that are no stream of any of these clients.
LMSTUDIO = "/api/v0/chat/completions"
BESIDE: dict[str, Body] = {
    LMSTUDIO: {"messages": TURNS[:1], "stream": True},
    "/v1/embeddings": {"input": ["hello", "world"]},
    "/api/embed": {"input": "hello"},
    "/v1/rerank": {"query": "hello", "documents": ["world", "you"]},
    "/v1/audio/speech": {"input": "hello"},
}
PAGES = ("/v1/models", "/api/tags", "/api/v0/models", "/health", "/nowhere")


async def networks(nursery: trio.Nursery) -> str:
    """Start a stand-in with a bad network before it for each kind; the configuration of a daemon that knows them."""
    simulation: Simulation = await nursery.start(serve, Settings(keep=16))
    port = int(simulation.url.rpartition(":")[2])
    proxies = {kind: await nursery.start(Proxy(port, *TOXICS).serve) for kind in KINDS}
    return HEAD + "".join(BACKEND.format(kind=kind, url=proxy.address) for kind, proxy in proxies.items())


class Traffic:
    """Requests of all sorts; ``requests`` counts them."""

    def __init__(self, address: str, seed: int) -> None:
        self._address = address
        self._dice = random.Random(seed)
        self.requests = 0

    async def everything(self) -> None:
        """Each way in, of each client, over each kind, once: what is made once for each, is made."""
        todo = [partial(self._chat, client, kind, "tokens=5") for client, kind in CELLS]
        todo += [partial(self._beside, path, kind) for path in BESIDE for kind in KINDS]
        todo += [partial(self._page, page) for page in PAGES]

        async def some() -> None:
            while todo:
                await todo.pop()()

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
            match dice.random():
                case lot if lot < 0.05:
                    await self._beside(dice.choice(list(BESIDE)), dice.choice(KINDS))
                case lot if lot < 0.07:
                    await self._page(dice.choice(PAGES))
                case _:
                    await self._chat(*dice.choice(CELLS), dice.choice(SCRIPTS))

    async def _chat(self, client: Client, kind: str, script: str) -> None:
        dice = self._dice
        model = f"sim:id={kind}-{self.requests},{script}"
        stream = dice.choice(client.ways)
        if client.dialect != "websocket" and dice.random() < 0.03:
            # one that never comes to the end of its request
            request = client.request(model, stream=stream)
            await self._read(await ask(self._address, request[: dice.randrange(len(request))]), 0.01)
        else:
            patience = 2.0 if dice.random() < 0.7 else dice.random() * 0.05
            await self._read(await client.ask(self._address, model, stream=stream), patience)

    async def _beside(self, path: str, kind: str) -> None:
        body = json.dumps({"model": f"sim:id={kind}-{self.requests},tokens=5", **BESIDE[path]})
        await self._read(await ask(self._address, post(path, body.encode(), "Content-Type: application/json")), 2.0)

    async def _page(self, path: str) -> None:
        await self._read(await ask(self._address, get(path)), 2.0)

    async def _read(self, asker: Asker, patience: float) -> None:
        """To the answer's end, or for so many seconds, and leave in a way that the dice say."""
        self.requests += 1
        with trio.move_on_after(patience), suppress(AssertionError, ValueError, trio.BrokenResourceError):
            # what is told has its own tests: here it may be cut
            _, headers = await asker.head()
            await asker.body(headers)
        leaving = rawhttp.Client(asker.stream, "")
        leaving.leave(self._dice.choice(WAYS))
        asker.stream.socket.close()
