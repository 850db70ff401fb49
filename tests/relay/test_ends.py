"""Who ends a stream, in which phase, and what each side is told; the terminal-marker rule; the next target."""

from __future__ import annotations

import pytest
import trio
from playbook import DONE, NDJSON_HEAD, PING, Conversation, FakeClient, Play, chunk, finish, role

from penstock.chat.lifecycle import Phase
from penstock.chat.reasons import Reason
from penstock.errors import ClientStalled

PHASES = [Phase.QUEUED, Phase.CONNECTING, Phase.HEADERS, Phase.PREFILL, Phase.STREAMING, Phase.FINISHING]


async def bring_to(play: Play, phase: Phase, *, stream: bool = True) -> tuple[FakeClient, Conversation | None]:
    """A client whose stream is in this phase, and its backend's side where there is one."""
    if phase is Phase.QUEUED:
        play.asks()
        await play.backend()
        client = play.asks(stream=stream)
        await trio.testing.wait_all_tasks_blocked()
        return client, None
    client = play.asks(stream=stream)
    if phase is Phase.CONNECTING:
        await trio.testing.wait_all_tasks_blocked()
        return client, None
    backend = await play.backend()
    said = {
        Phase.HEADERS: None,
        Phase.PREFILL: [role()],
        Phase.STREAMING: [role(), chunk("A")],
        Phase.FINISHING: [role(), chunk("A"), finish()],
    }[phase]
    if said is not None:
        await backend.begins()
        await backend.says(*said)
    await trio.testing.wait_all_tasks_blocked()
    return client, backend


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_client_that_leaves_takes_its_backend_with_it(
    nursery: trio.Nursery, autojump_clock: object, phase: Phase, stream: bool
) -> None:
    play = Play(nursery, dial_time=999.0 if phase is Phase.CONNECTING else 0.0, connect=9999.0)
    client, backend = await bring_to(play, phase, stream=stream)
    left = trio.current_time()
    client.leave()

    outcome = await play.outcome()
    assert (outcome.reason, outcome.phase) == (Reason.CLIENT_GONE, phase)
    assert trio.current_time() == left
    if backend is not None:
        assert await backend.sees_the_close() == left
        assert outcome.orphaned == 0.0
    if phase is not Phase.QUEUED:
        play.assert_nothing_left()


@pytest.mark.parametrize("stream", [True, False], ids=["streamed", "whole"])
@pytest.mark.parametrize("phase", PHASES)
async def test_a_stream_is_one_task_and_its_return_the_proof(
    nursery: trio.Nursery, autojump_clock: object, phase: Phase, stream: bool
) -> None:
    """It starts no other task, and the nursery that it lives in is not left before all that it held is given back."""
    async with trio.open_nursery() as connection:
        play = Play(connection, dial_time=999.0 if phase is Phase.CONNECTING else 0.0, connect=9999.0)
        await bring_to(play, phase, stream=stream)
        assert len(connection.child_tasks) == len(play.live)
        assert all(task.child_nurseries == [] for task in connection.child_tasks)
        assert any(running.phase is phase for running in play.live)
        connection.cancel_scope.cancel(reason="the connection is gone")
    play.assert_nothing_left()
    assert (await play.outcome()).reason is Reason.SHUTDOWN


@pytest.mark.parametrize("phase", PHASES)
@pytest.mark.parametrize("reason", [Reason.SHUTDOWN, Reason.KILLED])
async def test_an_end_by_the_owner_is_told_in_every_phase(
    nursery: trio.Nursery, autojump_clock: object, phase: Phase, reason: Reason
) -> None:
    play = Play(nursery, dial_time=999.0 if phase is Phase.CONNECTING else 0.0, connect=9999.0)
    client, backend = await bring_to(play, phase)
    ended = trio.current_time()
    for stream in play.live:
        if stream.phase is phase:
            stream.end(reason, "the owner says so")
            stream.end(Reason.SUPERSEDED, "too late")

    outcome = await play.outcome()
    assert (outcome.reason, outcome.phase, outcome.message) == (reason, phase, "the owner says so")
    assert trio.current_time() == ended
    began = phase in (Phase.STREAMING, Phase.FINISHING)
    assert (client.status, client.error, client.finished) == (200 if began else 503, reason.value, True)
    if backend is not None:
        assert await backend.sees_the_close() == ended


