"""Whoever vanishes without a word, as a machine does whose cable is pulled: his stream ends, and its slot is free."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Any

import pytest
import trio
from cable import FAR, NEAR, Cable, laid
from house import House

from penstock.chat.reasons import Reason
from penstock.config.model import Backend, Config, Key, Limits, Route, Server, Timeouts
from penstock.config.secrets import Reference
from penstock.relay import link
from penstock.relay.outcome import Outcome
from penstock.service.daemon import Daemon
from penstock.simulate.server import Settings, listen, serve
from rawhttp import Client, call, connected, get
from rawwebsocket import PATH, UPGRADE, Socket, create

pytestmark = pytest.mark.heavy

#: The kernel's patience with a client, which is penstock.server.listener.USER_TIMEOUT elsewhere; seconds.
PATIENCE = 1.5
#: What a busy machine may add.
MORE = 15.0
SHOWN = "api-key: sk-far"
ENDLESS = "sim:tokens=100000,rate=100"


@pytest.fixture
def cable(monkeypatch: pytest.MonkeyPatch) -> Iterator[Cable]:
    monkeypatch.setattr("penstock.server.listener.USER_TIMEOUT", PATIENCE)
    with laid() as cable:
        yield cable


async def settle(nursery: trio.Nursery, cable: Cable, *, backend_is_far: bool = False, **timeouts: Any) -> House:
    """A daemon at the near end; its backend beside it, or at the far end."""
    settings = Settings(host=FAR if backend_is_far else "127.0.0.1")
    if backend_is_far:
        with cable.far():
            listener = listen(settings)
    else:
        listener = listen(settings)
    simulation = await nursery.start(serve, settings, listener)
    config = Config(
        server=Server(listen=(f"{NEAR}:0",), allowed_hosts=(NEAR,), heartbeat=0.1, grace=0.1),
        timeouts=Timeouts(**timeouts),
        limits=Limits(pong_time=1.0, header_time=1.0),
        backends={"sim": Backend(kind="simulate", url=simulation.url, slots=1)},
        routes={"*": Route(targets=("sim",))},
        keys=(Key(name="far", key=Reference.parse("sk-far")),),
    )
    heard, outcomes = trio.open_memory_channel[Outcome](100)
    daemon = Daemon(config, heard.send_nowait)
    addresses = await nursery.start(daemon.serve)
    return House(daemon, simulation, addresses, outcomes)


async def far_client(house: House, cable: Cable) -> Client:
    with cable.far():
        sock = trio.socket.socket()
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    name = house.address.removeprefix("http://")
    await sock.connect((NEAR, int(name.rpartition(":")[2])))
    return Client(trio.SocketStream(sock), name)


#: What it waits for when it vanishes, and what tells that it is so far.
WAITING = {
    "a stream of tokens": (call(ENDLESS, SHOWN), b" t3"),
    "a long prefill": (call("sim:first=1h", SHOWN), b": keep-alive"),
    "a mute backend": (call("sim:fault=mute", SHOWN), b": keep-alive"),
    "one answer in one piece": (call("sim:first=1h", SHOWN, stream=False), b"\r\n\r\n1\r\n\n"),
}


@pytest.mark.parametrize("case", WAITING)
async def test_a_client_that_vanishes_gives_its_slot_back(case: str, cable: Cable, nursery: trio.Nursery) -> None:
    """The kernel notices that nothing is acknowledged: tokens or heartbeats, there is always something to be."""
    request, mark = WAITING[case]
    house = await settle(nursery, cable)
    with trio.fail_after(60):
        client = await far_client(house, cable)
        await client.send(request)
        await client.until(mark)
        cable.pull()
        pulled = trio.current_time()
        outcome = await house.outcomes.receive()
        assert outcome.reason is Reason.CLIENT_GONE
        assert PATIENCE * 0.5 < trio.current_time() - pulled < PATIENCE + MORE
        await house.nothing_left()
        await house.until(lambda: not house.daemon._listener.connections)
        client.stream.socket.close()


async def test_who_waits_in_the_queue_goes_too(cable: Cable, nursery: trio.Nursery) -> None:
    house = await settle(nursery, cable)
    with trio.fail_after(60):
        async with connected(house.address) as near:
            await near.send(call(ENDLESS, SHOWN))
            await near.until(b" t1")
            client = await far_client(house, cable)
            await client.send(call(ENDLESS, SHOWN))
            await client.until(b": keep-alive")
            cable.pull()
            outcome = await house.outcomes.receive()
            assert (outcome.reason, outcome.phase) == (Reason.CLIENT_GONE, "queued")
            client.stream.socket.close()
            # and nobody else notices
            await near.until(b" t300")


async def test_what_fills_all_buffers_meets_the_write_budget(cable: Cable, nursery: trio.Nursery) -> None:
    """Long before the kernel gives up."""
    house = await settle(nursery, cable, write=0.4)
    with trio.fail_after(60):
        client = await far_client(house, cable)
        await client.send(call("sim:tokens=10000000,width=4000", SHOWN))
        await client.until(b"data: ")
        cable.pull()
        outcome = await house.outcomes.receive()
        assert outcome.reason in (Reason.CLIENT_STALLED, Reason.CLIENT_GONE)
        await house.nothing_left()
        await house.until(lambda: not house.daemon._listener.connections)
        client.stream.socket.close()


async def test_connections_on_which_nothing_runs_go_too(cable: Cable, nursery: trio.Nursery) -> None:
    house = await settle(nursery, cable)
    with trio.fail_after(60):
        idle, silent, chatting = [await far_client(house, cable) for _ in range(3)]
        await idle.send(get("/health"))
        await idle.answer()
        await chatting.send(get(PATH, *UPGRADE, SHOWN))
        assert (await chatting.head())[0] == 101
        await Socket(chatting).send(create("a", "sim:first=1h"))
        await house.until(lambda: len(house.daemon.state.live) == 1)
        cable.pull()
        assert (await house.outcomes.receive()).reason is Reason.CLIENT_GONE
        await house.nothing_left()
        await house.until(lambda: not house.daemon._listener.connections)
        for client in (idle, silent, chatting):
            client.stream.socket.close()


@pytest.mark.parametrize(
    ("model", "budget", "reason"),
    [
        ("sim:first=1h", "first_token", Reason.FIRST_TOKEN_TIMEOUT),
        (ENDLESS, "silence", Reason.SILENCE),
    ],
)
async def test_a_backend_that_vanishes_is_silent(
    model: str, budget: str, reason: Reason, cable: Cable, nursery: trio.Nursery
) -> None:
    house = await settle(nursery, cable, backend_is_far=True, **{budget: 1.0})
    with trio.fail_after(60):
        async with connected(house.address) as client:
            await client.send(call(model, SHOWN))
            await house.until(lambda: house.simulation.records.counters.running == 1)
            if model == ENDLESS:
                await client.until(b" t3")
            cable.pull()
            outcome = await house.outcomes.receive()
            assert outcome.reason is reason
            await client.until(reason.value.encode())
        await house.nothing_left()


@pytest.mark.parametrize(
    ("model", "reason"),
    [("sim:fault=mute", Reason.CONNECT_FAILED), ("sim:first=1h", Reason.BACKEND_TRUNCATED)],
)
async def test_a_backend_that_vanishes_in_its_prefill_is_probed_for(
    model: str, reason: Reason, cable: Cable, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Long before its budget, which has to be long, is spent: the kernel asks whether anybody is there."""
    often = {socket.TCP_KEEPIDLE: 1, socket.TCP_KEEPINTVL: 1, socket.TCP_KEEPCNT: 1}
    options = tuple((level, name, often.get(name, value)) for level, name, value in link.OPTIONS)
    monkeypatch.setattr(link, "OPTIONS", options)
    house = await settle(nursery, cable, backend_is_far=True)
    with trio.fail_after(60):
        async with connected(house.address) as client:
            await client.send(call(model, SHOWN))
            await house.until(lambda: house.simulation.records.counters.running == 1)
            cable.pull()
            outcome = await house.outcomes.receive()
            assert outcome.reason is reason
            assert outcome.message is not None and "timed out" in outcome.message
        await house.nothing_left()


async def test_a_backend_that_vanished_while_nobody_asked(cable: Cable, nursery: trio.Nursery) -> None:
    """Its kept connection looks alive; the request goes nowhere, and the budget says so."""
    house = await settle(nursery, cable, backend_is_far=True, first_token=1.0)
    with trio.fail_after(60):
        async with connected(house.address) as client:
            for reason in (Reason.COMPLETED, Reason.FIRST_TOKEN_TIMEOUT):
                await client.send(call("sim:tokens=1", SHOWN))
                assert (await house.outcomes.receive()).reason is reason
                await client.until(b"[DONE]\n\n\r\n0\r\n\r\n")
                cable.pull()
        await house.nothing_left()
