"""Every budget of docs/timeouts.md as a playbook: what is said, how much time passes, who gets to know what."""

from __future__ import annotations

import tracemalloc

import pytest
import trio
from playbook import DONE, PING, Play, chunk, finish, progress, role

from penstock.chat.lifecycle import Phase
from penstock.chat.reasons import Reason


async def test_a_good_answer(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"), chunk("B"), finish(), DONE)
    await backend.ends()

    outcome = await play.outcome()
    assert (outcome.reason, outcome.tokens, outcome.phase) == (Reason.COMPLETED, 2, Phase.FINISHING)
    assert (client.status, client.text, client.finished) == (200, "AB", True)
    assert client.got.endswith(DONE)
    assert client.headers["x-penstock-target"] == "b0/m"
    assert client.headers["content-type"] == "text/event-stream; charset=utf-8"
    play.assert_nothing_left()
    assert play.backends[0].transport.idle == 1


async def test_silence_between_tokens(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, silence=60.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"), chunk("B"))
    spoke = trio.current_time()

    outcome = await play.outcome()
    assert trio.current_time() - spoke == pytest.approx(60.0)
    assert (outcome.reason, outcome.phase) == (Reason.SILENCE, Phase.STREAMING)
    assert (client.status, client.text, client.error, client.finished) == (200, "AB", "silence", True)
    assert client.got.endswith(DONE)
    assert await backend.sees_the_close() - spoke == pytest.approx(60.0)
    play.assert_nothing_left()


async def test_pings_are_no_progress(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, silence=60.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"))
    spoke = trio.current_time()
    for _ in range(59):
        await trio.sleep(1)
        await backend.says(PING)
    outcome = await play.outcome()
    assert trio.current_time() - spoke == pytest.approx(60.0)
    assert (outcome.reason, client.error) == (Reason.SILENCE, "silence")


async def test_slow_tokens_go_on_for_ever(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, silence=60.0, total=3600.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role())
    for _ in range(30):
        await trio.sleep(59)
        await backend.says(chunk("x"))
    await backend.says(finish(), DONE)
    await backend.ends()
    outcome = await play.outcome()
    assert (outcome.reason, client.text, outcome.tokens) == (Reason.COMPLETED, "x" * 30, 30)
    assert outcome.tokens_per_second == pytest.approx(1 / 59)


@pytest.mark.parametrize("phase", [Phase.HEADERS, Phase.PREFILL])
async def test_first_token_spans_headers_and_prefill(
    nursery: trio.Nursery, autojump_clock: object, phase: Phase
) -> None:
    play = Play(nursery, first_token=300.0)
    client = play.asks()
    backend = await play.backend()
    asked = trio.current_time()
    if phase is Phase.PREFILL:
        await trio.sleep(100)
        await backend.begins()
        await backend.says(role())
        for _ in range(150):
            await trio.sleep(1)
            await backend.says(PING)
    outcome = await play.outcome()
    assert trio.current_time() - asked == pytest.approx(300.0)
    assert (outcome.reason, outcome.phase) == (Reason.FIRST_TOKEN_TIMEOUT, phase)
    assert (client.status, client.error) == (200, "first_token_timeout")


async def test_prefill_progress_resets_first_token(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, kind="llamacpp", first_token=10.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    for done in range(1, 11):
        await trio.sleep(9)
        await backend.says(progress(done, 10))
    await trio.sleep(9)
    await backend.says(chunk("A"), finish(), DONE)
    await backend.ends()
    outcome = await play.outcome()
    assert (outcome.reason, client.text) == (Reason.COMPLETED, "A")
    assert b"prompt_progress" not in client.got


async def test_no_progress_within_first_token_although_some_came_before(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery, kind="llamacpp", first_token=10.0)
    play.asks()
    backend = await play.backend()
    await backend.begins()
    await trio.sleep(9)
    await backend.says(progress(1, 10))
    moved = trio.current_time()
    outcome = await play.outcome()
    assert outcome.reason is Reason.FIRST_TOKEN_TIMEOUT
    assert trio.current_time() - moved == pytest.approx(10.0)


async def test_liveness_counts_every_byte(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, silence=600.0, liveness=15.0)
    play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"))
    for _ in range(10):
        await trio.sleep(14)
        await backend.says(PING)
    pinged = trio.current_time()
    outcome = await play.outcome()
    assert outcome.reason is Reason.SILENCE
    assert "liveness" in (outcome.message or "")
    assert trio.current_time() - pinged == pytest.approx(15.0)


@pytest.mark.parametrize("said", [[], [role()], [role(), chunk("A")]], ids=["head", "role", "token"])
async def test_liveness_runs_from_the_head_on(nursery: trio.Nursery, autojump_clock: object, said: list[bytes]) -> None:
    play = Play(nursery, silence=600.0, liveness=15.0)
    play.asks()
    backend = await play.backend()
    await trio.sleep(100)
    await backend.begins()
    if said:
        await backend.says(*said)
    outcome = await play.outcome()
    assert (outcome.reason, outcome.total) == (Reason.SILENCE, pytest.approx(115.0))
    assert "liveness" in (outcome.message or "")


async def test_liveness_does_not_run_once_the_answer_is_whole(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, liveness=1.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"), finish())
    outcome = await play.outcome()
    assert (outcome.reason, client.text, client.finished) == (Reason.COMPLETED, "A", True)


async def test_connect_budget(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, connect=5.0, dial_time=100.0)
    client = play.asks(grace=60.0)
    outcome = await play.outcome()
    assert trio.current_time() == pytest.approx(5.0)
    assert (outcome.reason, outcome.phase) == (Reason.CONNECT_TIMEOUT, Phase.CONNECTING)
    assert (client.status, client.error) == (504, "connect_timeout")
    play.assert_nothing_left()


async def test_queue_budget_with_heartbeats_while_waiting(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, slots=1, queue=60.0)
    first = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"))
    waiting = play.asks()
    await trio.testing.wait_all_tasks_blocked()
    assert play.backends[0].gate.waiting == 1

    for _ in range(3):
        await trio.sleep(20)
        await backend.says(chunk("A"))
    outcome = await play.outcome()
    assert (outcome.reason, outcome.phase) == (Reason.QUEUE_TIMEOUT, Phase.QUEUED)
    assert trio.current_time() == pytest.approx(60.0)
    assert (waiting.status, waiting.error) == (200, "queue_timeout")
    # first sign of life when the grace is over, then one every five seconds
    assert waiting.got.count(b": keep-alive\n") == 12
    await backend.says(finish(), DONE)
    assert (await play.outcome()).reason is Reason.COMPLETED
    assert first.text == "AAAA"
    play.assert_nothing_left()


async def test_a_full_queue_refuses_at_once_with_a_real_status(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, slots=1, places=0)
    play.asks()
    backend = await play.backend()
    refused = play.asks()
    outcome = await play.outcome()
    assert (outcome.reason, trio.current_time()) == (Reason.QUEUE_FULL, 0.0)
    assert (refused.status, refused.error, refused.headers["retry-after"]) == (503, "queue_full", "2")
    await backend.begins()
    await backend.says(role(), chunk("A"), finish(), DONE)
    assert (await play.outcome()).reason is Reason.COMPLETED


async def test_total_ends_a_healthy_stream(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, total=100.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role())
    with trio.move_on_after(101):
        while True:
            await trio.sleep(3)
            await backend.says(chunk("x"))
    outcome = await play.outcome()
    assert (outcome.reason, outcome.total) == (Reason.DEADLINE, pytest.approx(100.0))
    assert (client.text, client.error, client.finished) == ("x" * 33, "deadline", True)
    play.assert_nothing_left()


@pytest.mark.parametrize("waiting_in", [Phase.QUEUED, Phase.CONNECTING, Phase.HEADERS, Phase.PREFILL])
async def test_total_reaches_every_phase(nursery: trio.Nursery, autojump_clock: object, waiting_in: Phase) -> None:
    connecting = waiting_in is Phase.CONNECTING
    play = Play(nursery, total=30.0, connect=600.0, dial_time=999.0 if connecting else 0.0)
    other = play.asks() if waiting_in is Phase.QUEUED else None
    if other is not None:
        await play.backend()
        await trio.sleep(0.5)
    client = play.asks(grace=600.0)
    asked = trio.current_time()
    if waiting_in in (Phase.HEADERS, Phase.PREFILL):
        backend = await play.backend()
        if waiting_in is Phase.PREFILL:
            await backend.begins()
    if other is not None:
        other_outcome = await play.outcome()
        assert other_outcome.reason is Reason.DEADLINE
        backend = await play.backend()
        outcome = await play.outcome()
    else:
        outcome = await play.outcome()
        assert outcome.phase is waiting_in
    assert (outcome.reason, outcome.total) == (Reason.DEADLINE, pytest.approx(30.0))
    assert trio.current_time() - asked == pytest.approx(30.0)
    assert (client.status, client.error, client.headers["x-should-retry"]) == (504, "deadline", "false")
    play.assert_nothing_left()


async def test_a_client_that_stops_reading_is_cut_at_the_write_budget(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery, write=30.0, silence=10.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"))
    await trio.testing.wait_all_tasks_blocked()
    client.stop_reading()
    await backend.says(chunk("B"))
    stalled = trio.current_time()
    outcome = await play.outcome()
    assert (outcome.reason, client.was_cut) == (Reason.CLIENT_STALLED, True)
    assert trio.current_time() - stalled == pytest.approx(30.0)
    assert await backend.sees_the_close() - stalled == pytest.approx(30.0)
    play.assert_nothing_left()


async def test_the_silence_clock_stands_while_the_client_holds_us_up(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery, write=30.0, silence=10.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"))
    await trio.testing.wait_all_tasks_blocked()
    client.stop_reading()
    await backend.says(chunk("B"))
    await trio.sleep(25)
    client.read_again()
    await trio.sleep(9)
    await backend.says(chunk("C"), finish(), DONE)
    outcome = await play.outcome()
    assert (outcome.reason, client.text) == (Reason.COMPLETED, "ABC")


async def test_a_finished_answer_whose_body_stays_open_ends_after_the_linger(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"), finish())
    outcome = await play.outcome()
    assert (outcome.reason, client.text, client.finished) == (Reason.COMPLETED, "A", True)
    assert client.times[-1] == pytest.approx(2.0)
    assert play.backends[0].transport.idle == 0
    await backend.sees_the_close()


async def test_signs_of_life_before_the_first_token_are_not_kept(nursery: trio.Nursery, autojump_clock: object) -> None:
    """However many there are, they say no more than one."""
    play = Play(nursery)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role())
    await trio.testing.wait_all_tasks_blocked()
    tracemalloc.start()
    try:
        before, _ = tracemalloc.get_traced_memory()
        for _ in range(8):
            await backend.says(b":\n" * 20_000)
            await trio.testing.wait_all_tasks_blocked()
        after, _ = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    # a reference to each would be more than a megabyte
    assert after - before < 500_000
    await backend.says(chunk("A"), finish(), DONE)
    assert (await play.outcome()).reason is Reason.COMPLETED
    assert client.text == "A"