@pytest.mark.parametrize("how", ["clean end", "hang-up", "done without finish"])
@pytest.mark.parametrize("phase", [Phase.PREFILL, Phase.STREAMING])
async def test_an_end_without_terminal_marker_is_an_error(
    nursery: trio.Nursery, autojump_clock: object, phase: Phase, how: str
) -> None:
    play = Play(nursery)
    client, backend = await bring_to(play, phase)
    assert backend is not None
    if how == "clean end":
        await backend.ends()
    elif how == "hang-up":
        await backend.hangs_up()
    else:
        await backend.says(DONE)
    outcome = await play.outcome()
    assert (outcome.reason, client.error) == (Reason.BACKEND_TRUNCATED, "backend_truncated")
    if phase is Phase.STREAMING:
        closing, error, done = client.frames[-3:]
        assert closing["choices"] == [{"index": 0, "delta": {}, "finish_reason": "error"}]  # type: ignore[index]
        assert set(error) == {"error"} and done == "[DONE]"  # type: ignore[call-overload]
    else:
        assert client.status == 502
    play.assert_nothing_left()


@pytest.mark.parametrize("how", ["clean end", "hang-up"])
async def test_a_finish_reason_without_done_is_a_good_end(
    nursery: trio.Nursery, autojump_clock: object, how: str
) -> None:
    play = Play(nursery)
    client, backend = await bring_to(play, Phase.FINISHING)
    assert backend is not None
    await (backend.ends() if how == "clean end" else backend.hangs_up())
    outcome = await play.outcome()
    assert (outcome.reason, client.text, client.finished) == (Reason.COMPLETED, "A", True)
    assert client.got.endswith(DONE)


@pytest.mark.parametrize(
    ("said", "reason", "word"),
    [
        (b"data: {nonsense\n\n", Reason.BACKEND_GARBLED, "not JSON"),
        (b'data: {"choices": 5}\n\n', Reason.BACKEND_GARBLED, "another shape"),
        (b'data: {"error": {"message": "out of memory", "code": 500}}\n\n', Reason.BACKEND_REFUSED, "an error (500)"),
        (chunk("late") + finish() + chunk("later"), Reason.BACKEND_GARBLED, "after its finish reason"),
    ],
)
async def test_bad_frames_in_mid_answer_lose_no_token_before_them(
    nursery: trio.Nursery, autojump_clock: object, said: bytes, reason: Reason, word: str
) -> None:
    play = Play(nursery)
    client, backend = await bring_to(play, Phase.STREAMING)
    assert backend is not None
    await backend.says(chunk("B") + said)
    outcome = await play.outcome()
    assert outcome.reason is reason
    assert word in (outcome.message or "")
    assert client.text.startswith("AB")
    assert client.error == reason.value
    assert client.got.count(b"[DONE]") == 1
    play.assert_nothing_left()


async def test_a_broken_http_body_is_garbled(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery)
    client, backend = await bring_to(play, Phase.STREAMING)
    assert backend is not None
    await backend.stream.send_all(b"not a chunk size\r\n")
    outcome = await play.outcome()
    assert (outcome.reason, client.error) == (Reason.BACKEND_GARBLED, "backend_garbled")


