"""WebSocket chats as a language: what each message of a client wants, and what it is told, as tables."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.chat.conversation import Conversation
from penstock.chat.events import PULSE, Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Message
from penstock.config.model import Limits
from penstock.dialects.base import Identity, Timing
from penstock.dialects.websocket import LONGEST_ID, PLAIN, Cancel, Chat, Create, Refused, Said, read, websocket_north
from penstock.errors import BadRequest, QueueFull, Silence

IDENTITY = Identity(stream="7f3k", created=1.0, target="b/m")
LOSSY = Identity(stream="7f3k", created=1.0, target="b/m", dropped=("top_k", "seed"))
MARKS = {"stream": "7f3k", "target": "b/m"}

# --- in --------------------------------------------------------------------------------------------------------------

SAID = [
    "hello",
    " two\nlines ",
    "42",
    '"quoted"',
    "[1, 2]",
    "null",
    "{not JSON",
    '{"type": "chat.create", "id": "c1"',
    "{}}",
    "{'type': 'chat.create'}",
    "é\u2028🚰",
]


@pytest.mark.parametrize("text", SAID)
def test_what_is_no_json_object_is_a_message(text: str) -> None:
    assert read(text) == Said(text)


COMMANDS: dict[str, Create | Cancel] = {
    '{"type": "chat.create", "id": "c1", "message": "hi"}': Create("c1", {"message": "hi"}),
    '\n {"id": "é", "model": "m", "type": "chat.create"}': Create("é", {"model": "m"}),
    '{"type": "chat.cancel", "id": "c1"}': Cancel("c1"),
    '{"type": "chat.cancel", "id": "c1", "why": "enough"}': Cancel("c1"),
    json.dumps({"type": "chat.cancel", "id": "x" * LONGEST_ID}): Cancel("x" * LONGEST_ID),
}


@pytest.mark.parametrize("text", COMMANDS)
def test_a_json_object_is_a_command(text: str) -> None:
    assert read(text) == COMMANDS[text]


REFUSED = {
    "": (None, "the message is empty"),
    " \n": (None, "the message is empty"),
    "{}": (None, "'id' must be a text of 1 to 64 characters"),
    '{"type": "chat.create", "message": "hi"}': (None, "'id' must be a text of 1 to 64 characters"),
    '{"type": "chat.create", "id": 1}': (None, "'id' must be a text of 1 to 64 characters"),
    '{"type": "chat.create", "id": ""}': (None, "'id' must be a text of 1 to 64 characters"),
    json.dumps({"type": "chat.cancel", "id": "x" * (LONGEST_ID + 1)}): (None, "'id' must be a text of 1 to 64"),
    '{"id": "c1"}': ("c1", '\'type\' must be "chat.create" or "chat.cancel"'),
    '{"type": "chat.delete", "id": "c1"}': ("c1", '\'type\' must be "chat.create" or "chat.cancel"'),
    '{"type": ["chat.create"], "id": "c1"}': ("c1", "'type' must be"),
    '{"id": "c1", "id": "c2"}': (None, "'id' twice"),
    '{"id": "c1", "seed": NaN}': (None, "NaN"),
    '{"id": "\\ud800"}': (None, "surrogate"),
    '{"id": "c1", "a": ' + "[" * 64 + "]" * 64 + "}": (None, "limits.depth"),
    '{"id": "c1", "a": ' + "[" * 100_000 + "]" * 100_000 + "}": (None, "limits.depth"),
    '{"id": "c1", "a": ' + "9" * 5000 + "}": (None, "64 bits"),
}


@pytest.mark.parametrize("text", REFUSED, ids=lambda text: text[:40])
def test_an_object_that_is_no_command_is_refused(text: str) -> None:
    refused = read(text)
    assert isinstance(refused, Refused)
    chat, why = REFUSED[text]
    assert refused.id == chat
    assert why in refused.error.message


@pytest.mark.parametrize(("deep", "wanted"), [(7, Cancel), (8, Cancel), (9, Refused)])
def test_the_shape_of_an_object_is_bounded(deep: int, wanted: type) -> None:
    text = '{"type": "chat.cancel", "id": "c1", "a": ' + "[" * (deep - 1) + "]" * (deep - 1) + "}"
    assert isinstance(read(text, shape=Limits(depth=8)), wanted)


@given(st.text())
def test_any_text_is_one_of_the_four(text: str) -> None:
    assert isinstance(read(text), Create | Cancel | Said | Refused)


def test_a_chat_is_asked_as_typed_events_are() -> None:
    request = Chat("c1").request({"messages": [{"role": "system", "content": "s"}], "message": "hi", "top_k": 3})
    assert request.dialect == "websocket"
    assert request.stream and request.include_usage
    assert request.model == ""
    assert request.messages == (Message(role="system", content="s"), Message(role="user", content="hi"))
    assert request.sampling.top_k == 3
    with pytest.raises(BadRequest, match="'message' is missing"):
        Chat("c1").request({"model": "m"})
    assert websocket_north.parse("chat", b'{"message": "hi", "model": "m"}').model == "m"


# --- out -------------------------------------------------------------------------------------------------------------

STOP, USAGE = Finish(FinishReason.STOP), Usage(3, 2)
COUNTS = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
CALL = [ToolDelta(0, "c1", "look", '{"a"'), ToolDelta(0, arguments=":1}"), ToolDelta(1, "c2", "see")]

TOLD: dict[str, tuple[Sequence[Event], list[dict[str, object]]]] = {
    "text": (
        [Opened(), PULSE, Thinking("hm"), Text("a"), Text('"\r\n\u2028\x85é'), STOP, USAGE],
        [
            {"type": "thinking", "text": "hm"},
            {"type": "token", "text": "a"},
            {"type": "token", "text": '"\r\n\u2028\x85é'},
            {"type": "done", "reason": "stop", "usage": COUNTS},
        ],
    ),
    "tools": (
        [*CALL, Finish(FinishReason.TOOL_CALLS), USAGE],
        [
            {"type": "tool", "name": "look", "arguments": {"a": 1}},
            {"type": "tool", "name": "see", "arguments": {}},
            {"type": "done", "reason": "tool_calls", "usage": COUNTS},
        ],
    ),
}


def lines(data: bytes) -> list[dict[str, Any]]:
    assert data.endswith(b"\n")
    return [json.loads(line) for line in data.splitlines()]


@pytest.mark.parametrize("case", TOLD)
def test_every_frame_names_its_chat_and_the_last_its_stream(case: str) -> None:
    events, expected = TOLD[case]
    chat = Chat("c1")
    writer = chat.writer(chat.request({"message": "hi"}), IDENTITY, passthrough=False)
    told = lines(b"".join(writer.write([event]) for event in events) + writer.end(Timing()))
    marks: list[dict[str, object]] = [*[{} for _ in expected[1:]], dict(MARKS)]
    assert told == [frame | {"id": "c1"} | mark for frame, mark in zip(expected, marks, strict=True)]


@given(st.lists(st.text(min_size=1), max_size=5))
def test_no_text_makes_a_frame_of_its_own(texts: list[str]) -> None:
    writer = Chat("c1").writer(Chat("c1").request({"message": "hi"}), IDENTITY, passthrough=False)
    data = writer.write([Text(text) for text in texts])
    assert [line["text"] for line in map(json.loads, data.splitlines())] == texts
    assert all(line for line in data.splitlines())


def test_an_error_says_what_a_status_and_headers_would() -> None:
    chat = Chat("c1")
    assert json.loads(chat.error(QueueFull("no place"))) == {
        "type": "error",
        "id": "c1",
        "error": "no place",
        "reason": "queue_full",
        "status": 503,
        "retry_after": 2.0,
    }
    writer = chat.writer(chat.request({"message": "hi"}), LOSSY, passthrough=False)
    expected = {"type": "error", "id": "c1", "error": "slow", "reason": "silence", "status": 504}
    expected |= MARKS | {"dropped": ["top_k", "seed"]}
    assert lines(writer.fail(Silence("slow"))) == [expected]
    # before anything was sent the relay asks the language itself
    assert json.loads(chat.error(Silence("slow"))) == expected


def test_what_belongs_to_no_chat_names_none() -> None:
    told = json.loads(websocket_north.error(BadRequest("no")))
    assert told == {"type": "error", "error": "no", "reason": "bad_request", "status": 400}
    # one language for all: an answer of one leaves no mark on the next
    websocket_north.writer(Chat("c1").request({"message": "hi"}), LOSSY, passthrough=False)
    assert json.loads(websocket_north.error(BadRequest("no"))) == told


@pytest.mark.parametrize("end", ["done", "error", "aside"])
def test_a_chat_is_over_with_its_last_frame(end: str) -> None:
    chat = Chat("c1")
    writer = chat.writer(chat.request({"message": "hi"}), IDENTITY, passthrough=False)
    writer.write([Opened(), Text("a"), STOP, USAGE])
    assert not chat.over
    if end == "done":
        writer.end(Timing())
    elif end == "error":
        writer.fail(Silence("slow"))
    else:
        assert json.loads(chat.aside(BadRequest("no")))["running"] is True
    assert chat.over is (end != "aside")


def test_a_heartbeat_is_an_empty_line() -> None:
    chat = Chat("c1")
    writer = chat.writer(chat.request({"message": "hi"}), IDENTITY, passthrough=False)
    assert writer.heartbeat().splitlines() == [b""]


# --- the conversation of plain text ----------------------------------------------------------------------------------


def answer(conversation: Conversation, *texts: str) -> None:
    chat = Chat(PLAIN, conversation)
    writer = chat.writer(chat.request({"message": "hi"}), IDENTITY, passthrough=False)
    writer.write([Thinking("not this"), *map(Text, texts), STOP, USAGE])
    writer.end(Timing())


def said(*texts: str) -> list[dict[str, object]]:
    return [{"role": ("user", "assistant")[n % 2], "content": text} for n, text in enumerate(texts)]


def test_a_conversation_goes_on() -> None:
    conversation = Conversation(100)
    assert conversation.ask("one") == said("one")
    answer(conversation, "1", "!")
    assert conversation.ask("two") == said("one", "1!", "two")
    answer(conversation, "2")
    assert conversation.ask("three") == said("one", "1!", "two", "2", "three")


def test_what_was_not_answered_was_never_said() -> None:
    conversation = Conversation(100)
    conversation.ask("lost")
    assert conversation.ask("one") == said("one")


@pytest.mark.parametrize(("room", "kept"), [(0, 0), (9, 0), (10, 1), (19, 1), (20, 2), (29, 2), (30, 3), (99, 3)])
def test_the_oldest_turns_go_first(room: int, kept: int) -> None:
    conversation = Conversation(room)
    for _ in range(3):
        conversation.ask("frage")
        answer(conversation, "réply"[:4])
    assert len(conversation.ask("?")) == 2 * kept + 1
