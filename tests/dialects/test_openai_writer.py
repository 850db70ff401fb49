"""What OpenAI clients get: chunks and whole answers, checked by a parser of their own and the rules clients share."""

from __future__ import annotations

import json
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai.types.chat import ChatCompletion, ChatCompletionChunk

from openai_conformance import check_openai_stream
from penstock.chat.aggregate import Aggregate
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
from penstock.chat.request import ToolCall
from penstock.dialects.base import Identity, Limits, Timing, Writer
from penstock.dialects.openai import openai_north, openai_south
from penstock.errors import BackendRefused, BackendTruncated, BadRequest, PenstockError, Silence, UnknownModel

IDENTITY = Identity(stream="7f3k9q2m", created=1700000000.9)
TOKENS: list[object] = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]
STOP = Finish(FinishReason.STOP)


def writer(operation: str = "chat", *, passthrough: bool = False, stream: bool = True, **fields: object) -> Writer:
    asked = {"messages": [{"role": "user", "content": "x"}]} if operation == "chat" else {"prompt": "x"}
    body = json.dumps({"model": "m", "stream": stream, **asked, **fields}).encode()
    return openai_north.writer(openai_north.parse(operation, body), IDENTITY, passthrough=passthrough)


USAGE_ASKED = {"stream_options": {"include_usage": True}}


def streamed(to: Writer, events: Sequence[Event], *, at_once: bool = True) -> bytes:
    pieces = [to.write(events)] if at_once else [to.write([event]) for event in events]
    return b"".join(pieces) + to.end(Timing())


def chunk(choice: bytes, usage: bytes = b"") -> bytes:
    head = (
        b'data: {"id":"chatcmpl-7f3k9q2m","object":"chat.completion.chunk","created":1700000000,"model":"m","choices":['
    )
    return head + choice + b"]" + usage + b"}\n\n"


ROLE = chunk(b'{"index":0,"delta":{"role":"assistant","content":""},"finish_reason":null}')
STOPPED = chunk(b'{"index":0,"delta":{},"finish_reason":"stop"}')
FAILED = chunk(b'{"index":0,"delta":{},"finish_reason":"error"}')
DONE = b"data: [DONE]\n\n"

ROWS: list[tuple[str, list[Event], bytes]] = [
    ("the shortest answer", [Opened(), STOP], ROLE + STOPPED),
    (
        "text and reasoning",
        [Opened(), Thinking("r"), Text('a"\n')],
        ROLE
        + chunk(b'{"index":0,"delta":{"reasoning_content":"r"},"finish_reason":null}')
        + chunk(b'{"index":0,"delta":{"content":"a\\"\\n"},"finish_reason":null}'),
    ),
    (
        "a tool call",
        [ToolDelta(0, "i", "f", ""), ToolDelta(0, arguments="{}")],
        chunk(
            b'{"index":0,"delta":{"tool_calls":[{"index":0,"id":"i","type":"function",'
            b'"function":{"name":"f","arguments":""}}]},"finish_reason":null}'
        )
        + chunk(b'{"index":0,"delta":{"tool_calls":[{"index":0,"function":{"arguments":"{}"}}]},"finish_reason":null}'),
    ),
    ("signs of life stay here", [PULSE, Progress(1, 2), Failed("x")], b""),
    (
        "raw frames of another dialect stay here",
        [Text("a", b"RAW")],
        chunk(b'{"index":0,"delta":{"content":"a"},"finish_reason":null}'),
    ),
    (
        "log probabilities that nobody asked for",
        [Text("a", None, TOKENS)],
        chunk(b'{"index":0,"delta":{"content":"a"},"finish_reason":null}'),
    ),
]