@pytest.mark.parametrize(
    ("head", "reason", "status"),
    [
        (
            b"HTTP/1.1 404 Not Found\r\nContent-Length: 26\r\n\r\n" + b'{"error":{"message":"no"}}',
            "backend_refused",
            404,
        ),
        (b"HTTP/1.1 302 Found\r\nLocation: http://evil.test/\r\nContent-Length: 0\r\n\r\n", "backend_refused", 502),
        (b"HTTP/1.1 500 Oops\r\nContent-Length: 100\r\n\r\ncut", "backend_refused", 500),
        (b"HTTP/1.1 429 No\r\nTransfer-Encoding: chunked\r\n\r\nno size\r\n", "backend_refused", 429),
        (b"SSH-2.0-OpenSSH_9.2\r\n", "backend_garbled", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nContent-Length: 3\r\n\r\nxyz", "backend_garbled", 502),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n", "backend_garbled", 502),
        (b"HTTP/1.1 100 Continue\r\n\r\n" * 20, "backend_garbled", 502),
    ],
    ids=["404", "redirect", "cut 500", "garbled 429", "not http", "gzip", "two lengths", "interim storm"],
)
async def test_heads_that_are_no_answer_keep_a_real_status(
    nursery: trio.Nursery, autojump_clock: object, head: bytes, reason: str, status: int
) -> None:
    play = Play(nursery)
    client = play.asks()
    backend = await play.backend()
    await backend.begins(head)
    await backend.hangs_up()
    outcome = await play.outcome()
    assert (outcome.reason.value, client.status) == (reason, status)
    play.assert_nothing_left()


async def test_a_failure_after_the_grace_is_told_in_band(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery)
    client = play.asks(grace=2.0)
    backend = await play.backend()
    await trio.sleep(2.5)
    assert (client.status, client.got) == (200, b": keep-alive\n")
    await backend.begins(b"HTTP/1.1 503 Busy\r\nContent-Length: 0\r\n\r\n")
    outcome = await play.outcome()
    assert (outcome.reason, client.status, client.error) == (Reason.BACKEND_REFUSED, 200, "backend_refused")


async def test_a_whole_answer_is_kept_alive_by_white_space(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery)
    client = play.asks(stream=False, grace=2.0, heartbeat=5.0)
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"))
    await trio.sleep(20)
    assert (client.status, client.got.strip()) == (200, b"")
    assert len(client.got) == 4
    await backend.says(chunk("B"), finish(), DONE)
    outcome = await play.outcome()
    assert outcome.reason is Reason.COMPLETED
    assert b'"content":"AB"' in client.got
    assert client.finished


async def test_a_whole_answer_that_fails_after_its_status_is_cut(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery)
    client = play.asks(stream=False, grace=2.0)
    backend = await play.backend()
    await trio.sleep(3)
    await backend.hangs_up()
    outcome = await play.outcome()
    assert (outcome.reason, client.status) == (Reason.CONNECT_FAILED, 200)
    assert (client.was_cut, client.finished) == (True, False)
    assert b'"code":"connect_failed"' in client.got


async def test_heartbeats_end_with_the_stream(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, first_token=21.0)
    client = play.asks(grace=2.0, heartbeat=5.0)
    backend = await play.backend()
    await backend.begins()
    for _ in range(21):
        await backend.says(PING)
        await trio.sleep(1)
    await play.outcome()
    assert client.times[:4] == [2.0, 7.0, 12.0, 17.0]
    assert client.times[-1] == 21.0
    await trio.sleep(100)
    assert client.times[-1] == 21.0


async def test_heartbeats_shorter_than_the_grace_are_on_time_too(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, silence=1.75)
    client = play.asks(grace=2.0, heartbeat=0.5)
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"))
    await play.outcome()
    assert (client.times[:4], client.error) == ([0.0, 0.5, 1.0, 1.5], "silence")


async def test_the_next_target_is_tried_before_the_first_content(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, backends=3, refuses=(0,))
    client = play.asks()
    second = await play.backend(1)
    await second.begins()
    await second.says(role())
    await second.hangs_up()
    third = await play.backend(2)
    await third.begins()
    await third.says(role(), chunk("C"), finish(), DONE)
    outcome = await play.outcome()
    assert play.fallbacks == [("b0", Reason.CONNECT_FAILED), ("b1", Reason.BACKEND_TRUNCATED)]
    assert (outcome.reason, outcome.backend, outcome.attempts, client.text) == (Reason.COMPLETED, "b2", 3, "C")
    assert client.headers["x-penstock-target"] == "b2/m"
    roles = [f for f in client.frames if isinstance(f, dict) and f["choices"][0]["delta"].get("role")]
    assert len(roles) == 1
    play.assert_nothing_left()


