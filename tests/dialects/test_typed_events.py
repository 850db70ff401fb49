"""Typed events: what may be asked, and that every event's data is one JSON value."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.chat.events import PULSE, Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Message, Operation, Request, Tool
from penstock.dialects.base import Identity, Timing, Writer
from penstock.dialects.registry import SOUTHBOUND
from penstock.dialects.typed_events import typed_events_north
from penstock.errors import BackendGarbled, BackendTruncated, BadRequest


def parse(**body: object) -> Request:
    return typed_events_north.parse("chat", json.dumps(body).encode())


def writer() -> Writer:
    return typed_events_north.writer(parse(message="hi"), Identity(stream="7f3k", created=1.0), passthrough=False)


def told(body: bytes) -> list[tuple[str, Any]]:
    """Name and value of each event, taken apart by the letter."""
    assert body.endswith(b"\n\n")
    first, *rest = body.decode().removesuffix("\n\n").split("\n\n")
    assert first.startswith("id: 7f3k\n"), "the first event carries the stream's id"
    found = []
    for block in (first.removeprefix("id: 7f3k\n"), *rest):
        name, data = block.removeprefix(": keep-alive\n").split("\n")
        assert name.startswith("event: ") and data.startswith("data: ")
        found.append((name[7:], json.loads(data[6:])))
    return found


STOP = Finish(FinishReason.STOP)
CALLED = Finish(FinishReason.TOOL_CALLS)
CALL = [ToolDelta(0, "c1", "look", '{"a"'), ToolDelta(0, arguments=":1}"), ToolDelta(1, "c2", "see")]
NO_USAGE = {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}

CASES: dict[str, tuple[list[Event], list[tuple[str, object]]]] = {
    "text": (
        [Opened(), PULSE, Thinking("hm"), Text(" a"), Text('"\n\u2028é'), STOP, Usage(3, 2)],
        [
            ("thinking", "hm"),
            ("token", " a"),
            ("token", '"\n\u2028é'),
            ("done", {"reason": "stop", "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}}),
        ],
    ),
    "nothing": ([STOP], [("done", {"reason": "stop", "usage": NO_USAGE})]),
    "tools": (
        [Text("a"), *CALL, CALLED],
        [
            ("token", "a"),
            ("tool", {"name": "look", "arguments": {"a": 1}}),
            ("tool", {"name": "see", "arguments": {}}),
            ("done", {"reason": "tool_calls", "usage": NO_USAGE}),
        ],
    ),
    "a tool call that was cut short is none": (
        [ToolDelta(0, "c1", "look", '{"a"'), Finish(FinishReason.LENGTH)],
        [("done", {"reason": "length", "usage": NO_USAGE})],
    ),
}


@pytest.mark.parametrize(("events", "expected"), CASES.values(), ids=CASES)
def test_an_answer_is_told(events: list[Event], expected: list[tuple[str, object]]) -> None:
    whole = writer()
    body = whole.write(events) + whole.end(Timing())
    assert told(body) == expected
    assert not {"\u2028", "\u2029", "\x85"} & set(body.decode())
    single = writer()
    assert b"".join(single.write([event]) for event in events) + single.end(Timing()) == body


def test_a_heartbeat_is_a_comment_before_an_event() -> None:
    it = writer()
    body = it.write([Text("a")]) + it.heartbeat() + it.write([STOP]) + it.end(Timing())
    assert [name for name, _ in told(body)] == ["token", "done"]


def test_a_failure_is_the_last_event() -> None:
    it = writer()
    body = it.write([Text("a")]) + it.fail(BackendTruncated("it broke"))
    assert told(body) == [("token", "a"), ("error", {"error": "it broke", "reason": "backend_truncated"})]
    assert it.clean_failure


def test_arguments_that_are_no_object_are_the_backends_fault() -> None:
    it = writer()
    it.write([ToolDelta(0, "c1", "look", "[1]"), CALLED])
    with pytest.raises(BackendGarbled, match="look"):
        it.end(Timing())


def test_a_message_is_a_chat_of_one_turn() -> None:
    request = parse(message="hi")
    assert (request.dialect, request.operation, request.model, request.stream) == (
        "typed_events",
        Operation.CHAT,
        "",
        True,
    )
    assert request.messages == (Message(role="user", content="hi"),)
    assert request.unmapped == ()


def test_a_message_follows_the_messages() -> None:
    request = parse(
        messages=[{"role": "system", "content": "s"}],
        message="hi",
        model="m",
        temperature=0.5,
        tools=[{"type": "function", "function": {"name": "look"}}],
        strange=1,
    )
    assert [(message.role, message.content) for message in request.messages] == [("system", "s"), ("user", "hi")]
    assert (request.model, request.sampling.temperature, request.tools) == ("m", 0.5, (Tool(name="look"),))
    assert request.unmapped == ("strange",)
    assert json.loads(SOUTHBOUND["openai"].encode(request, "m").body)["stream"] is True


@pytest.mark.parametrize(
    "body", [{}, {"model": "m"}, {"messages": []}, {"message": 5}, {"messages": "hi"}, {"messages": [{"role": 1}]}]
)
def test_without_a_message_there_is_nothing_to_answer(body: dict[str, object]) -> None:
    with pytest.raises(BadRequest, match="message") as caught:
        parse(**body)
    assert set(json.loads(typed_events_north.error(caught.value))) == {"error", "reason"}
