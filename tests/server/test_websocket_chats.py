"""Chats over a WebSocket: plain text and commands, many at a time, cancelled, refused, and every way of leaving."""

from __future__ import annotations

import json
from itertools import pairwise
from typing import Any

import pytest
import trio
from house import House, settle_in

from penstock.chat.reasons import Reason
from penstock.config.model import Route
from rawhttp import WAYS
from rawwebsocket import CLOSE, PING, cancel, create, frame, opened, text, words

ENDLESS = "sim:tokens=100000,rate=100"
#: Sooner than anything else would end a chat, on a machine that does other things too; seconds.
SOON = 0.9


async def asked(house: House) -> list[dict[str, Any]]:
    """The bodies of all requests that the backend has seen."""
    connections = house.simulation.records.connections
    return [json.loads(request.body) for connection in connections for request in connection.requests]


async def test_plain_text_is_answered(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, routes={"sim:tokens=3": Route(targets=("sim",))})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(text("hello"))
            *tokens, done = await socket.told_of("text")
            outcome = await house.outcomes.receive()
            await house.nothing_left()
    assert [token["type"] for token in tokens] == ["token"] * 3
    assert words(tokens) == " t0 t1 t2"
    assert done == {
        "type": "done",
        "id": "text",
        "reason": "stop",
        "usage": {"prompt_tokens": 5, "completion_tokens": 3, "total_tokens": 8},
        "stream": outcome.stream,
        "target": "sim/sim:tokens=3",
    }
    assert (outcome.reason, outcome.dialect, outcome.tokens) == (Reason.COMPLETED, "websocket", 3)


async def test_plain_text_is_a_conversation(nursery: trio.Nursery) -> None:
    """With the model that the address names; what failed or was cancelled was never said."""
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with opened(house.address, path="/api/ws/chat?model=sim:tokens=1") as socket:
            await socket.send(text("one"))
            await socket.told_of("text")
            await socket.send(text("two"))
            await socket.told_of("text")
            async with opened(house.address, path="/api/ws/chat?model=sim:tokens=1") as other:
                await other.send(text("three"))
                await other.told_of("text")
    said = [[message["content"] for message in body["messages"]] for body in await asked(house)]
    assert said == [["one"], ["one", " t0", "two"], ["three"]]


