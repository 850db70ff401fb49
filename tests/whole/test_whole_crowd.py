"""Thousands of clients that leave at any moment and in any way leave nothing, and the process does not grow."""

from __future__ import annotations

import random
from collections.abc import Callable
from statistics import median

import pytest
import trio
from process import Process, books

from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import CHAT, COMPLETIONS, GENERATE, OLLAMA_CHAT, WAYS, ask, call, connected, settled

MIB = 1 << 20
AT_ONCE = 20
PATHS = (CHAT, COMPLETIONS, OLLAMA_CHAT, GENERATE)
SCRIPTS = (
    "sim:fault=mute",
    "sim:first=1h",
    "sim:first=10ms,tokens=5",
    "sim:tokens=3",
    "sim:tokens=100000,rate=500",
    "sim:tokens=9,fault=silence@3",
    "sim:tokens=9,fault=rst@3",
    "sim:fault=hangup",
    "sim:status=500",
    "sim:tokens=1000,width=1000",
)
CONFIG = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
drain = "1s"
[backends.sim]
kind = "simulate"
url = "{url}"
slots = {slots}
[routes]
"*" = ["sim"]
[timeouts]
write = {write}
"""


@pytest.fixture
async def simulation(nursery: trio.Nursery) -> Simulation:
    return await nursery.start(serve, Settings(keep=64))


@pytest.mark.parametrize("size", [1_000, pytest.param(10_000, marks=pytest.mark.heavy)])
async def test_random_ends(
    size: int, serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> None:
    process = serving(CONFIG.format(url=simulation.url, slots=10, write=30))
    nursery.start_soon(process.read)
    dice = random.Random(size)
    memory: list[int] = []

    async def one() -> None:
        request = call(dice.choice(SCRIPTS), path=dice.choice(PATHS), stream=dice.random() < 0.7)
        whole = len(request) if dice.random() < 0.9 else dice.randrange(len(request))
        client = await ask(process.address, request[:whole])
        with trio.move_on_after(dice.random() * 0.03):
            await client.sees_the_close()
        client.leave(dice.choice(WAYS))
        client.stream.socket.close()

    async def some(count: int) -> None:
        for _ in range(count):
            await one()

    rounds = 20
    with trio.fail_after(size / 20 + 30):
        async with books(process) as book:
            for _ in range(rounds):
                async with trio.open_nursery() as clients:
                    for _ in range(AT_ONCE):
                        clients.start_soon(some, size // rounds // AT_ONCE or 1)
                await book.nothing_left(idle=True)
                memory.append(process.memory())
            assert simulation.records.counters.running == 0
    # A single figure is that of the moment: what waits for the next collection comes to as much as this, and goes.
    third, fourth = memory[rounds // 2 : -rounds // 4], memory[-rounds // 4 :]
    # After a thousand the allocator is still finding its size.
    allowed = MIB if size > 1_000 else 3 * MIB
    assert median(fourth) - median(third) < allowed, [round(value / MIB, 1) for value in memory]


async def test_a_reader_that_stops_holds_its_backend_and_no_memory(
    serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> None:
    """50 MB for a client that takes none of it."""
    process = serving(CONFIG.format(url=simulation.url, slots=10, write=1.0))
    nursery.start_soon(process.read)
    script = "sim:tokens=12500,width=4000,id="
    with trio.fail_after(60):
        async with books(process) as book:
            async with connected(process.address) as warm:
                await warm.send(call(f"{script}warm", "Connection: close"))
                assert await warm.discard() > 50_000_000
            before = process.memory()

            async with connected(process.address, receive_buffer=4096) as stopped:
                await stopped.send(call(f"{script}stopped"))
                await book.until(lambda health: health["streams"] == {"streaming": 1})
                (record,) = simulation.records.stream("stopped")
                held_at = await settled(lambda: record.bytes, looks=40)
                # the buffers of three sockets in the kernel, and none of ours
                assert held_at < 20 * MIB
                assert process.memory() - before < 2 * MIB

                await simulation.records.until(lambda: record.end is not None)
                assert record.end == "peer_closed"
                assert record.bytes - held_at < MIB
            await book.nothing_left(idle=True)
        assert process.memory() - before < 2 * MIB
