"""Every fault between a client and penstock, every language: a whole answer, or a stream that ended with its client."""

from __future__ import annotations

from collections.abc import Callable
from itertools import count, cycle, islice

import msgspec
import pytest
import trio
from process import Process, books

from faults.proxy import Proxy
from faults.toxics import Toxic
from matrix.client import Client
from matrix.clients import CLIENTS
from penstock.simulate.server import Settings, Simulation, serve

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
allowed_hosts = [{hosts}]
log_format = "json"
[limits]
body_time = "2s"
[timeouts]
write = "800ms"
[backends.sim]
kind = "simulate"
url = "{url}"
slots = 64
[routes."*"]
targets = ["sim"]
"""
WHOLE = " t0 t1 t2 t3 t4"
SHORT, LONG, WIDE = "tokens=5", "tokens=1000000,rate=200", "tokens=1000000,width=1000"
_SERIAL = count(1)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """``toxic`` on the connection, what is asked for, and how the stream ends; None: none came to be."""

    toxic: Toxic
    script: str = SHORT
    reason: str | None = "completed"


FAULTS = {
    "latency": Fault(toxic=Toxic(latency=0.03)),
    "jitter": Fault(toxic=Toxic(latency=0.001, jitter=0.03, slices=200)),
    "bandwidth": Fault(toxic=Toxic(bandwidth=10_000)),
    "slicer": Fault(toxic=Toxic(slices=1)),
    "request latency": Fault(toxic=Toxic(latency=0.03, upward=True)),
    "request slicer": Fault(toxic=Toxic(slices=3, upward=True)),
    "reset at once": Fault(toxic=Toxic(end="reset"), reason=None),
    "reset in mid-answer": Fault(toxic=Toxic(end="reset", mark=b" t2"), script=LONG, reason="client_gone"),
    "closed in mid-answer": Fault(toxic=Toxic(end="close", mark=b" t2"), script=LONG, reason="client_gone"),
    "half-closed in mid-answer": Fault(toxic=Toxic(end="half-close", mark=b" t2"), script=LONG, reason="client_gone"),
    "silent in mid-answer": Fault(toxic=Toxic(end="silence", mark=b" t2"), script=WIDE, reason="client_stalled"),
    "request reset": Fault(toxic=Toxic(end="reset", after=90, upward=True), reason=None),
    "request cut": Fault(toxic=Toxic(end="close", after=90, upward=True), reason=None),
    "request half-closed": Fault(toxic=Toxic(end="half-close", after=90, upward=True), reason=None),
    "request swallowed": Fault(toxic=Toxic(end="silence", mark=b"\r\n\r\n", after=5, upward=True), reason=None),
}


EVERY = [(client, fault) for client in CLIENTS.values() for fault in FAULTS]
#: Each fault once, and each language.
THIN = list(zip(islice(cycle(CLIENTS.values()), len(FAULTS)), FAULTS, strict=True))


@pytest.mark.parametrize("cases", [THIN, pytest.param(EVERY, marks=pytest.mark.heavy)], ids=["thin", "whole"])
async def test_every_fault_before_every_language(
    cases: list[tuple[Client, str]], serving: Callable[[str], Process], nursery: trio.Nursery
) -> None:
    simulation: Simulation = await nursery.start(serve, Settings(keep=64))
    proxies = {name: await nursery.start(Proxy(0, fault.toxic).serve) for name, fault in FAULTS.items()}
    hosts = ", ".join(f'"{proxy.address.removeprefix("http://")}"' for proxy in proxies.values())
    process = serving(CONFIG.format(url=simulation.url, hosts=hosts))
    nursery.start_soon(process.read)
    for proxy in proxies.values():
        proxy.upstream = int(process.address.rpartition(":")[2])
    with trio.fail_after(60):
        async with books(process) as book:
            async with trio.open_nursery() as asking:
                for client, name in cases:
                    asking.start_soon(check, process, client, name, proxies[name].address)
            await book.nothing_left(idle=True)
            for proxy in proxies.values():
                while proxy.open:
                    await trio.sleep(0.001)
    assert simulation.records.counters.running == 0
    blamed = [
        line for line in process.lines if line["event"] == "stream ended" and line["reason"].startswith("backend")
    ]
    assert not blamed


async def check(process: Process, client: Client, name: str, address: str) -> None:
    """One stream under one fault."""
    fault = FAULTS[name]
    model = f"sim:id=front-{next(_SERIAL)},{fault.script}"
    case = f"{client.name}, {name}"
    asker = None
    try:
        asker = await client.ask(address, model, stream=True)
        status, headers = await asker.head()
        body = await asker.body(headers) if fault.reason != "client_stalled" else await stalled(process, model)
    except (AssertionError, OSError, trio.BrokenResourceError):
        # the end of a connection, as far as a client can see
        status, body = 0, b""
    finally:
        if asker is not None:
            asker.stream.socket.close()
    if fault.reason == "completed":
        assert status == 200, (case, body)
        answer = client.read(body, stream=True)
        assert (answer.text, answer.finish, answer.error) == (WHOLE, "stop", None), case
    if fault.reason is not None:
        line = await process.line("stream ended", model=model)
        assert line["reason"] == fault.reason, (case, line)
    else:
        assert status in (0, 400, 408), (case, status, body)
        assert not [line for line in process.lines if line.get("model") == model], case


async def stalled(process: Process, model: str) -> bytes:
    """Wait until penstock has had enough of a client that takes nothing."""
    await process.line("stream ended", model=model)
    return b""
