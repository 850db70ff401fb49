"""A backend that answers in one piece, and one that tells its counts only when asked: their clients notice neither."""

from __future__ import annotations

import json

import pytest
import trio
from playbook import DONE, NDJSON_HEAD, Conversation, Play, chunk, finish

from penstock.chat.reasons import Reason
from penstock.config.model import MANNER, Manner

WHOLE = Manner(stream="never", piece=10)
JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nTransfer-Encoding: chunked\r\n\r\n"
TEXT = "The quick brown fox jumps over the lazy dog."
PIECES = ["The quick ", "brown fox ", "jumps over", " the lazy ", "dog."]


def answer(**message: object) -> bytes:
    choice = {"index": 0, "message": {"role": "assistant", "content": TEXT, **message}, "finish_reason": "stop"}
    usage = {"prompt_tokens": 7, "completion_tokens": 9, "total_tokens": 16}
    return json.dumps(
        {"id": "c", "object": "chat.completion", "created": 1, "choices": [choice], "usage": usage}
    ).encode()


async def test_heartbeats_then_the_answer_in_pieces(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, manner=WHOLE)
    client = play.asks(stream_options={"include_usage": True})
    backend = await play.backend()
    asked = json.loads(backend.asked.partition(b"\r\n\r\n")[2])
    assert asked["stream"] is False
    assert "stream_options" not in asked
    await trio.sleep(60)
    call = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
    await backend.begins(JSON_HEAD)
    await backend.says(answer(reasoning_content="hm", tool_calls=[call]))
    await backend.ends()

    outcome = await play.outcome()
    assert outcome.reason is Reason.COMPLETED
    assert (outcome.tokens, outcome.prompt_tokens) == (9, 7)
    # after the grace of 2 s, then every 5 s
    assert client.got.count(b": keep-alive") == outcome.heartbeats == 12
    *chunks, usage, done = client.frames
    assert (done, usage["usage"]["total_tokens"]) == ("[DONE]", 16)  # type: ignore[index]
    deltas = [chunk["choices"][0]["delta"] for chunk in chunks]  # type: ignore[index]
    assert deltas[0]["role"] == "assistant"
    assert [delta["content"] for delta in deltas[1:] if delta.get("content")] == PIECES
    assert [delta["reasoning_content"] for delta in deltas if delta.get("reasoning_content")] == ["hm"]
    (told,) = [delta["tool_calls"][0] for delta in deltas if delta.get("tool_calls")]
    assert (told["function"]["name"], told["function"]["arguments"]) == ("look", '{"at":1}')
    assert chunks[-1]["choices"][0]["finish_reason"] == "tool_calls"  # type: ignore[index]
    play.assert_nothing_left()


