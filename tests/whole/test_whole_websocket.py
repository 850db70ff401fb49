"""WebSocket chats of the daemon as a process: drained, reloaded, and used by a client library that people have."""

from __future__ import annotations

import json
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
import websockets
from process import Process, books
from websockets.sync.client import ClientConnection, connect

from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import WAYS
from rawwebsocket import PATH, Closed, Socket, create, opened, words

ENDLESS = "sim:tokens=100000,rate=100"
#: Sooner than anything else would end a chat, on a machine that does other things too; seconds.
SOON = 0.9
#: What the last words of penstock and the end of its interpreter may take, on a machine that is busy; seconds.
MOMENT = 5


@pytest.fixture
async def simulation(nursery: trio.Nursery) -> Simulation:
    return await nursery.start(serve, Settings())


@pytest.fixture
async def process(serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery) -> Process:
    process = serving(
        '[server]\nlisten = ["127.0.0.1:0"]\nlog_format = "json"\ndrain = "2s"\n'
        f'[backends.sim]\nkind = "simulate"\nurl = "{simulation.url}"\nslots = 100\n[routes]\n"*" = ["sim"]\n'
    )
    nursery.start_soon(process.read)
    return process


async def test_a_drain_lets_chats_end_and_tells_the_rest(process: Process, simulation: Simulation) -> None:
    with trio.fail_after(30):
        async with (
            opened(process.address) as idle,
            opened(process.address) as short,
            opened(process.address) as long,
            opened(process.address) as frozen,
        ):
            await long.send(create("a", ENDLESS), create("b", ENDLESS))
            await frozen.send(create("a", ENDLESS))
            await simulation.records.until(lambda: simulation.records.counters.running == 3)
            # last, so that it still runs when penstock is told to stop
            await short.send(create("a", "sim:tokens=30,rate=30"))
            await simulation.records.until(lambda: simulation.records.counters.running == 4)
            at = process.signal(signal.SIGTERM)
            await process.line("stopping")
            assert (closed := await idle.closing()).code == 1001
            assert closed.why == "penstock is shutting down: connect again"

            await short.send(create("late", "sim:tokens=1"))
            told, closed = await to_the_close(short)
            assert closed.code == 1001
            (refused,) = [message for message in told if message["id"] == "late"]
            assert (refused["reason"], refused["status"]) == ("shutdown", 503)
            *tokens, done = [message for message in told if message["id"] == "a"]
            assert (words(tokens), done["type"]) == ("".join(f" t{n}" for n in range(30)), "done")

            told, closed = await to_the_close(long)
            assert closed.code == 1001
            errors = [message for message in told if message["type"] == "error"]
            assert sorted(error["id"] for error in errors) == ["a", "b"]
            assert {(error["reason"], error["error"]) for error in errors} == {
                ("shutdown", "penstock is shutting down")
            }

            status, exited = await process.exit()
    assert (status, exited - at < 2 + MOMENT) == (0, True)
    ends = [line["reason"] for line in process.lines if line["event"] == "stream ended"]
    assert sorted(ends) == ["completed", "shutdown", "shutdown", "shutdown"]


async def to_the_close(socket: Socket) -> tuple[list[dict[str, Any]], Closed]:
    """All that is still told, and why the socket closes."""
    told = []
    while True:
        try:
            told.append(await socket.told())
        except Closed as closed:
            return told, closed


async def test_a_new_configuration_takes_over_when_chats_have_ended(
    process: Process, simulation: Simulation, tmp_path: Path
) -> None:
    """What is idle has to connect again at once, and so meets the keys and routes that are now in force."""
    with trio.fail_after(30):
        async with opened(process.address) as idle, opened(process.address) as busy:
            await busy.send(create("a", "sim:tokens=30,rate=60"))
            await simulation.records.until(lambda: simulation.records.counters.running == 1)
            (config,) = tmp_path.glob("*.toml")
            config.write_text(config.read_text().replace("slots = 100", "slots = 99"))
            process.signal(signal.SIGHUP)
            closed = await idle.closing()
            assert (closed.code, closed.why) == (1001, "the configuration has changed: connect again")
            *_, done = await busy.told_of("a")
            assert done["type"] == "done"
            assert (await busy.closing()).code == 1001
        async with opened(process.address) as again:
            await again.send(create("a", "sim:tokens=1"))
            assert (await again.told_of("a"))[-1]["type"] == "done"


