"""What Anthropic clients get: events and whole messages, read back by Anthropic's own client library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from anthropic import Anthropic, APIStatusError
from anthropic.types import Message
from test_anthropic_reader import (
    CALL,
    END,
    HEAD,
    SIGNED,
    STOP,
    TEXT,
    A,
    B,
    delta,
    last,
    read,
    reader,
    start,
    stop,
)

from anthropic_conformance import check_anthropic_error, check_anthropic_stream
from penstock.chat.events import (
    PULSE,
    Event,
    Failed,
    Finish,
    FinishReason,
    Opened,
    Progress,
    Text,
    Thinking,
    ToolDelta,
    Usage,
)
from penstock.dialects.anthropic import anthropic_north
from penstock.dialects.base import Identity, Timing, Writer
from penstock.errors import (
    BackendGarbled,
    BackendRefused,
    BadRequest,
    PenstockError,
    QueueFull,
    Silence,
    TooLarge,
    UnknownModel,
)

IDENTITY = Identity(stream="7f3k9q2m", created=1700000000.9)
ANSWERED = Finish(FinishReason.STOP)
ANSWER: list[Event] = [
    Opened("theirs", 1, "their-model"),
    PULSE,
    Progress(1, 2),
    Thinking("r"),
    Thinking("s"),
    Text("a\u2028"),
    Text('"b"'),
    ToolDelta(0, "call_1", "f", ""),
    ToolDelta(0, arguments='{"x":'),
    ToolDelta(0, arguments="1}"),
    ToolDelta(1, "call_2", "g", "{}"),
    ToolDelta(2, "call_3", "h"),
    Finish(FinishReason.TOOL_CALLS),
    Usage(10, 7, cached_tokens=3),
]


def writer(*, passthrough: bool = False, stream: bool = True) -> Writer:
    body = json.dumps({"model": "m", "stream": stream, "messages": [{"role": "user", "content": "x"}]}).encode()
    return anthropic_north.writer(anthropic_north.parse("chat", body), IDENTITY, passthrough=passthrough)


def written(to: Writer, events: Sequence[Event], *, at_once: bool = True) -> bytes:
    pieces = [to.write(events)] if at_once else [to.write([event]) + to.heartbeat() for event in events]
    return b"".join(pieces) + to.end(Timing())


def as_sdk_reads(body: bytes) -> Message:
    """The message that Anthropic's client library puts together out of a stream."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    with httpx2.Client(transport=httpx2.MockTransport(lambda request: answer)) as http:
        client = Anthropic(api_key="k", base_url="http://penstock", http_client=http, max_retries=0)
        with client.messages.stream(model="m", max_tokens=9, messages=[{"role": "user", "content": "x"}]) as stream:
            return stream.get_final_message()


def blocks(message: Message) -> list[dict[str, Any]]:
    return [block.model_dump(exclude_none=True) for block in message.content]


#: What some servers mix: words in the middle of a call.
MIXED: list[Event] = [
    ToolDelta(0, "call_1", "f", '{"x"'),
    Text("a"),
    Thinking("hm"),
    ToolDelta(0, arguments=":1}"),
    ToolDelta(1, "call_2", "g", "{"),
    Text("b"),
    ToolDelta(1, arguments="}"),
    Finish(FinishReason.TOOL_CALLS),
]


