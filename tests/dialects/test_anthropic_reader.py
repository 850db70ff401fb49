"""What Anthropic's API and its copies send and what is understood: one table, every row cut in every way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.chat.events import PULSE, Event, Failed, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.dialects.anthropic import anthropic_north, anthropic_south
from penstock.dialects.base import Limits, Reader

CHAT = anthropic_north.parse("chat", b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}')


def frame(kind: str, **fields: Any) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **fields}).encode())


def start(index: int, **block: Any) -> bytes:
    return frame("content_block_start", index=index, content_block=block)


def delta(index: int, kind: str, **fields: Any) -> bytes:
    return frame("content_block_delta", index=index, delta={"type": kind, **fields})


def stop(index: int) -> bytes:
    return frame("content_block_stop", index=index)


def last(reason: str | None, **usage: int) -> bytes:
    return frame("message_delta", delta={"stop_reason": reason, "stop_sequence": None}, usage=usage)


HEAD = frame(
    "message_start",
    message={
        "id": "msg_1",
        "type": "message",
        "role": "assistant",
        "model": "claude",
        "content": [],
        "stop_reason": None,
        "stop_sequence": None,
        "usage": {
            "input_tokens": 5,
            "cache_read_input_tokens": 3,
            "cache_creation_input_tokens": 2,
            "output_tokens": 1,
        },
    },
)
OPENED = Opened("msg_1", None, "claude", HEAD)
PING = frame("ping")
TEXT = start(0, type="text", text="")
A = delta(0, "text_delta", text="a")
B = delta(0, "text_delta", text="b")
END = last("end_turn", output_tokens=7)
STOP = frame("message_stop")
USAGE = Usage(10, 7, cached_tokens=3)
SIGNED = delta(0, "signature_delta", signature="abc=")
SEARCH = start(0, type="server_tool_use", id="s", name="web_search", input={})
CALL = start(1, type="tool_use", id="toolu_1", name="f", input={})

#: name, what the backend sends, the events, whether the answer is complete
ROWS: list[tuple[str, bytes, list[Event], bool]] = [
    (
        "every frame is carried by an event",
        HEAD + TEXT + A + B + stop(0) + END + STOP,
        [
            OPENED,
            PULSE,
            Text("a", TEXT + A),
            Text("b", B),
            PULSE,
            Finish(FinishReason.STOP, stop(0) + END),
            USAGE,
        ],
        True,
    ),
    (
        "thinking and its signature",
        HEAD
        + start(0, type="thinking", thinking="", signature="")
        + delta(0, "thinking_delta", thinking="r")
        + SIGNED
        + stop(0)
        + delta(1, "text_delta", text="a"),
        [
            OPENED,
            PULSE,
            Thinking(
                "r", start(0, type="thinking", thinking="", signature="") + delta(0, "thinking_delta", thinking="r")
            ),
            PULSE,
            PULSE,
            Text("a", SIGNED + stop(0) + delta(1, "text_delta", text="a")),
        ],
        False,
    ),
    (
        "a call after text",
        HEAD
        + TEXT
        + A
        + stop(0)
        + CALL
        + delta(1, "input_json_delta", partial_json="")
        + delta(1, "input_json_delta", partial_json='{"x":')
        + delta(1, "input_json_delta", partial_json="1}")
        + stop(1)
        + last("tool_use", output_tokens=7)
        + STOP,
        [
            OPENED,
            PULSE,
            Text("a", TEXT + A),
            PULSE,
            ToolDelta(0, "toolu_1", "f", "", stop(0) + CALL),
            PULSE,
            ToolDelta(
                0,
                arguments='{"x":',
                raw=delta(1, "input_json_delta", partial_json="") + delta(1, "input_json_delta", partial_json='{"x":'),
            ),
            ToolDelta(0, arguments="1}", raw=delta(1, "input_json_delta", partial_json="1}")),
            PULSE,
            Finish(FinishReason.TOOL_CALLS, stop(1) + last("tool_use", output_tokens=7)),
            USAGE,
        ],
        True,
    ),
    (
        "input beside the start of a call",
        HEAD + (whole := start(0, type="tool_use", id="i", name="f", input={"x": 1})) + END,
        [OPENED, ToolDelta(0, "i", "f", '{"x":1}', whole), Finish(FinishReason.TOOL_CALLS, END), USAGE],
        True,
    ),
    (
        "a tool that runs at the backend is none of the client's",
        HEAD + SEARCH + delta(0, "input_json_delta", partial_json="{}") + stop(0) + END + STOP,
        [
            OPENED,
            PULSE,
            PULSE,
            PULSE,
            Finish(FinishReason.STOP, SEARCH + delta(0, "input_json_delta", partial_json="{}") + stop(0) + END),
            USAGE,
        ],
        True,
    ),
    ("pings are signs of life", HEAD + PING + b": x\n" + b"event: ping\n\n" + TEXT, [OPENED, *[PULSE] * 4], False),
    (
        "an event nobody knows goes with the next",
        HEAD + (new := frame("new_thing", x=1)) + TEXT + A,
        [OPENED, PULSE, PULSE, Text("a", new + TEXT + A)],
        False,
    ),
    (
        "names that would break the client's stream stay here",
        HEAD + b'data: {"type":"x\\n\\ndata: evil"}\n\n' + b'data: {"x":1}\n\n' + TEXT + A,
        [OPENED, PULSE, PULSE, PULSE, Text("a", TEXT + A)],
        False,
    ),
    (
        "without event lines",
        b"".join(b"data:" + part.partition(b"\ndata:")[2] for part in (HEAD, TEXT, A)),
        [OPENED, PULSE, Text("a", TEXT + A)],
        False,
    ),
    ("without a head", TEXT + A, [Opened(), Text("a", TEXT + A)], False),
    (
        "without a stop_reason",
        HEAD + TEXT + A + STOP,
        [OPENED, PULSE, Text("a", TEXT + A), Usage(10, 1, cached_tokens=3)],
        False,
    ),
    ("a stop_reason of null", HEAD + last(None, output_tokens=2), [OPENED, PULSE], False),
    ("without message_stop", HEAD + END, [OPENED, Finish(FinishReason.STOP, END), USAGE], True),
    ("a clean end in mid-answer", HEAD + TEXT + A, [OPENED, PULSE, Text("a", TEXT + A)], False),
    ("a last frame cut in two", HEAD + TEXT + A[:-20], [OPENED, PULSE], False),
    ("nothing at all", b"", [], False),
    (
        "an error",
        HEAD + frame("error", error={"type": "overloaded_error", "message": "busy"}),
        [OPENED, Failed("busy", None, "overloaded_error")],
        False,
    ),
    ("an error of OpenAI's form", HEAD + b'data: {"error":{"message":"no"}}\n\n', [OPENED, Failed("no")], False),
    ("an error in text", b"event: error\ndata: no\n\n", [Failed("no")], False),
    (
        "half a surrogate pair",
        HEAD + TEXT + b"data: " + (odd := delta(0, "text_delta", text="\ud83d").partition(b"data: ")[2]),
        [
            OPENED,
            PULSE,
            Text(
                "\ud83d",
                TEXT
                + b"event: content_block_delta\ndata: "
                + odd.replace(rb"\ud83d", "\ufffd".encode()).replace(b": ", b":").replace(b", ", b","),
            ),
        ],
        False,
    ),
    (
        "a bad end, of which only the reason tells",
        HEAD + TEXT + A + last("error") + STOP,
        [OPENED, PULSE, Text("a", TEXT + A), Failed("the backend ended its answer with stop_reason 'error'")],
        False,
    ),
    (
        "no beginning",
        END + STOP,
        [Opened(), Finish(FinishReason.STOP, END), Usage(0, 7)],
        True,
    ),
]
REASONS = {
    "end_turn": FinishReason.STOP,
    "stop_sequence": FinishReason.STOP,
    "pause_turn": FinishReason.STOP,
    "tool_use": FinishReason.STOP,  # without a call
    "max_tokens": FinishReason.LENGTH,
    "model_context_window_exceeded": FinishReason.LENGTH,
    "refusal": FinishReason.CONTENT_FILTER,
    "unheard_of": FinishReason.STOP,
}


def reader(content_type: str = "text/event-stream; charset=utf-8", limits: Limits | None = None) -> Reader:
    return anthropic_south.reader(CHAT, content_type, limits or Limits())


def read(to: Reader, *pieces: bytes) -> list[Event]:
    return [event for piece in pieces for event in to.receive(piece)] + to.end()


@pytest.mark.parametrize(("body", "events", "complete"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
class TestAnyCutGivesTheSameEvents:
    def test_whole(self, body: bytes, events: list[Event], complete: bool) -> None:
        told = reader()
        assert read(told, body) == events
        assert (told.complete, told.done) == (complete, True)

    def test_split_at_every_byte(self, body: bytes, events: list[Event], complete: bool) -> None:
        for cut in range(len(body) + 1):
            assert read(reader(), body[:cut], body[cut:]) == events

    def test_one_byte_at_a_time(self, body: bytes, events: list[Event], complete: bool) -> None:
        assert read(reader(), *[bytes([byte]) for byte in body]) == events

    def test_with_bytes_behind_the_end(self, body: bytes, events: list[Event], complete: bool) -> None:
        if body.endswith(STOP):
            assert read(reader(), body + A) == events


@given(st.data())
def test_no_frame_is_lost(data: st.DataObject) -> None:
    body = HEAD + TEXT + b"".join(data.draw(st.lists(st.sampled_from([A, B, SIGNED, CALL, stop(0)]), max_size=9))) + END
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert b"".join(getattr(event, "raw", None) or b"" for event in read(reader(), *pieces)) == body


@pytest.mark.parametrize(("word", "reason"), REASONS.items())
def test_reasons(word: str, reason: FinishReason) -> None:
    assert read(reader(), HEAD + last(word))[1] == Finish(reason, last(word))


GARBLED: list[tuple[str, bytes, str]] = [
    ("no JSON", b"data: hello\n\n", "parse"),
    ("a number", b"data: 1\n\n", "schema"),
    ("text of another shape", delta(0, "text_delta", text=[1]), "schema"),
    ("content after the stop reason", END + A, "schema"),
    ("a call without a name", start(0, type="tool_use", id="i", input={}), "schema"),
    ("a long frame", b"data: " + b"x" * 2000 + b"\n\n", "parse"),
]


@pytest.mark.parametrize(("body", "layer"), [pytest.param(*row[1:], id=row[0]) for row in GARBLED])
def test_what_the_dialect_does_not_allow(body: bytes, layer: str) -> None:
    told = reader(limits=Limits(line=1000))
    events = told.receive(HEAD)
    events += told.receive(body)
    assert events[0] == OPENED
    assert isinstance(events[-1], Failed) and events[-1].garbled == layer
    assert told.done


class TestOneJsonText:
    ANSWER = json.dumps(
        {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [
                {"type": "thinking", "thinking": "r", "signature": "s"},
                {"type": "text", "text": "a"},
                {"type": "tool_use", "id": "i", "name": "f", "input": {"x": 1}},
            ],
            "stop_reason": "tool_use",
            "usage": {"input_tokens": 3, "output_tokens": 2},
        },
        indent=1,
    ).encode()

    def test_it_is_read_at_its_end(self) -> None:
        for step in (1, 13, len(self.ANSWER)):
            told = reader("application/json")
            for at in range(0, len(self.ANSWER), step):
                assert told.receive(self.ANSWER[at : at + step]) == []
            assert told.end() == [
                Opened("msg_1", None, "claude"),
                Thinking("r"),
                Text("a"),
                ToolDelta(0, "i", "f", '{"x":1}'),
                Finish(FinishReason.TOOL_CALLS),
                Usage(3, 2),
            ]
            assert told.complete and told.done

    @pytest.mark.parametrize(
        ("body", "events"),
        [
            (b'{"type":"error","error":{"type":"api_error","message":"no"}}', [Failed("no", None, "api_error")]),
            (b" \n", []),
        ],
    )
    def test_others(self, body: bytes, events: list[Event]) -> None:
        assert read(reader("application/json"), body) == events

    @pytest.mark.parametrize(("body", "layer"), [(b"<html>", "parse"), (ANSWER[:-9], "parse"), (b"[]", "schema")])
    def test_garbled(self, body: bytes, layer: str) -> None:
        (failed,) = read(reader("application/json"), body)
        assert isinstance(failed, Failed) and failed.garbled == layer
