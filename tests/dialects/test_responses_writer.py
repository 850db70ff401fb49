"""What clients of the Responses API get: events and whole responses, read back by OpenAI's own client library."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

import httpx2
import pytest
from openai import OpenAI
from openai.types.responses import Response, ResponseFailedEvent

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
from penstock.dialects.base import Identity, Timing, Writer
from penstock.dialects.responses import responses_north
from penstock.errors import BackendRefused, BackendTruncated, BadRequest, Silence
from responses_conformance import check_responses_stream

IDENTITY = Identity(stream="7f3k9q2m", created=1700000000.9)
TOKENS: list[object] = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
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
    ToolDelta(0),
    ToolDelta(1, "call_2", "g", "{}"),
    ToolDelta(2, "call_3", "h"),
    Finish(FinishReason.TOOL_CALLS),
    Usage(10, 7, cached_tokens=3, reasoning_tokens=2),
]


def writer(*, stream: bool = True, **fields: Any) -> Writer:
    body = json.dumps({"model": "m", "stream": stream, "input": "x", **fields}).encode()
    return responses_north.writer(responses_north.parse("chat", body), IDENTITY, passthrough=False)


def written(to: Writer, events: Sequence[Event], *, at_once: bool = True) -> bytes:
    pieces = [to.write(events)] if at_once else [to.heartbeat() + to.write([event]) for event in events]
    return b"".join(pieces) + to.end(Timing())


def as_sdk_reads(body: bytes) -> list[Any]:
    """The events that OpenAI's client library finds in a stream, the helper's own accumulation behind them."""
    answer = httpx2.Response(200, headers={"content-type": "text/event-stream"}, content=body)
    with httpx2.Client(transport=httpx2.MockTransport(lambda request: answer)) as http:
        client = OpenAI(api_key="k", base_url="http://penstock", http_client=http, max_retries=0)
        with client.responses.stream(model="m", input="x") as stream:
            return list(stream)


def types(body: bytes) -> list[str]:
    return [event["type"].removeprefix("response.") for event in check_responses_stream(body)]


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
        check_responses_stream(body)
        output = as_sdk_reads(body)[-1].response.output
        assert [item.type for item in output] == ["function_call", "message", "reasoning", "function_call", "message"]
        assert [item.arguments for item in output if item.type == "function_call"] == ['{"x":1}', "{}"]
        assert [item.content[0].text for item in output if item.type == "message"] == ["a", "b"]

    @pytest.mark.parametrize("at_once", [True, False])
    def test_an_answer_with_everything(self, at_once: bool) -> None:
        body = written(writer(), ANSWER, at_once=at_once)
        assert len(body.decode().splitlines()) == body.count(b"\n"), "a line that only Unicode ends"
        check_responses_stream(body)
        final = as_sdk_reads(body)[-1]
        assert final.type == "response.completed"
        response = final.response
        assert (response.id, response.model, response.status) == ("resp_7f3k9q2m", "m", "completed")
        assert response.output_text == 'a\u2028"b"'
        reasoning, message, *calls = response.output
        assert (reasoning.summary[0].text, message.role) == ("rs", "assistant")
        assert [(call.call_id, call.name, call.arguments) for call in calls] == [
            ("call_1", "f", '{"x":1}'),
            ("call_2", "g", "{}"),
            ("call_3", "h", "{}"),
        ]
        usage = response.usage
        assert (usage.input_tokens, usage.output_tokens, usage.total_tokens) == (10, 7, 17)
        assert (usage.input_tokens_details.cached_tokens, usage.output_tokens_details.reasoning_tokens) == (3, 2)

    def test_order(self) -> None:
        assert types(written(writer(), [Thinking("r"), Text("a"), ToolDelta(0, "i", "f", "{}"), ANSWER[-2]])) == [
            "created",
            "in_progress",
            "output_item.added",
            "reasoning_summary_part.added",
            "reasoning_summary_text.delta",
            "reasoning_summary_text.done",
            "reasoning_summary_part.done",
            "output_item.done",
            "output_item.added",
            "content_part.added",
            "output_text.delta",
            "output_text.done",
            "content_part.done",
            "output_item.done",
            "output_item.added",
            "function_call_arguments.delta",
            "function_call_arguments.done",
            "output_item.done",
            "completed",
        ]

    def test_the_shortest_answer(self) -> None:
        assert types(written(writer(), [Opened(), Finish(FinishReason.STOP)])) == [
            "created",
            "in_progress",
            "completed",
        ]

    @pytest.mark.parametrize(
        ("reason", "word", "status"),
        [
            (FinishReason.LENGTH, "max_output_tokens", "incomplete"),
            (FinishReason.CONTENT_FILTER, "content_filter", "completed"),
        ],
    )
    def test_what_is_incomplete(self, reason: FinishReason, word: str, status: str) -> None:
        *_, last = check_responses_stream(written(writer(), [Opened(), Text("a"), Finish(reason)]))
        assert last["type"] == "response.incomplete"
        assert last["response"]["incomplete_details"] == {"reason": word}
        assert last["response"]["output"][0]["status"] == status

    def test_a_heartbeat_is_an_event_and_opens_the_answer(self) -> None:
        to = writer()
        body = to.heartbeat() + to.heartbeat() + to.heartbeat()
        assert [line for line in body.decode().splitlines() if line.startswith("event:")] == [
            "event: response.created",
            "event: response.in_progress",
            "event: response.in_progress",
            "event: response.in_progress",
        ]
        check_responses_stream(body + written(to, ANSWER))
        assert as_sdk_reads(body + writer().fail(Silence("x")))

    @pytest.mark.parametrize("before", [[], [Opened()], [Opened(), Text("a")], ANSWER[:9], ANSWER[:11]])
    def test_a_failure_is_no_end(self, before: list[Event]) -> None:
        to = writer()
        body = to.write(before) + to.fail(BackendTruncated("the backend hung up"))
        assert to.clean_failure
        check_responses_stream(body)
        last = as_sdk_reads(body)[-1]
        assert isinstance(last, ResponseFailedEvent)
        assert last.response.error is not None
        assert last.response.error.message == "the backend hung up"
        assert str(last.response.error.code) == "backend_truncated"

    @pytest.mark.parametrize(
        ("code", "told"),
        [
            ("context_length_exceeded", "context_length_exceeded"),  # final for Codex, where others make it repeat
            ("server_error", "backend_refused"),
            ("500", "backend_refused"),
            (None, "backend_refused"),
        ],
    )
    def test_codes(self, code: str | None, told: str) -> None:
        *_, last = check_responses_stream(writer().fail(BackendRefused("x", backend_code=code)))
        assert last["response"]["error"] == {"code": told, "message": "x"}

    def test_what_was_asked_is_repeated(self) -> None:
        fields = {"temperature": 0, "parallel_tool_calls": False, "metadata": {"a": "b"}, "top_p": 0.5}
        first, *_ = check_responses_stream(written(writer(**fields), [Opened(), Finish(FinishReason.STOP)]))
        assert {name: first["response"][name] for name in fields} == fields
        assert first["response"]["tool_choice"] == "auto"

    def test_log_probabilities(self) -> None:
        events = [Opened(), Text("a", None, TOKENS), Finish(FinishReason.STOP)]
        asked = written(writer(include=["message.output_text.logprobs"]), events)
        *_, last = check_responses_stream(asked)
        assert last["response"]["output"][0]["content"][0]["logprobs"] == TOKENS
        assert b"-0.5" not in written(writer(), events)


class TestWhole:
    def test_it_is_the_response_of_the_stream(self) -> None:
        to = writer(stream=False)
        body = to.heartbeat() + to.write(ANSWER[:5]) + to.heartbeat() + to.write(ANSWER[5:]) + to.end(Timing())
        *_, last = check_responses_stream(written(writer(), ANSWER))
        assert json.loads(body) == last["response"]
        assert Response.model_validate(json.loads(body)).output_text == 'a\u2028"b"'
        assert (to.content_type, to.streaming, to.clean_failure) == ("application/json", False, False)

    def test_a_failure(self) -> None:
        to = writer(stream=False)
        to.write([Opened(), Text("a"), Failed("x")])
        assert json.loads(to.fail(Silence("no")))["error"]["message"] == "no"


def test_errors_before_the_stream_are_openais() -> None:
    assert json.loads(responses_north.error(BadRequest("no", "input")))["error"] == {
        "message": "no",
        "type": "invalid_request_error",
        "param": "input",
        "code": "bad_request",
    }