class TestStream:
    @pytest.mark.parametrize("at_once", [True, False])
    def test_words_in_the_middle_of_a_call_wait_for_its_end(self, at_once: bool) -> None:
        body = written(writer(), MIXED, at_once=at_once)
        check_anthropic_stream(body)
        assert [
            (block["type"], block.get("text", block.get("thinking", block.get("input"))))
            for block in blocks(as_sdk_reads(body))
        ] == [("tool_use", {"x": 1}), ("text", "a"), ("thinking", "hm"), ("tool_use", {}), ("text", "b")]

    @pytest.mark.parametrize("at_once", [True, False])
    def test_an_answer_with_everything(self, at_once: bool) -> None:
        body = written(writer(), ANSWER, at_once=at_once)
        assert len(body.decode().splitlines()) == body.count(b"\n"), "a line that only Unicode ends"
        check_anthropic_stream(body)
        message = as_sdk_reads(body)
        assert (message.id, message.model, message.stop_reason) == ("msg_7f3k9q2m", "m", "tool_use")
        assert blocks(message) == [
            {"type": "thinking", "thinking": "rs", "signature": ""},
            {"type": "text", "text": 'a\u2028"b"'},
            {"type": "tool_use", "id": "call_1", "name": "f", "input": {"x": 1}},
            {"type": "tool_use", "id": "call_2", "name": "g", "input": {}},
            {"type": "tool_use", "id": "call_3", "name": "h", "input": {}},
        ]
        usage = message.usage
        assert (usage.input_tokens, usage.output_tokens, usage.cache_read_input_tokens) == (7, 7, 3)

    @pytest.mark.parametrize(
        ("events", "types"),
        [
            ([Opened(), ANSWERED], ["message_start", "message_delta", "message_stop"]),
            ([ANSWERED], ["message_start", "message_delta", "message_stop"]),
            (
                [Opened(), Text("a"), Thinking("r"), Text("b"), ANSWERED],
                [
                    "message_start",
                    *["content_block_start", "content_block_delta", "content_block_stop"] * 3,
                    "message_delta",
                    "message_stop",
                ],
            ),
        ],
    )
    def test_order(self, events: list[Event], types: list[str]) -> None:
        assert [event["type"] for event in check_anthropic_stream(written(writer(), events))] == types

    @pytest.mark.parametrize(
        ("reason", "word"),
        [
            (FinishReason.STOP, "end_turn"),
            (FinishReason.LENGTH, "max_tokens"),
            (FinishReason.CONTENT_FILTER, "refusal"),
        ],
    )
    def test_reasons(self, reason: FinishReason, word: str) -> None:
        assert as_sdk_reads(written(writer(), [Opened(), Text("a"), Finish(reason)])).stop_reason == word

    def test_a_heartbeat_is_a_ping(self) -> None:
        assert writer().heartbeat() == b'event: ping\ndata: {"type": "ping"}\n\n'

    @pytest.mark.parametrize("before", [[], [Opened()], [Opened(), Text("a")], ANSWER[:8]])
    def test_a_failure_is_no_end(self, before: list[Event]) -> None:
        to = writer()
        body = to.write(before) + to.fail(Silence("no token for 60 s"))
        check_anthropic_stream(body)
        assert to.clean_failure
        with pytest.raises(APIStatusError, match="no token for 60 s"):
            as_sdk_reads(body)


SIGNED_ANSWER = (
    HEAD
    + start(0, type="thinking", thinking="", signature="")
    + delta(0, "thinking_delta", thinking="r")
    + SIGNED
    + stop(0)
    + CALL
    + delta(1, "input_json_delta", partial_json='{"x":')
    + delta(1, "input_json_delta", partial_json="1}")
    + stop(1)
    + start(2, type="text", text="", citations=[])
    + delta(2, "text_delta", text="a")
    + delta(2, "citations_delta", citation={"type": "char_location", "cited_text": "c"})
    + delta(2, "text_delta", text="b\u2028")
    + stop(2)
    + last("tool_use", output_tokens=7)
    + STOP
)