async def test_one_message_of_plain_text_at_a_time(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with opened(house.address, path=f"/api/ws/chat?model={ENDLESS}") as socket:
            await socket.send(text("one"), text("two"))
            (refused,) = await socket.told_of("text")
            assert (refused["reason"], refused["status"], refused["running"]) == ("chat_running", 409, True)
            await socket.send(cancel("text"))
            last = (await socket.told_of("text"))[-1]
            assert last["reason"] == "killed" and "running" not in last


async def test_chats_run_side_by_side(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", "sim:tokens=60,rate=200"), create("b", "sim:tokens=60,rate=200,thinking=2"))
            messages: list[dict[str, Any]] = []
            while sum(message["type"] == "done" for message in messages) < 2:
                messages.append(await socket.told())
    for chat in "ab":
        assert words([message for message in messages if message["id"] == chat]) == "".join(f" t{n}" for n in range(60))
    changes = sum(before["id"] != after["id"] for before, after in pairwise(messages))
    assert changes > 4, "neither waits for the other"


async def test_what_a_chat_may_ask(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    tools = [{"type": "function", "function": {"name": "look", "parameters": {"type": "object"}}}]
    messages = [{"role": "system", "content": "s"}, {"role": "user", "content": "u"}]
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(
                create("c", "sim:tokens=1,thinking=1,tools=1", messages=messages, tools=tools, max_tokens=9)
            )
            *told, done = await socket.told_of("c")
    assert [message["type"] for message in told] == ["thinking", "token", "tool"]
    assert told[-1] == {"type": "tool", "id": "c", "name": "look", "arguments": told[-1]["arguments"]}
    assert done["reason"] == "tool_calls"
    (body,) = await asked(house)
    assert [message["content"] for message in body["messages"]] == ["s", "u", "hello"]
    assert (body["tools"][0]["function"]["name"], body["max_tokens"]) == ("look", 9)


async def test_an_id_is_free_with_the_last_frame(nursery: trio.Nursery) -> None:
    """Not with the end of the stream, which tidies up for a moment after it."""
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            for _ in range(50):
                await socket.send(create("c", "sim:tokens=1"))
                *_, last = await socket.told_of("c")
                assert last["type"] == "done"


async def test_a_cancelled_chat_is_told_and_its_backend_left(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    records = house.simulation.records
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", ENDLESS), create("b", "sim:tokens=30,rate=100"))
            while (await socket.told())["id"] != "a":
                pass
            await socket.send(cancel("a"), cancel("a"), cancel("nobody"))
            *_, last = await socket.told_of("a")
            outcome = await house.outcomes.receive()
            await records.until(lambda: records.counters.cancelled_by_peer == 1)
            # the other has felt nothing, and nothing was said about what is not there
            *_, done = await socket.told_of("b")
    assert (last["error"], last["reason"]) == ("the client cancelled the chat", "killed")
    assert (outcome.reason, outcome.stream) == (Reason.KILLED, last["stream"])
    assert outcome.teardown is not None and outcome.teardown < SOON
    assert done["type"] == "done"


REFUSED: dict[str, tuple[bytes, dict[str, object]]] = {
    "a frame without an id": (text('{"type": "chat.create"}'), {"status": 400}),
    "an unknown type": (text('{"type": "chat.paint", "id": "x"}'), {"id": "x", "status": 400}),
    "no message": (text('{"type": "chat.create", "id": "x"}'), {"id": "x", "status": 400}),
    "a wrong field": (create("x", "sim", temperature="hot"), {"id": "x", "status": 400}),
    "an unknown model": (create("x", "nowhere"), {"id": "x", "status": 404, "reason": "model_not_found"}),
    "an empty text": (text(""), {"status": 400}),
    "a backend that refuses": (
        create("x", "sim:status=429,retry-after=7"),
        {"id": "x", "status": 429, "reason": "backend_refused", "retry_after": 7.0},
    ),
    "a backend that breaks": (create("x", "sim:tokens=0,fault=cut@0"), {"id": "x", "reason": "backend_truncated"}),
}


async def test_what_cannot_be_is_an_error_and_the_socket_stays(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, routes={"sim*": Route(targets=("sim",))})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            for case, (sent, wanted) in REFUSED.items():
                await socket.send(sent)
                told = await socket.told()
                assert told["type"] == "error" and "running" not in told, case
                assert wanted.items() <= told.items(), case
            await socket.send(create("y", "sim:tokens=1"))
            *_, done = await socket.told_of("y")
            assert done["type"] == "done"


async def test_a_refused_command_does_not_end_the_chat_of_its_id(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", "sim:tokens=50,rate=200"))
            await socket.send(create("a", "sim"), text('{"type": "chat.paint", "id": "a"}'))
            asides = [message for _ in range(2) if (message := (await socket.told_of("a"))[-1])]
            assert [message["running"] for message in asides] == [True, True]
            *_, done = await socket.told_of("a")
            assert done["type"] == "done"


async def test_what_was_left_out_is_told_at_the_end(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(
                create("a", "sim:tokens=1", mirostat=2), create("b", "sim:tokens=2,fault=cut@1", mirostat=2)
            )
            for chat in "ab":
                *_, last = await socket.told_of(chat)
                assert last["dropped"] == ["mirostat"]


async def test_the_end_names_the_target_that_answered(nursery: trio.Nursery) -> None:
    """Not the one that failed before it, also where a ping went out meanwhile."""
    targets = ("sim/sim:status=503,first=0.2", "sim/sim:tokens=1")
    house = await settle_in(nursery, routes={"*": Route(targets=targets)}, server={"grace": 0.05, "heartbeat": 0.05})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", "m"))
            *_, done = await socket.told_of("a")
    assert (done["type"], done["target"]) == ("done", "sim/sim:tokens=1")


@pytest.mark.parametrize("way", [*WAYS, "close frame"])
async def test_leaving_cancels_every_chat(way: str, nursery: trio.Nursery) -> None:
    """Whatever each is waiting for: a slot, the backend's head, its next token, nothing at all."""
    house = await settle_in(nursery, slots=3)
    scripts = ("sim:fault=mute", "sim:tokens=9,fault=silence@3", ENDLESS, ENDLESS)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(*(create(f"c{n}", script) for n, script in enumerate(scripts)))
            live = house.daemon.state.live
            await house.until(lambda: sorted(live.by_phase().values()) == [1, 1, 2])
            if way == "close frame":
                await socket.send(frame(CLOSE, (1000).to_bytes(2) + b"bye"))
                assert (await socket.closing()).code == 1000
            else:
                socket.leave(way)
            await house.nothing_left()
            outcomes = [await house.outcomes.receive() for _ in scripts]
            await house.until(lambda: house.daemon._listener.connections == 0)
            socket.client.stream.socket.close()
    assert {outcome.reason for outcome in outcomes} == {Reason.CLIENT_GONE}
    teardowns = [outcome.teardown for outcome in outcomes if outcome.teardown is not None]
    assert len(teardowns) >= 3 and max(teardowns) < SOON


async def test_a_chat_that_is_about_to_begin_ends_with_its_client(nursery: trio.Nursery) -> None:
    """Before there is a stream, while backends are asked which model is meant."""
    house = await settle_in(nursery, routes={"*": Route(targets=("sim",))})
    for leave in (True, False):
        with trio.fail_after(20):
            async with opened(house.address) as socket:
                await socket.send(text("hello"), b"" if leave else cancel("text"))
                if leave:
                    socket.leave("rst")
                else:
                    *_, last = await socket.told_of("text")
                    assert last["type"] in ("error", "done")
                    socket.leave("fin")
                await house.until(lambda: house.daemon._listener.connections == 0)
                await house.nothing_left()


async def test_heartbeats_are_pings(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, server={"grace": 0.05, "heartbeat": 0.05})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", "sim:tokens=1,first=0.5"))
            assert (await socket.frame())[0] == PING
            *_, done = await socket.told_of("a")
            assert done["type"] == "done"


async def test_a_slow_reader_meets_the_write_budget(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, timeouts={"write": 0.3})
    with trio.fail_after(20):
        async with opened(house.address, receive_buffer=4096) as socket:
            await socket.send(create("a", "sim:tokens=1000000"))
            outcome = await house.outcomes.receive()
            await house.nothing_left()
            await house.until(lambda: house.daemon._listener.connections == 0)
    assert outcome.reason is Reason.CLIENT_STALLED


@pytest.mark.heavy
async def test_a_client_that_only_writes_is_read_no_further(nursery: trio.Nursery) -> None:
    """Each answer waits for its reader, so that they do not pile up."""
    house = await settle_in(nursery, timeouts={"write": 0.3}, limits={"pings": 1_000_000})
    with trio.fail_after(30):
        async with opened(house.address, receive_buffer=4096) as socket:
            flood = frame(PING, b"x" * 125) * 500
            with pytest.raises(trio.BrokenResourceError):
                await socket.send(*[flood] * 500)
            await house.until(lambda: house.daemon._listener.connections == 0)