@pytest.mark.parametrize("way", WAYS)
async def test_nothing_is_left_of_a_socket(way: str, process: Process, simulation: Simulation) -> None:
    with trio.fail_after(30):
        async with books(process) as account:
            for _ in range(5):
                async with opened(process.address) as socket:
                    scripts = ("sim:fault=mute", ENDLESS, "sim:tokens=9,fault=silence@3", "nowhere")
                    await socket.send(*(create(f"c{n}", script) for n, script in enumerate(scripts)))
                    await simulation.records.until(lambda: simulation.records.counters.running == 3)
                    socket.leave(way)
                    await account.nothing_left(idle=True)


# --- the library `websockets` ----------------------------------------------------------------------------------------


async def with_library(process: Process, use: Callable[[ClientConnection], Any]) -> Any:
    """Use one connection in a thread of its own; its context closes it as the library does."""

    def session() -> Any:
        with connect(process.address.replace("http", "ws") + PATH, open_timeout=20, close_timeout=20) as socket:
            return use(socket)

    return await trio.to_thread.run_sync(session)


def heard(socket: ClientConnection) -> dict[str, Any]:
    message: dict[str, Any] = json.loads(socket.recv(timeout=20))
    return message


def say(socket: ClientConnection, kind: str, chat: str, **more: object) -> None:
    socket.send(json.dumps({"type": kind, "id": chat, **more}))


def until_end(socket: ClientConnection, *chats: str) -> list[dict[str, Any]]:
    """Every message, until each of these chats has had its last."""
    waiting, found = set(chats), []
    while waiting:
        found.append(message := heard(socket))
        if message["type"] in ("done", "error"):
            waiting.discard(message["id"])
    return found


async def test_the_library_chats(process: Process, simulation: Simulation) -> None:
    """It offers compression; penstock does not take it, and a chat streams, two at once, one is cancelled."""

    def use(socket: ClientConnection) -> None:
        assert socket.protocol.extensions == []
        socket.send("hello")
        told = until_end(socket, "text")
        assert told[-1]["type"] == "done"
        assert words(told).startswith(" t0 t1")

        say(socket, "chat.create", "a", message="hi", model="sim:tokens=20,rate=200")
        say(socket, "chat.create", "b", message="hi", model=ENDLESS)
        told = until_end(socket, "a")
        assert {message["id"] for message in told} == {"a", "b"}
        say(socket, "chat.cancel", "b")
        assert until_end(socket, "b")[-1]["reason"] == "killed"
        assert socket.ping().wait(20)

        say(socket, "chat.create", "c", message="hi" * 100_000, model="sim:tokens=1")
        assert until_end(socket, "c")[-1]["type"] == "done"
        # leaving in mid-answer
        say(socket, "chat.create", "d", message="hi", model=ENDLESS)
        assert heard(socket)["type"] == "token"

    with trio.fail_after(30):
        async with books(process) as account:
            await with_library(process, use)
            await account.nothing_left(idle=True)
        last = await process.line("stream ended", reason="client_gone")
    assert last["teardown"] < SOON


async def test_the_library_is_told_why_it_is_closed(process: Process) -> None:
    def use(socket: ClientConnection) -> tuple[int | None, str | None]:
        with pytest.raises(websockets.ConnectionClosed):
            until_end(socket, "never")
        return socket.close_code, socket.close_reason

    def binary(socket: ClientConnection) -> Any:
        socket.send(b"hi")
        return use(socket)

    with trio.fail_after(30):
        assert await with_library(process, binary) == (1003, "penstock takes text only")
        async with trio.open_nursery() as nursery:
            connected, told = trio.Event(), []

            def stay(socket: ClientConnection) -> tuple[int | None, str | None]:
                trio.from_thread.run_sync(connected.set)
                return use(socket)

            async def wait() -> None:
                told.append(await with_library(process, stay))

            nursery.start_soon(wait)
            await connected.wait()
            process.signal(signal.SIGTERM)
    assert told == [(1001, "penstock is shutting down: connect again")]