class TestOwnDialect:
    """Frames of a backend of the same dialect."""

    def test_they_are_sent_on(self) -> None:
        for body in (SIGNED_ANSWER, HEAD + TEXT + A + B + stop(0) + END + STOP):
            sent_on = written(writer(passthrough=True), read(reader(), body))
            assert sent_on == body.removesuffix(STOP) + b'event: message_stop\ndata: {"type":"message_stop"}\n\n'

    def test_what_unicode_takes_for_a_line_end_is_escaped(self) -> None:
        body = HEAD + b'event: x\ndata: {"type":"x","a":"\xe2\x80\xa8\xc2\x85"}\n\n' + END + STOP
        assert rb'"a":"\u2028\u0085"' in written(writer(passthrough=True), read(reader(), body))

    def test_a_whole_answer_keeps_what_the_neutral_tongue_does_not_know(self) -> None:
        whole = json.loads(written(writer(passthrough=True, stream=False), read(reader(), SIGNED_ANSWER)))
        assert whole == {
            "id": "msg_1",
            "type": "message",
            "role": "assistant",
            "model": "claude",
            "content": [
                {"type": "thinking", "thinking": "r", "signature": "abc="},
                {"type": "tool_use", "id": "toolu_1", "name": "f", "input": {"x": 1}},
                {
                    "type": "text",
                    "text": "ab\u2028",
                    "citations": [{"type": "char_location", "cited_text": "c"}],
                },
            ],
            "stop_reason": "tool_use",
            "stop_sequence": None,
            "usage": {
                "input_tokens": 5,
                "cache_read_input_tokens": 3,
                "cache_creation_input_tokens": 2,
                "output_tokens": 7,
            },
        }

    @pytest.mark.parametrize("pieces", [['{"x":'], ["[1"], [""], []])
    def test_input_that_was_cut_short_is_left_out(self, pieces: list[str]) -> None:
        told = b"".join([delta(1, "input_json_delta", partial_json=piece) for piece in pieces])
        body = HEAD + CALL + told + stop(1) + last("max_tokens") + STOP
        whole = json.loads(written(writer(passthrough=True, stream=False), read(reader(), body)))
        assert whole["content"] == [{"type": "tool_use", "id": "toolu_1", "name": "f", "input": {}}]

    def test_a_head_that_never_came_is_made_up(self) -> None:
        body = written(writer(passthrough=True), read(reader(), TEXT + A + stop(0) + END + STOP))
        assert [event["type"] for event in check_anthropic_stream(body)][:2] == ["message_start", "content_block_start"]

    def test_an_answer_in_one_text_is_written_anew(self) -> None:
        text = json.dumps({"content": [{"type": "text", "text": "a"}], "stop_reason": "end_turn"}).encode()
        check_anthropic_stream(written(writer(passthrough=True), read(reader("application/json"), text)))


class TestWhole:
    def test_an_answer_with_everything(self) -> None:
        to = writer(stream=False)
        body = to.heartbeat() + to.heartbeat() + written(to, ANSWER)
        message = Message.model_validate(json.loads(body))
        streamed = as_sdk_reads(written(writer(), ANSWER))
        assert blocks(message) == blocks(streamed)
        assert (message.id, message.stop_reason) == (streamed.id, streamed.stop_reason)
        assert message.usage.model_dump() == streamed.usage.model_dump()
        assert (to.content_type, to.streaming, to.clean_failure) == ("application/json", False, False)

    def test_a_call_that_was_cut_short_is_none(self) -> None:
        events = [Opened(), Text("a"), ToolDelta(0, "i", "f", '{"x'), Finish(FinishReason.LENGTH)]
        assert [block["type"] for block in json.loads(written(writer(stream=False), events))["content"]] == ["text"]

    def test_a_call_with_other_arguments_is_garbled(self) -> None:
        events = [Opened(), ToolDelta(0, "i", "f", "[1]"), Finish(FinishReason.TOOL_CALLS)]
        with pytest.raises(BackendGarbled, match="object: f: "):
            written(writer(stream=False), events)

    def test_a_failure(self) -> None:
        to = writer(stream=False)
        to.write([Opened(), Text("a"), Failed("x")])
        assert check_anthropic_error(to.fail(Silence("no"))) == {"type": "timeout_error", "message": "no"}


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("x"), "invalid_request_error"),
        (UnknownModel("m", []), "not_found_error"),
        (TooLarge("x"), "request_too_large"),
        (QueueFull("x"), "overloaded_error"),
        (Silence("x"), "timeout_error"),
        (BackendRefused("x"), "api_error"),
        (BackendRefused("x", status=429), "rate_limit_error"),
        (PenstockError("x"), "api_error"),
    ],
)
def test_errors(error: PenstockError, kind: str) -> None:
    assert check_anthropic_error(anthropic_north.error(error)) == {"type": kind, "message": error.message}
