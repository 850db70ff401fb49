"""A daemon under mixed traffic for as long as it is told, looked at whenever it is at rest."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable
from pathlib import Path

import trio

from soak.traffic import Traffic, networks
from soak.verdict import Sample
from whole.process import Books, Process, books

#: Seconds of traffic between two looks, and how often the configuration is read anew: after so many looks.
FLOW, RELOAD_AFTER = 5.0, 4
#: Looks that a verdict takes, also on a machine on which each takes long.
FEWEST = 4
#: A route that is in the file and out of it, by turns.
CHANGE = '[routes."changing"]\ntargets = ["openai"]\n'


async def soak(
    seconds: float, folder: Path, *, flow: float = FLOW, tell: Callable[[Sample], None] = lambda _: None
) -> list[Sample]:
    """The samples of a run of this length, after everything was asked once; ``folder`` is for the configuration."""
    samples: list[Sample] = []
    file = folder / "penstock.toml"
    async with trio.open_nursery() as nursery:
        config = await networks(nursery)
        file.write_text(config)
        process = Process(file)
        try:
            nursery.start_soon(process.read)
            traffic = Traffic(process.address, seed=int(seconds))
            async with books(process) as book:
                await traffic.everything()
                began = time.monotonic()
                while time.monotonic() - began < seconds or len(samples) < FEWEST:
                    await traffic.flow(flow)
                    samples.append(await at_rest(process, book, time.monotonic() - began, traffic.requests))
                    tell(samples[-1])
                    process.assert_quiet()
                    process.lines.clear()
                    if len(samples) % RELOAD_AFTER == 0:
                        await reload(process, file, config + CHANGE * (len(samples) // RELOAD_AFTER % 2))
        finally:
            process.end()
        nursery.cancel_scope.cancel()
    return samples


async def at_rest(process: Process, book: Books, at: float, requests: int) -> Sample:
    """Nothing is left of the traffic but what is kept for the next stream."""
    with trio.fail_after(30):
        await book.nothing_left(idle=True)
        idle = sum(backend["idle_connections"] for backend in (await book.health())["backends"].values())
        metrics = await book.metrics()
    return Sample(
        at=at,
        requests=requests,
        memory=process.memory(),
        descriptors=process.descriptors() - idle,
        tasks=int(metrics["penstock_tasks"]),
        series=len(metrics),
    )


async def reload(process: Process, file: Path, config: str) -> None:
    """Another configuration for the running daemon."""
    file.write_text(config)
    process.signal(signal.SIGHUP)
    with trio.fail_after(20):
        await process.line("reloaded")
