"""A client that leaves is noticed in every phase and whatever it sent before, and nothing of it stays."""

from __future__ import annotations

import random
import time

import pytest
import trio
from house import House, settle_in

from penstock.config.model import Backend, Config, Route, Server
from penstock.service.daemon import Daemon
from penstock.simulate.server import Settings, serve
from rawhttp import COMPLETIONS, GENERATE, OLLAMA_CHAT, WAYS, Client, ask, call, connected, get

#: Sooner than anything else would end a stream, on a machine that does other things too; seconds.
SOON = 0.9

MUTE, SILENT, STREAMING = "sim:fault=mute", "sim:tokens=9,fault=silence@3", "sim:tokens=100000,rate=200"
STRAY = {"nothing": b"", "a line end": b"\r\n", "another request": get("/health"), "half a request": b"POST /v1/c"}


async def in_phase(house: House, client: Client, model: str) -> None:
    """Wait until the backend has the request, or the client its first tokens."""
    if model == MUTE:
        await house.until(lambda: house.simulation.records.counters.running == 1)
    else:
        await client.until(b" t1")


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("model", [MUTE, SILENT, STREAMING], ids=["before headers", "silent", "streaming"])
@pytest.mark.parametrize("stray", STRAY.values(), ids=STRAY)
async def test_stray_bytes_after_a_request_blind_nobody(
    stray: bytes, model: str, way: str, nursery: trio.Nursery
) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        client = await ask(house.address, call(model) + stray)
        await in_phase(house, client, model)
        left_at = client.leave(way)
        await house.nothing_left()
        outcome = await house.outcomes.receive()
        records = house.simulation.records
        await records.until(lambda: records.counters.cancelled_by_peer == 1)
        (request,) = records.connections[0].requests
        client.stream.socket.close()
    assert outcome.reason == "client_gone"
    assert request.peer_closed_at is not None and 0 <= request.peer_closed_at - left_at < SOON


@pytest.mark.parametrize("path", [COMPLETIONS, OLLAMA_CHAT, GENERATE])
async def test_every_dialect(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        for stream in (True, False):
            client = await ask(house.address, call(STREAMING, path=path, stream=stream))
            await house.until(lambda: len(house.daemon.state.live) == 1)
            client.leave("rst")
            await house.nothing_left()
            assert (await house.outcomes.receive()).reason == "client_gone"


async def test_a_backend_with_a_name_instead_of_an_address(nursery: trio.Nursery) -> None:
    """Names are connected to in another way than addresses."""
    house = await settle_in(nursery, backend="localhost")
    records = house.simulation.records
    with trio.fail_after(20):
        for way in WAYS:
            client = await ask(house.address, call(STREAMING))
            await client.until(b" t9")
            client.leave(way)
            await records.until(lambda: records.counters.running == 0)
            client.stream.socket.close()
        async with connected(house.address) as client:
            for _ in range(3):
                await client.send(call("sim:tokens=3"))
                assert (await client.answer())[0] == 200
        await house.nothing_left()
    # three that were cut, and one that was kept
    assert records.counters.accepted == 4


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize(
    "request_",
    [call("nowhere"), get("/v1/models"), get("/v1/models/nowhere"), get("/api/tags"), get("/api/ps")],
    ids=["an unknown model", "the list", "one model", "tags", "ps"],
)
async def test_questions_to_backends_end_with_their_client(request_: bytes, way: str, nursery: trio.Nursery) -> None:
    """The list of models is asked of a backend that never answers."""
    listener = (await trio.open_tcp_listeners(0, host="127.0.0.1"))[0]
    url = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
    config = Config(
        server=Server(listen=("127.0.0.1:0",)),
        backends={"mute": Backend(kind="openai", url=url)},
        routes={"somewhere": Route(targets=("mute",))},
    )
    daemon = Daemon(config)
    (address,) = await nursery.start(daemon.serve)
    async with listener:
        with trio.fail_after(20):
            client = await ask(address, request_)
            backend = await listener.accept()
            async with backend:
                assert await backend.receive_some()
                left_at = client.leave(way)
                assert await backend.receive_some() == b""
            assert time.monotonic() - left_at < SOON
            client.stream.socket.close()


async def test_a_client_that_leaves_between_the_bytes_of_its_request(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    request = call("sim:tokens=1")
    with trio.fail_after(30):
        for cut in range(0, len(request), 3):
            for way in WAYS:
                client = await ask(house.address, request[:cut])
                client.leave(way)
                client.stream.socket.close()
        await house.nothing_left()
        await house.until(lambda: house.daemon._listener.connections == 0)
    assert house.simulation.records.counters.requests == 0


async def test_three_hundred_random_ends_leave_no_task(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, slots=4)
    dice = random.Random(7)
    scripts = (MUTE, SILENT, STREAMING, "sim:tokens=3", "sim:tokens=100,rate=1000", "sim:first=20ms,tokens=5")

    async def client_at_random() -> None:
        client = await ask(house.address, call(dice.choice(scripts), stream=dice.random() < 0.7))
        await trio.sleep(dice.random() * 0.03)
        client.leave(dice.choice(WAYS))
        client.stream.socket.close()

    async def crowd(size: int) -> None:
        async with trio.open_nursery() as clients:
            for _ in range(size):
                clients.start_soon(client_at_random)
        await house.nothing_left()
        await house.until(lambda: house.daemon._listener.connections == 0)
        # what the backend still has to notice
        await house.simulation.records.until(lambda: house.simulation.records.counters.running == 0)
        for backend in house.daemon.state.backends.values():
            backend.transport.close_idle()
        await house.simulation.records.until(lambda: house.simulation.records.counters.open == 0)

    with trio.fail_after(30):
        await crowd(20)
        await trio.testing.wait_all_tasks_blocked()
        tasks = trio.lowlevel.current_statistics().tasks_living
        for _ in range(7):
            await crowd(40)
        await trio.testing.wait_all_tasks_blocked()
        assert trio.lowlevel.current_statistics().tasks_living == tasks


async def test_a_connection_that_is_given_back_while_all_ends_is_closed(nursery: trio.Nursery) -> None:
    """The last bytes of an answer that is complete come a moment after its end."""
    simulation = await nursery.start(serve, Settings())
    config = Config(
        server=Server(listen=("127.0.0.1:0",)),
        backends={"sim": Backend(kind="simulate", url=simulation.url)},
        routes={"*": Route(targets=("sim",))},
    )
    daemon = Daemon(config)
    with trio.fail_after(20):
        async with trio.open_nursery() as serving:
            (address,) = await serving.start(daemon.serve)
            client = await ask(address, call("sim:tokens=1,fault=dribble@1,gap=0.001"))
            await client.until(b"[DONE]")
            serving.cancel_scope.cancel()
        await simulation.records.until(lambda: simulation.records.counters.open == 0)
    client.stream.socket.close()


async def test_the_daemon_goes_on(nursery: trio.Nursery) -> None:
    """An error in one connection's machinery ends this connection and nothing else."""
    house = await settle_in(nursery)
    listener = house.daemon._listener
    with trio.fail_after(20):
        async with connected(house.address) as victim, connected(house.address) as other:
            await victim.send(get("/health"))
            await victim.answer()
            await other.send(get("/health"))
            await other.answer()
            broken = next(c for c in listener._connections if c._sock.getpeername()[1] == port_of(victim))
            broken._protocol.connection = None  # type: ignore[assignment]
            await victim.send(get("/health"))
            await victim.sees_the_close()
            await other.send(get("/health"))
            assert (await other.head())[0] == 200


def port_of(client: Client) -> int:
    port: int = client.stream.socket.getsockname()[1]
    return port