@pytest.mark.parametrize("manner", [WHOLE, MANNER], ids=["whole", "streamed at once"])
async def test_what_came_before_a_broken_call_is_told(
    manner: Manner, nursery: trio.Nursery, autojump_clock: object
) -> None:
    play = Play(nursery, manner=manner, north="ollama")
    client = play.asks()
    backend = await play.backend()
    call = {"index": 0, "id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":'}}
    if manner is WHOLE:
        await backend.begins(JSON_HEAD)
        await backend.says(answer(tool_calls=[call]))
        await backend.ends()
    else:
        await backend.begins()
        await backend.says(chunk(TEXT) + chunk(delta={"tool_calls": [call]}) + finish("tool_calls") + DONE)

    outcome = await play.outcome()
    assert outcome.reason is Reason.BACKEND_GARBLED
    *said, error = [json.loads(line) for line in client.got.splitlines()]
    assert "".join(line["message"]["content"] for line in said) == TEXT
    assert not any(line["done"] for line in said)
    assert "no JSON object: look" in error["error"]
    assert client.finished
    play.assert_nothing_left()


async def test_all_of_the_answer_is_due_in_the_first_token_budget(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    """Neither the head nor half of the answer is a token, and nor is the blank space that some send meanwhile."""
    play = Play(nursery, manner=WHOLE, first_token=30.0, silence=5.0)
    client = play.asks()
    backend = await play.backend()
    begun = trio.current_time()
    await trio.sleep(10)
    await backend.begins(JSON_HEAD)
    await backend.says(b"\n")
    await trio.sleep(10)
    await backend.says(answer()[:50])

    outcome = await play.outcome()
    assert (outcome.reason, trio.current_time() - begun) == (Reason.FIRST_TOKEN_TIMEOUT, 30.0)
    assert client.error == "first_token_timeout"
    assert await backend.sees_the_close() == trio.current_time()
    play.assert_nothing_left()


@pytest.mark.parametrize("cut", ["head", "body"])
async def test_a_client_that_leaves_takes_it_along(nursery: trio.Nursery, autojump_clock: object, cut: str) -> None:
    play = Play(nursery, manner=WHOLE)
    client = play.asks()
    backend = await play.backend()
    if cut == "body":
        await backend.begins(JSON_HEAD)
        await backend.says(answer()[:50])
    await trio.sleep(20)
    client.leave()
    outcome = await play.outcome()
    assert outcome.reason is Reason.CLIENT_GONE
    assert await backend.sees_the_close() == trio.current_time()
    play.assert_nothing_left()


async def test_half_an_answer_is_told_to_be_none(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, manner=WHOLE)
    client = play.asks()
    backend = await play.backend()
    await trio.sleep(3)
    await backend.begins(JSON_HEAD)
    await backend.says(answer()[:50])
    await backend.ends()
    outcome = await play.outcome()
    assert outcome.reason in (Reason.BACKEND_GARBLED, Reason.BACKEND_TRUNCATED)
    assert client.error == outcome.reason
    assert b"[DONE]" in client.got
    assert client.text == ""


async def test_a_failure_in_time_keeps_its_status(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, manner=WHOLE)
    client = play.asks()
    backend = await play.backend()
    body = b'{"error":{"message":"too long","code":400}}'
    head = b"HTTP/1.1 400 Bad Request\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
    await backend.stream.send_all(head % len(body) + body)
    assert (await play.outcome()).reason is Reason.BACKEND_REFUSED
    assert client.status == 400


async def test_a_server_that_streams_all_the_same(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, manner=WHOLE, kind="ollama", north="ollama")
    client = play.asks()
    backend = await play.backend()
    await backend.begins(NDJSON_HEAD)
    for text, done in (("A", False), ("B", True)):
        line = {"model": "m", "created_at": "2026-01-01T00:00:00Z", "message": {"role": "assistant", "content": text}}
        await backend.says(json.dumps({**line, "done": done}).encode() + b"\n")
    await backend.ends()
    assert (await play.outcome()).reason is Reason.COMPLETED
    lines = [json.loads(line) for line in client.got.splitlines()]
    assert "".join(line["message"]["content"] for line in lines) == "AB"


# --- counts that must be asked for -----------------------------------------------------------------------------------

KOBOLD_HEAD = b"HTTP/1.0 200 OK\r\nContent-Type: text/event-stream\r\nConnection: close\r\n\r\n"


async def kobold_answer(play: Play) -> Conversation:
    """A whole stream of KoboldCpp's OpenAI layer, which tells no counts: its body ends with the connection."""
    backend = await play.backend()
    await backend.begins(KOBOLD_HEAD)
    for delta, reason in (({"role": "assistant", "content": "A"}, None), ({}, "stop")):
        frame = {"id": "koboldcpp", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        await backend.stream.send_all(b"data: %b\n\n" % json.dumps(frame).encode())
    await backend.stream.send_all(b"data: [DONE]\n\n")
    await backend.hangs_up()
    return backend


async def test_an_old_koboldcpp_says_nothing_until_it_has_all(nursery: trio.Nursery, autojump_clock: object) -> None:
    """With tools 1.104 sends not even a head before; then chunks, and ``tool_calls`` for an end without any call."""
    play = Play(nursery, kind="koboldcpp")
    client = play.asks(tools=[{"type": "function", "function": {"name": "look"}}])
    backend = await play.backend()
    await trio.sleep(100)
    await backend.begins(KOBOLD_HEAD)
    for delta, reason in (({"role": "assistant", "content": "AB"}, None), ({"role": "assistant"}, "tool_calls")):
        frame = {"id": "koboldcpp", "choices": [{"index": 0, "delta": delta, "finish_reason": reason}]}
        await backend.stream.send_all(b"data: %b\n\n" % json.dumps(frame).encode())
    await backend.stream.send_all(b"data: [DONE]\n\n")
    await backend.hangs_up()
    outcome = await play.outcome()
    assert (outcome.reason, outcome.heartbeats) == (Reason.COMPLETED, 20)
    assert client.text == "AB"
    assert client.frames[-2]["choices"][0]["finish_reason"] == "stop"  # type: ignore[index]


@pytest.mark.parametrize("said", ["", "A"])
async def test_a_crash_is_no_end_of_a_body_without_length(
    nursery: trio.Nursery, autojump_clock: object, said: str
) -> None:
    """The close of the connection ends KoboldCpp's bodies, good or bad: only the finish reason tells."""
    play = Play(nursery, kind="koboldcpp")
    client = play.asks()
    backend = await play.backend()
    await backend.begins(KOBOLD_HEAD)
    if said:
        chunk = {"id": "koboldcpp", "choices": [{"index": 0, "delta": {"content": said}, "finish_reason": None}]}
        await backend.stream.send_all(b"data: %b\n\n" % json.dumps(chunk).encode())
    await backend.hangs_up()
    # it may be at work all the same
    abort = await play.backend()
    assert abort.asked.startswith(b"POST /api/extra/abort ")
    await abort.stream.send_all(b"HTTP/1.0 200 OK\r\nContent-Length: 0\r\n\r\n")
    outcome = await play.outcome()
    assert outcome.reason is Reason.BACKEND_TRUNCATED
    assert client.error == "backend_truncated"
    play.assert_nothing_left()


async def test_koboldcpp_is_asked_for_its_counts(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, kind="koboldcpp")
    client = play.asks(stream_options={"include_usage": True})
    await kobold_answer(play)
    question = await play.question()
    assert question.asked.startswith(b"GET /api/extra/perf ")
    body = b'{"last_input_count":7,"last_token_count":3}'
    await question.stream.send_all(b"HTTP/1.0 200 OK\r\nContent-Length: %d\r\n\r\n" % len(body) + body)
    outcome = await play.outcome()
    assert (outcome.reason, outcome.tokens, outcome.prompt_tokens) == (Reason.COMPLETED, 3, 7)
    *_, usage, done = client.frames
    assert (usage["usage"], done) == (  # type: ignore[index]
        {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10},
        "[DONE]",
    )
    play.assert_nothing_left()


async def test_who_does_not_tell_them_in_time_holds_nobody_up(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, kind="koboldcpp")
    client = play.asks(stream_options={"include_usage": True})
    await kobold_answer(play)
    question = await play.question()
    asked = trio.current_time()
    outcome = await play.outcome()
    assert (outcome.reason, trio.current_time() - asked) == (Reason.COMPLETED, 0.5)
    assert client.text == "A"
    assert client.frames[-1] == "[DONE]"
    await question.sees_the_close()
    play.assert_nothing_left()


async def test_with_several_slots_the_last_answer_may_be_another_stream_s(
    nursery: trio.Nursery, autojump_clock: object
) -> None:
    """…so that nobody is asked for its counts: the pieces are counted."""
    play = Play(nursery, kind="koboldcpp", slots=2)
    client = play.asks(stream_options={"include_usage": True})
    await kobold_answer(play)
    outcome = await play.outcome()
    assert (outcome.reason, outcome.prompt_tokens) == (Reason.COMPLETED, None)
    assert client.frames[-2]["usage"] == {"prompt_tokens": 0, "completion_tokens": 1, "total_tokens": 1}  # type: ignore[index]
    play.assert_nothing_left()


async def test_a_client_that_leaves_meanwhile(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, kind="koboldcpp")
    client = play.asks(stream_options={"include_usage": True})
    await kobold_answer(play)
    question = await play.question()
    left = trio.current_time()
    client.leave()
    assert (await play.outcome()).reason is Reason.CLIENT_GONE
    assert await question.sees_the_close() == left
    play.assert_nothing_left()
