"""Reload after reload while streams run, over good files and bad ones: nobody notices, and nothing grows."""

from __future__ import annotations

import json
from collections.abc import Callable
from itertools import cycle

import pytest
import trio
from process import Books, Process, books

from penstock.simulate.server import Settings, serve
from rawhttp import CHAT, GENERATE, OLLAMA_CHAT, answered, call, connected, post

MIB = 1 << 20
CONFIG = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
[timeouts]
silence = "{silence}"
[backends.one]
kind = "simulate"
url = "{one}"
slots = {slots}
[backends.two]
kind = "simulate"
url = "{two}"
slots = 100
[routes]
"*" = ["{route}"]
"""
PATHS = (CHAT, OLLAMA_CHAT, GENERATE)
CLIENTS = 6
TOKENS = 20


class Load:
    """Clients that ask for one counted stream after the other over kept connections, and look at every token."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.whole = 0
        self.faults: list[str] = []

    async def ask(self, path: str) -> None:
        async with connected(self._address) as client:
            while True:
                await client.send(call(f"sim:tokens={TOKENS},rate=200", path=path))
                status, _, body = await client.answer()
                if status == 200 and content(path, body) == "".join(f" t{n}" for n in range(TOKENS)):
                    self.whole += 1
                else:
                    self.faults.append(f"{path}: {status} {body[-300:]!r}")


def content(path: str, body: bytes) -> str:
    if path == CHAT:
        frames = [json.loads(line[6:]) for line in body.decode().split("\n") if line.startswith("data: {")]
        return "".join(choice["delta"].get("content") or "" for frame in frames for choice in frame["choices"])
    frames = [json.loads(line) for line in body.decode().splitlines()]
    return "".join(frame.get("response") or frame.get("message", {}).get("content") or "" for frame in frames)


async def held(book: Books, process: Process) -> tuple[int, int, int]:
    """Tasks, descriptors and bytes of a daemon that has nothing to do."""
    await book.until(lambda health: not health["streams"] and health["older_generations"] == {})
    metrics = await book.metrics()
    return round(metrics["penstock_tasks"]), process.descriptors(), process.memory()


@pytest.mark.parametrize("reloads", [8, pytest.param(200, marks=pytest.mark.heavy)])
async def test_reloads_under_load(reloads: int, serving: Callable[[str], Process], nursery: trio.Nursery) -> None:
    one, two = [await nursery.start(serve, Settings(keep=64)) for _ in range(2)]
    made = {"one": one.url, "two": two.url}
    good = [
        CONFIG.format(silence="50s", slots=50, route="one", **made),
        # another route, other slots, and the first server under another name
        CONFIG.format(silence="55s", slots=40, route="two", **made).replace("backends.one", "backends.uno"),
    ]
    files = cycle([(good[1], 200), (good[0], 200), ("x = 1", 422), (good[1], 200), ("[", 422), (good[0], 200)])
    process = serving(good[0])
    nursery.start_soon(process.read)
    load = Load(process.address)
    taken = 1
    sizes: list[tuple[int, int, int]] = []
    with trio.fail_after(30 + reloads * 2):
        async with books(process) as book:
            for _ in range(4):
                async with trio.open_nursery() as clients:
                    for number in range(CLIENTS):
                        clients.start_soon(load.ask, PATHS[number % len(PATHS)])
                    goal = load.whole + CLIENTS
                    for _ in range(reloads // 4):
                        text, expected = next(files)
                        process.config.write_text(text)
                        status, _, body = await answered(process.address, post("/reload", b""))
                        assert status == expected, body
                        taken += status == 200 and bool(json.loads(body)["changes"])
                    while load.whole < goal and not load.faults:
                        await trio.sleep(0.01)
                    health = await book.health()
                    assert health["generation"] == taken
                    clients.cancel_scope.cancel()
                sizes.append(await held(book, process))
    assert load.faults == []
    tasks, descriptors, memory = zip(*sizes, strict=True)
    assert len(set(tasks)) == 1, sizes
    # idle connections to the two servers come and go
    assert max(descriptors) - min(descriptors) <= 8, sizes
    # An application is a third of a megabyte: a tenth of them kept would show.
    assert memory[-1] - memory[1] < max(3 * MIB, reloads * 3 // 4 * MIB // 30), [size / MIB for size in memory]


async def test_a_stream_outlives_many_generations(serving: Callable[[str], Process], nursery: trio.Nursery) -> None:
    simulation = await nursery.start(serve, Settings())
    process = serving(CONFIG.format(silence="50s", slots=3, route="one", one=simulation.url, two=simulation.url))
    nursery.start_soon(process.read)
    with trio.fail_after(30):
        async with books(process) as book, connected(process.address) as client:
            await client.send(call("sim:tokens=100000,rate=100"))
            await client.head()
            body = await client.chunk()
            for number in range(5):
                text = process.config.read_text().replace(f"slots = {3 + number}\n", f"slots = {4 + number}\n")
                process.config.write_text(text)
                status, _, _ = await answered(process.address, post("/reload", b""))
                assert status == 200
                # Those in between are over at once; the first one waits for its stream.
                assert (await book.health())["older_generations"] == {"1": 1}
            # whatever it said meanwhile, and something after it
            while body.count(b"\n\n") < 100:
                body += await client.chunk()
    text = content(CHAT, body)
    assert text == "".join(f" t{n}" for n in range(text.count(" ")))