@pytest.mark.parametrize(("events", "body"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_chunks(events: list[Event], body: bytes) -> None:
    assert writer().write(events) == body
    to = writer()
    assert b"".join(to.write([event]) for event in events) == body


@pytest.mark.parametrize("passthrough", [True, False])
def test_no_text_makes_a_second_line(passthrough: bool) -> None:
    """Some clients end lines where Unicode does."""
    text = "a\u2028b\u2029c\x85d流"
    raw = b'data: {"text":"%b"}\n\n' % text.encode()
    body = writer(passthrough=passthrough).write([Opened(), Text(text, raw)]).decode()
    assert all(line.startswith("data: {") or not line for line in body.splitlines())
    assert r"a\u2028b\u2029c\u0085d流" in body


class TestUsage:
    COUNTS = Usage(3, 2, cached_tokens=1, prompt_ns=5)
    CHUNK = chunk(
        b"",
        b',"usage":{"prompt_tokens":3,"completion_tokens":2,"total_tokens":5,"prompt_tokens_details":{"cached_tokens":1}}',
    )

    def test_it_is_told_to_those_who_ask(self) -> None:
        assert streamed(writer(**USAGE_ASKED), [Opened(), STOP, self.COUNTS]) == ROLE + STOPPED + self.CHUNK + DONE

    def test_it_follows_the_finish_chunk_wherever_it_came(self) -> None:
        assert streamed(writer(**USAGE_ASKED), [Opened(), self.COUNTS, STOP]) == ROLE + STOPPED + self.CHUNK + DONE

    def test_nobody_else_gets_it(self) -> None:
        assert streamed(writer(passthrough=True), [Opened(), STOP, Usage(3, 2, raw=b"RAW")]) == ROLE + STOPPED + DONE

    def test_the_backends_own_chunk_is_passed_on(self) -> None:
        body = streamed(writer(passthrough=True, **USAGE_ASKED), [Opened(), STOP, Usage(3, 2, raw=b"RAW\n\n")])
        assert body == ROLE + STOPPED + b"RAW\n\n" + DONE


def test_frames_of_the_same_dialect_are_passed_on_and_the_others_take_their_names() -> None:
    to = writer(passthrough=True)
    body = to.write(
        [Opened("c-1", 17, "qwen", b"R1\n\n"), Text("a", b"R2\n\n"), Text("b"), Finish(FinishReason.STOP, b"R3\n\n")]
    )
    rendered = (
        b'data: {"id":"c-1","object":"chat.completion.chunk","created":17,"model":"qwen","choices":['
        b'{"index":0,"delta":{"content":"b"},"finish_reason":null}]}\n\n'
    )
    assert body == b"R1\n\nR2\n\n" + rendered + b"R3\n\n"


def test_a_heartbeat_may_stand_between_any_two_frames() -> None:
    to = writer(**USAGE_ASKED)
    body = to.heartbeat()
    for event in [Opened(), Text("a"), PULSE, STOP, Usage(1, 1)]:
        body += to.write([event]) + to.heartbeat() * 2
    assert to.heartbeat() == b": keep-alive\n"
    check_openai_stream(body + to.end(Timing()))


def error_frame(message: str, code: str) -> bytes:
    error = {"message": message, "type": "upstream_error", "param": None, "code": code}
    return b"data: " + json.dumps({"error": error}, separators=(",", ":")).encode() + b"\n\n"


FAILURES: list[tuple[PenstockError, bytes]] = [
    (Silence("quiet"), error_frame("quiet", "silence")),
    (BackendTruncated("cut"), error_frame("cut", "backend_truncated")),
    (BackendRefused("full", backend_code="context_length_exceeded"), error_frame("full", "context_length_exceeded")),
    (
        BackendRefused("no", backend_code="server_error", backend_type="server_error"),
        error_frame("no", "backend_refused"),
    ),
    (BackendRefused("no", backend_code="503", status=503), error_frame("no", "backend_refused")),
]


@pytest.mark.parametrize(("error", "frame"), FAILURES)
class TestFailure:
    def test_after_content(self, error: PenstockError, frame: bytes) -> None:
        to = writer(**USAGE_ASKED)
        body = to.write([Opened(), Text("a"), Usage(1, 1)])
        assert to.fail(error) == FAILED + frame + DONE
        check_openai_stream(body + to.fail(error))
        assert to.clean_failure

    def test_before_anything(self, error: PenstockError, frame: bytes) -> None:
        assert writer().fail(error) == ROLE + FAILED + frame + DONE

    def test_after_the_finish_chunk(self, error: PenstockError, frame: bytes) -> None:
        to = writer()
        body = to.write([Opened(), STOP])
        assert to.fail(error) == frame + DONE
        check_openai_stream(body + frame + DONE)

    def test_of_completions(self, error: PenstockError, frame: bytes) -> None:
        to = writer("completion")
        body = to.write([Opened(), Text("a")]) + to.fail(error)
        assert body.endswith(frame + DONE)
        check_openai_stream(body)


TEXTS = st.text(min_size=1, max_size=20) | st.sampled_from(
    ["\u2028\r\n\n", "\x00", 'data: {"', "\n\ndata: [DONE]\n\n", "\x85", "🚰"]
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any answer as a reader may tell it."""
    events: list[Event] = [
        Opened(*draw(st.sampled_from([(None, None, None), ("c-1", 17, "qwen"), ("c-1", None, None)])))
    ]
    kinds = st.sampled_from(["text", "thinking", "pulse", "progress", "usage"])
    for kind in draw(st.lists(kinds, max_size=8)):
        text = draw(TEXTS)
        events.append(
            {
                "text": Text(text),
                "thinking": Thinking(text),
                "pulse": PULSE,
                "progress": Progress(1, 2),
                "usage": Usage(1, 2, 3, 4),
            }[kind]
        )
    calls = draw(st.integers(0, 3))
    for index in range(calls):
        arguments = json.dumps({"a": draw(TEXTS)}, ensure_ascii=draw(st.booleans()))
        cut = draw(st.integers(0, len(arguments) - 1))
        events.append(ToolDelta(index, f"call_{index}", draw(TEXTS), arguments[:cut]))
        events.append(ToolDelta(index, arguments=arguments[cut:]))
    good = [FinishReason.TOOL_CALLS] if calls else [FinishReason.STOP]
    events.append(Finish(draw(st.sampled_from([*good, FinishReason.LENGTH, FinishReason.CONTENT_FILTER]))))
    return [*events, *draw(st.lists(st.just(Usage(5, 6)), max_size=1))]


def aggregated(events: Sequence[Event]) -> tuple[object, ...]:
    whole = Aggregate()
    whole.add(events)
    told = whole.completion()
    return told.text, told.thinking, told.tool_calls, told.finish


@given(answers(), st.booleans(), st.booleans())
def test_any_answer_arrives_as_it_was_told(events: list[Event], at_once: bool, usage: bool) -> None:
    to = writer(**(USAGE_ASKED if usage else {}))
    body = streamed(to, events, at_once=at_once)
    chunks = check_openai_stream(body)
    for one in chunks:
        ChatCompletionChunk.model_validate(one, strict=True)
    assert sum("usage" in one for one in chunks) == usage
    # And read by our own reader, frame by frame passed on once more, it is still the same.
    again = openai_south.reader(openai_north.parse("chat", b'{"model":"m","messages":[{"role":"user"}]}'), "", Limits())
    read = again.receive(body)
    assert aggregated(read) == aggregated(events)
    relayed = streamed(writer(passthrough=True, **(USAGE_ASKED if usage else {})), read)
    check_openai_stream(relayed)
    assert relayed == body


@given(answers(), st.booleans())
def test_any_completion_arrives_as_it_was_told(events: list[Event], usage: bool) -> None:
    events = [event for event in events if not isinstance(event, ToolDelta)]
    body = streamed(writer("completion", **(USAGE_ASKED if usage else {})), events)
    chunks = check_openai_stream(body)
    texts = [choice["text"] for one in chunks for choice in one["choices"]]  # type: ignore[attr-defined]
    assert "".join(texts) == "".join(event.text for event in events if isinstance(event, Text))


@given(answers(), st.integers(0, 20))
def test_any_failure_keeps_the_rules(events: list[Event], at: int) -> None:
    to = writer(**USAGE_ASKED)
    check_openai_stream(to.write(events[:at]) + to.fail(Silence("quiet")))


class TestLogprobs:
    def test_chat(self) -> None:
        body = writer(logprobs=True).write([Text("a", None, TOKENS)])
        (choice,) = json.loads(body[6:])["choices"]
        assert choice == {"index": 0, "delta": {"content": "a"}, "logprobs": {"content": TOKENS}, "finish_reason": None}

    def test_completions_count_their_offset(self) -> None:
        to = writer("completion", logprobs=2)
        to.write([Text("xyz")])
        (choice,) = json.loads(to.write([Text("a", None, TOKENS)])[6:])["choices"]
        assert choice["logprobs"] == {
            "tokens": ["a"],
            "token_logprobs": [-0.5],
            "top_logprobs": [None],
            "text_offset": [3],
        }


# --- whole answers ---------------------------------------------------------------------------------------------------

WHOLE: list[tuple[str, list[Event], dict[str, object], str]] = [
    ("text", [Text("a"), Text("b"), STOP], {"content": "ab"}, "stop"),
    ("reasoning", [Thinking("r"), Text("a"), STOP], {"content": "a", "reasoning_content": "r"}, "stop"),
    ("nothing", [Finish(FinishReason.LENGTH)], {"content": ""}, "length"),
    (
        "a tool call",
        [ToolDelta(0, "i", "f", "{"), ToolDelta(0, arguments="}"), Finish(FinishReason.TOOL_CALLS)],
        {
            "content": None,
            "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        "tool_calls",
    ),
    (
        "text and a tool call without arguments",
        [Text("a"), ToolDelta(0, "i", "f"), Finish(FinishReason.TOOL_CALLS)],
        {"content": "a", "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}]},
        "tool_calls",
    ),
]


@pytest.mark.parametrize(("events", "message", "finish"), [pytest.param(*row[1:], id=row[0]) for row in WHOLE])
def test_a_whole_chat(events: list[Event], message: dict[str, object], finish: str) -> None:
    to = writer(stream=False)
    assert to.write([Opened("c-1", 17, "qwen"), *events, Usage(3, 2)]) == b""
    body = to.end(Timing())
    assert json.loads(body) == {
        "id": "chatcmpl-7f3k9q2m",
        "object": "chat.completion",
        "created": 1700000000,
        "model": "m",
        "choices": [
            {"index": 0, "message": {"role": "assistant", **message}, "logprobs": None, "finish_reason": finish}
        ],
        "usage": {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5},
    }
    ChatCompletion.model_validate_json(to.heartbeat() * 3 + body, strict=True)


def test_a_whole_completion_with_the_names_of_its_backend() -> None:
    to = writer("completion", stream=False, passthrough=True, logprobs=1)
    to.write([Opened("c-1", 17, "qwen"), Text("a", None, TOKENS), Text("b"), STOP])
    told = json.loads(to.end(Timing()))
    logprobs = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [None], "text_offset": [0]}
    assert told == {
        "id": "c-1",
        "object": "text_completion",
        "created": 17,
        "model": "qwen",
        "choices": [{"index": 0, "text": "ab", "logprobs": logprobs, "finish_reason": "stop"}],
        "usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0},
    }


def test_a_whole_answer_that_fails_is_cut() -> None:
    to = writer(stream=False)
    to.write([Opened(), Text("a")])
    assert not to.clean_failure
    assert json.loads(to.fail(Silence("quiet")))["error"]["code"] == "silence"


def test_the_content_types() -> None:
    assert writer().content_type == "text/event-stream; charset=utf-8"
    assert writer(stream=False).content_type == "application/json"


ERRORS: list[tuple[PenstockError, dict[str, object]]] = [
    (BadRequest("bad", "n"), {"type": "invalid_request_error", "param": "n", "code": "bad_request"}),
    (UnknownModel("x", []), {"type": "invalid_request_error", "param": None, "code": "model_not_found"}),
    (
        BackendRefused("full", status=400, backend_code="context_length_exceeded"),
        {"type": "invalid_request_error", "param": None, "code": "context_length_exceeded"},
    ),
    (
        BackendRefused("no", status=503, backend_code="503"),
        {"type": "upstream_error", "param": None, "code": "backend_refused"},
    ),
    (Silence("quiet"), {"type": "upstream_error", "param": None, "code": "silence"}),
]


@pytest.mark.parametrize(("error", "told"), ERRORS)
def test_errors_before_the_answer(error: PenstockError, told: dict[str, object]) -> None:
    assert json.loads(openai_north.error(error)) == {"error": {"message": error.message, **told}}


def test_the_aggregate_puts_calls_in_their_order() -> None:
    whole = Aggregate()
    whole.add(
        [Opened("c"), ToolDelta(1, "j", "g", "{}"), ToolDelta(0, "i", "f"), Text("a", None, TOKENS), Usage(1, 2), PULSE]
    )
    told = whole.completion()
    assert told.opened == Opened("c")
    assert told.tool_calls == (ToolCall(id="i", name="f", arguments="{}"), ToolCall(id="j", name="g", arguments="{}"))
    assert (told.finish, told.usage, told.logprobs) == (None, Usage(1, 2), TOKENS)