async def test_no_other_target_after_the_first_content(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, backends=2)
    client = play.asks()
    first = await play.backend(0)
    await first.begins()
    await first.says(role(), chunk("A"))
    await first.hangs_up()
    outcome = await play.outcome()
    assert (outcome.reason, outcome.attempts, client.text) == (Reason.BACKEND_TRUNCATED, 1, "A")


async def test_a_slot_goes_to_the_next_in_line_when_its_stream_ends(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery, slots=1)
    first = play.asks()
    await play.backend()
    await trio.testing.wait_all_tasks_blocked()
    second, third = play.asks(), play.asks()
    await trio.testing.wait_all_tasks_blocked()
    second.leave()
    assert (await play.outcome()).reason is Reason.CLIENT_GONE
    first.leave()
    assert (await play.outcome()).reason is Reason.CLIENT_GONE
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("3"), finish(), DONE)
    assert (await play.outcome()).reason is Reason.COMPLETED
    assert (third.text, first.text, second.text) == ("3", "", "")
    play.assert_nothing_left()


async def test_a_kept_connection_that_died_is_replaced_once(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery)
    play.asks()
    first = await play.backend()
    await first.begins()
    await first.says(role(), chunk("A"), finish(), DONE)
    await first.ends()
    assert (await play.outcome()).reason is Reason.COMPLETED
    assert play.backends[0].transport.idle == 1

    client = play.asks()
    await first.request()
    await first.hangs_up()
    second = await play.backend()
    await second.begins()
    await second.says(role(), chunk("B"), finish(), DONE)
    outcome = await play.outcome()
    assert (outcome.reason, outcome.attempts, client.text) == (Reason.COMPLETED, 1, "B")
    play.assert_nothing_left()


async def test_a_client_that_leaves_with_all_it_wanted_costs_no_connection(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"), finish(), DONE)
    await trio.testing.wait_all_tasks_blocked()
    assert client.finished
    client.leave()
    await trio.testing.wait_all_tasks_blocked()
    await backend.ends()
    assert (await play.outcome()).reason is Reason.COMPLETED
    assert play.backends[0].transport.idle == 1


async def test_translated_streams_get_the_errors_of_their_dialect(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery, north="ollama", kind="ollama")
    client = play.asks()
    backend = await play.backend()
    await backend.begins(NDJSON_HEAD)
    line = (
        b'{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"A"},"done":false}\n'
    )
    await backend.says(line)
    await trio.sleep(11)
    assert client.got == line + b"  "
    await backend.says(b'{"error":"the runner died"}\n')
    outcome = await play.outcome()
    assert outcome.reason is Reason.BACKEND_REFUSED
    assert client.got == line + b'  {"error":"the runner died"}\n'
    assert client.finished


async def test_what_comes_after_a_whole_answer_is_told_to_nobody(nursery: trio.Nursery, autojump_clock: object) -> None:
    """A chunk that is none, behind the last one: the client has its end, and a next answer may follow on its line."""
    play = Play(nursery)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"), finish(), DONE)
    await trio.testing.wait_all_tasks_blocked()
    assert client.finished
    await backend.stream.send_all(b"no size\r\n")

    outcome = await play.outcome()
    assert outcome.reason is Reason.COMPLETED
    assert (client.text, client.was_cut) == ("A", False)
    assert client.got.endswith(DONE)
    play.assert_nothing_left()
    assert play.backends[0].transport.idle == 0


async def test_behind_the_end_of_an_answer_no_error_is_told(
    nursery: trio.Nursery, autojump_clock: object, monkeypatch: pytest.MonkeyPatch
) -> None:
    """All of the answer was taken, what ends its body was not, and the total budget is spent."""

    async def stuck(self: FakeClient, write: float) -> None:
        await trio.sleep(write)
        raise ClientStalled("stalled")

    monkeypatch.setattr(FakeClient, "finish", stuck)
    play = Play(nursery, total=60.0, write=3600.0)
    client = play.asks()
    backend = await play.backend()
    await backend.begins()
    await backend.says(role(), chunk("A"), finish(), DONE)

    outcome = await play.outcome()
    assert (outcome.reason, trio.current_time()) == (Reason.COMPLETED, 60.0)
    assert client.got.endswith(DONE)
    assert client.was_cut
    play.assert_nothing_left()
