"""A backend that misses the close of a connection is told in words, and keeps its slot until it has heard them."""

from __future__ import annotations

import json

import pytest
import trio
from playbook import DONE, Conversation, Play, chunk, finish, role

from penstock.chat.reasons import Reason
from penstock.relay.farewell import BUDGET

ABORTED = b'HTTP/1.0 200 OK\r\nContent-Length: 18\r\n\r\n{"success":"true"}'
#: HTTP/1.0: neither a length nor chunks, the body ends with the connection.
HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\n\r\n"


def body_of(conversation: Conversation) -> dict[str, object]:
    body = json.loads(conversation.asked.partition(b"\r\n\r\n")[2])
    assert isinstance(body, dict)
    return body


def assert_aborts(abort: Conversation, asked: Conversation) -> None:
    assert abort.asked.startswith(b"POST /api/extra/abort HTTP/1.1\r\n")
    assert body_of(abort) == {"genkey": body_of(asked)["genkey"]}


@pytest.mark.parametrize("phase", ["headers", "prefill", "streaming"])
@pytest.mark.parametrize("how", ["client leaves", "killed", "silence", "deadline"])
async def test_an_answer_that_is_left_is_aborted_by_its_key(
    nursery: trio.Nursery, autojump_clock: object, phase: str, how: str
) -> None:
    total = 30.0 if how == "deadline" else 900.0
    play = Play(nursery, kind="koboldcpp", first_token=60.0, silence=60.0, total=total)
    client = play.asks()
    backend = await play.backend()
    assert backend.asked.startswith(b"POST /v1/chat/completions HTTP/1.1\r\n")
    if phase != "headers":
        await backend.begins(HEAD)
        await backend.stream.send_all(role() + (chunk("A") if phase == "streaming" else b""))
    await trio.testing.wait_all_tasks_blocked()
    if how == "client leaves":
        client.leave()
    elif how == "killed":
        next(iter(play.live)).end(Reason.KILLED, "the owner says so")
    closed = await backend.sees_the_close()

    abort = await play.backend()
    assert trio.current_time() == closed, "the close waits for nothing"
    assert_aborts(abort, backend)
    await trio.sleep(0.5)
    assert play.backends[0].gate.busy == 1, "it may still be at work"
    await abort.stream.send_all(ABORTED)
    outcome = await play.outcome()
    assert trio.current_time() == closed + 0.5
    assert (
        outcome.reason
        is {
            "client leaves": Reason.CLIENT_GONE,
            "killed": Reason.KILLED,
            "silence": Reason.SILENCE if phase == "streaming" else Reason.FIRST_TOKEN_TIMEOUT,
            "deadline": Reason.DEADLINE,
        }[how]
    )
    assert outcome.teardown == 0.0, "the farewell is no part of the teardown"
    play.assert_nothing_left()


@pytest.mark.parametrize("how", ["deaf", "slow", "closes", "garbage"])
async def test_an_abort_that_fails_holds_nothing_up_for_long(
    nursery: trio.Nursery, autojump_clock: object, how: str
) -> None:
    play = Play(nursery, kind="koboldcpp")
    client = play.asks()
    backend = await play.backend()
    client.leave()
    closed = await backend.sees_the_close()
    abort = await play.backend()
    if how == "slow":
        await abort.stream.send_all(ABORTED[:20])
    elif how == "closes":
        await abort.hangs_up()
    elif how == "garbage":
        await abort.stream.send_all(b"what?\r\n\r\n")
    outcome = await play.outcome()
    assert outcome.reason is Reason.CLIENT_GONE
    assert trio.current_time() == closed + (BUDGET if how in ("deaf", "slow") else 0.0)
    play.assert_nothing_left()


async def test_the_next_stream_waits_for_the_farewell(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, kind="koboldcpp")
    first = play.asks()
    await play.backend()
    second = play.asks()
    await trio.testing.wait_all_tasks_blocked()
    first.leave()
    abort = await play.backend()
    assert b"/api/extra/abort" in abort.asked
    await abort.stream.send_all(ABORTED)
    backend = await play.backend()
    assert b"/v1/chat/completions" in backend.asked
    await backend.begins(HEAD)
    await backend.stream.send_all(role() + chunk("B") + finish() + DONE)
    assert (await play.outcome()).reason is Reason.CLIENT_GONE
    assert (await play.outcome()).reason is Reason.COMPLETED
    assert second.text == "B"


@pytest.mark.parametrize("how", ["done", "closed after the finish", "refused", "no answer", "while finishing"])
async def test_nothing_is_said_where_nothing_is_left(nursery: trio.Nursery, autojump_clock: object, how: str) -> None:
    play = Play(nursery, kind="koboldcpp", refuses=(0,) if how == "no answer" else ())
    client = play.asks()
    if how != "no answer":
        backend = await play.backend()
        if how == "refused":
            await backend.stream.send_all(
                b'HTTP/1.0 503 Busy\r\nContent-Length: 48\r\n\r\n{"detail":{"msg":"Server is busy","type":"busy"}}'
            )
        else:
            await backend.begins(HEAD)
            await backend.stream.send_all(role() + chunk("A") + finish() + (DONE if how == "done" else b""))
            if how == "closed after the finish":
                await backend.hangs_up()
            elif how == "while finishing":
                await trio.testing.wait_all_tasks_blocked()
                client.leave()
    outcome = await play.outcome()
    assert outcome.reason is {
        "refused": Reason.BACKEND_REFUSED,
        "no answer": Reason.CONNECT_FAILED,
        "while finishing": Reason.CLIENT_GONE,
    }.get(how, Reason.COMPLETED)
    with pytest.raises(trio.WouldBlock):
        play._connections[0].receive_nowait()
    play.assert_nothing_left()


async def test_a_close_before_the_finish_is_no_good_end(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, kind="koboldcpp")
    client = play.asks()
    backend = await play.backend()
    await backend.begins(HEAD)
    await backend.stream.send_all(role() + chunk("A"))
    await backend.hangs_up()
    abort = await play.backend()
    await abort.stream.send_all(ABORTED)
    outcome = await play.outcome()
    assert (outcome.reason, client.error, client.text) == (Reason.BACKEND_TRUNCATED, "backend_truncated", "A")
