"""What OpenAI-compatible backends send and what is understood: one table, every row cut in every way."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st
from openai_frames import (
    DONE,
    HEAD,
    LATE,
    OPENED,
    ROLE,
    STOP,
    STOPPED,
    TEXT_A,
    USAGE,
    USAGE_CHUNK,
    call,
    calls,
    chat_reader,
    chunk,
    read,
    sse,
)

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

ROWS: list[tuple[str, bytes, list[Event], bool]] = [
    (
        "a clean stream is passed on frame by frame",
        ROLE + TEXT_A + chunk({"reasoning_content": "r"}) + STOP + USAGE_CHUNK + DONE,
        [
            OPENED,
            Text("a", TEXT_A),
            Thinking("r", chunk({"reasoning_content": "r"})),
            STOPPED,
            Usage(3, 2, raw=USAGE_CHUNK),
        ],
        True,
    ),
    ("a finish reason without [DONE]", ROLE + TEXT_A + STOP, [OPENED, Text("a", TEXT_A), STOPPED], True),
    ("[DONE] without a finish reason", ROLE + TEXT_A + DONE, [OPENED, Text("a", TEXT_A)], False),
    ("a clean end without either", ROLE + TEXT_A, [OPENED, Text("a", TEXT_A)], False),
    ("a last frame cut in two", ROLE + TEXT_A[:-20], [OPENED], False),
    ("nothing at all", b"", [], False),
    ("a first frame with role and content", chunk({"role": "assistant", "content": "a"}), [LATE, Text("a")], False),
    ("a first frame without a role", TEXT_A + TEXT_A, [LATE, Text("a"), Text("a", TEXT_A)], False),
    (
        "content beside the finish reason",
        ROLE + chunk({"content": "a"}, "stop"),
        [OPENED, Text("a"), Finish(FinishReason.STOP)],
        True,
    ),
    (
        "the role on every frame",
        ROLE + chunk({"role": "assistant", "content": "a"}) + chunk({"role": "assistant"}, "stop"),
        [OPENED, Text("a"), Finish(FinishReason.STOP)],
        True,
    ),
    (
        "a bare minimum",
        sse({"choices": [{"delta": {"content": "a"}}]}) + sse({"choices": [{"finish_reason": "stop"}]}),
        [Opened(), Text("a"), Finish(FinishReason.STOP)],
        True,
    ),
    ("another id", ROLE + sse({**json.loads(TEXT_A[6:]), "id": "c-2"}), [OPENED, Text("a")], False),
    (
        "an index other than 0",
        ROLE + sse({**HEAD, "choices": [{"index": 1, "delta": {"content": "x"}}]}),
        [OPENED, PULSE],
        False,
    ),
    ("no choices at all", ROLE + sse(HEAD) + sse({**HEAD, "choices": None}), [OPENED, PULSE, PULSE], False),
    ("an empty delta is a sign of life", ROLE + chunk() + chunk({"content": ""}), [OPENED, PULSE, PULSE], False),
    (
        "a first frame that is no answer yet (Azure's content filter)",
        sse({"id": "", "model": "", "choices": [], "prompt_filter_results": []}) + ROLE + TEXT_A,
        [PULSE, OPENED, Text("a", TEXT_A)],
        False,
    ),
    ("comments are signs of life", b": OPENROUTER PROCESSING\n\n:\n\n" + ROLE, [PULSE, PULSE, OPENED], False),
    ("an event without data is one too", b"event: ping\n\n" + ROLE + b"data:\n\n", [PULSE, OPENED, PULSE], False),
    ("a named ping with data", ROLE + b"event: ping\ndata: {}\n\n", [OPENED, PULSE], False),
    (
        "tool_calls: [] and other words that break clients",
        ROLE + chunk({"content": "a", "tool_calls": []}) + chunk({"content": "b"}, usage={}),
        [OPENED, Text("a"), Text("b")],
        False,
    ),
    (
        "null where nothing is meant",
        ROLE + chunk({"content": "a", "tool_calls": None, "function_call": None, "refusal": None}, usage=None),
        [
            OPENED,
            Text("a", chunk({"content": "a", "tool_calls": None, "function_call": None, "refusal": None}, usage=None)),
        ],
        False,
    ),
    (
        "fields we do not know stay",
        ROLE + chunk({"content": "a"}, obfuscation="x"),
        [OPENED, Text("a", chunk({"content": "a"}, obfuscation="x"))],
        False,
    ),
    ("CRLF frames are rendered anew", (ROLE + TEXT_A).replace(b"\n", b"\r\n"), [LATE, Text("a")], False),
    ("vLLM's name of reasoning", ROLE + chunk({"reasoning": "r"}), [OPENED, Thinking("r")], False),
    (
        "reasoning and content in one",
        ROLE + chunk({"reasoning": "r", "content": "a"}),
        [OPENED, Thinking("r"), Text("a")],
        False,
    ),
    ("a refusal is text", ROLE + chunk({"refusal": "no"}), [OPENED, Text("no")], False),
    ("a lone surrogate", ROLE + chunk({"content": "\ud83d"}), [OPENED, Text("\ud83d")], False),
    ("broken UTF-8", ROLE + chunk({"content": "?"}).replace(b"?", b"\xff"), [OPENED, Text("\ufffd")], False),
    ("NaN among what we skip", ROLE + chunk({"content": "a"}, x=float("nan")), [OPENED, Text("a")], False),
    # --- finish reasons
    (
        "repeated, as Tabby does with usage",
        ROLE + STOP + chunk({}, "stop", usage=USAGE) + DONE,
        [OPENED, STOPPED, Usage(3, 2)],
        True,
    ),
    ("an empty one is none", ROLE + chunk({"content": "a"}, ""), [OPENED, Text("a")], False),
    ("length", ROLE + chunk({}, "length"), [OPENED, Finish(FinishReason.LENGTH, chunk({}, "length"))], True),
    (
        "DeepSeek out of resources",
        ROLE + chunk({}, "insufficient_system_resource"),
        [OPENED, Finish(FinishReason.LENGTH)],
        True,
    ),
    ("unknown", ROLE + chunk({}, "eos"), [OPENED, Finish(FinishReason.STOP)], True),
    ("tool_calls without a call", ROLE + chunk({}, "tool_calls"), [OPENED, Finish(FinishReason.STOP)], True),
    # --- usage
    (
        "on every frame: the last one counts, and no such frame is passed on",
        ROLE + chunk({"content": "a"}, usage={**USAGE, "prompt_tokens": 1}) + STOP + chunk({}, usage=USAGE) + DONE,
        [OPENED, Text("a"), STOPPED, Usage(3, 2)],
        True,
    ),
    (
        "with details",
        ROLE
        + STOP
        + sse(
            {
                **HEAD,
                "choices": [],
                "usage": {**USAGE, "prompt_tokens_details": {"cached_tokens": 1}, "completion_tokens_details": None},
            }
        ),
        [OPENED, STOPPED, Usage(3, 2, cached_tokens=1)],
        True,
    ),
    (
        "llama.cpp's timings alone",
        ROLE
        + chunk(
            {}, "stop", timings={"cache_n": 2, "prompt_n": 5, "prompt_ms": 1.5, "predicted_n": 7, "predicted_ms": 2}
        ),
        [
            OPENED,
            Finish(
                FinishReason.STOP,
                chunk(
                    {},
                    "stop",
                    timings={"cache_n": 2, "prompt_n": 5, "prompt_ms": 1.5, "predicted_n": 7, "predicted_ms": 2},
                ),
            ),
            Usage(7, 7, prompt_ns=1_500_000, completion_ns=2_000_000),
        ],
        True,
    ),
    (
        "timings of another shape",
        ROLE + STOP + sse({**HEAD, "choices": [], "usage": USAGE, "timings": "fast"}),
        [OPENED, STOPPED, Usage(3, 2, raw=sse({**HEAD, "choices": [], "usage": USAGE, "timings": "fast"}))],
        True,
    ),
    (
        "llama.cpp's progress",
        chunk(
            {"role": "assistant", "content": None},
            prompt_progress={"total": 9, "cache": 0, "processed": 4, "time_ms": 1},
        )
        + ROLE,
        [LATE, Progress(4, 9), PULSE],
        False,
    ),
    # --- tool calls
    (
        "one call in fragments",
        ROLE
        + chunk(calls(call(0, "", "i", "f")))
        + chunk(calls(call(0, '{"a"')))
        + chunk(calls(call(0, ":1}")))
        + chunk({}, "tool_calls"),
        [
            OPENED,
            ToolDelta(0, "i", "f", "", chunk(calls(call(0, "", "i", "f")))),
            ToolDelta(0, arguments='{"a"', raw=chunk(calls(call(0, '{"a"')))),
            ToolDelta(0, arguments=":1}", raw=chunk(calls(call(0, ":1}")))),
            Finish(FinishReason.TOOL_CALLS, chunk({}, "tool_calls")),
        ],
        True,
    ),
    (
        "stop after a call means tool_calls",
        ROLE + chunk(calls(call(0, "{}", "i", "f"))) + STOP,
        [OPENED, ToolDelta(0, "i", "f", "{}", chunk(calls(call(0, "{}", "i", "f")))), Finish(FinishReason.TOOL_CALLS)],
        True,
    ),
    (
        "LM Studio's empty names",
        ROLE + chunk(calls(call(0, "", "i", "f"))) + chunk(calls(call(0, "{}", None, ""))),
        [OPENED, ToolDelta(0, "i", "f", "", chunk(calls(call(0, "", "i", "f")))), ToolDelta(0, arguments="{}")],
        False,
    ),
    (
        "no index",
        ROLE
        + chunk(calls(call(None, "", "i", "f")))
        + chunk(calls(call(None, "{}")))
        + chunk(calls(call(None, "{}", "j", "g"))),
        [OPENED, ToolDelta(0, "i", "f"), ToolDelta(0, arguments="{}"), ToolDelta(1, "j", "g", "{}")],
        False,
    ),
    (
        "two whole calls in one delta, all with index 0",
        ROLE + chunk(calls(call(0, "{}", "i", "f"), call(0, '{"x":1}', "j", "g"))),
        [OPENED, ToolDelta(0, "i", "f", "{}"), ToolDelta(1, "j", "g", '{"x":1}')],
        False,
    ),
    (
        "arguments as an object, or not at all",
        ROLE
        + chunk(calls(call(0, {"a": 1}, "i", "f")))
        + chunk(calls({"index": 1, "id": "j", "function": {"name": "g"}})),
        [OPENED, ToolDelta(0, "i", "f", '{"a":1}'), ToolDelta(1, "j", "g", "")],
        False,
    ),
    (
        "fragments of two calls in turn become two calls one after the other",
        ROLE
        + chunk(calls(call(0, "{", "i", "f")))
        + chunk(calls(call(1, '{"b"', "j", "g")))
        + chunk(calls(call(0, "}")))
        + chunk(calls(call(1, ":2}")))
        + chunk({}, "tool_calls"),
        [
            OPENED,
            ToolDelta(0, "i", "f", "{", chunk(calls(call(0, "{", "i", "f")))),
            ToolDelta(0),
            ToolDelta(0, arguments="}"),
            ToolDelta(1, "j", "g", '{"b"'),
            ToolDelta(1, arguments=":2}", raw=chunk(calls(call(1, ":2}")))),
            Finish(FinishReason.TOOL_CALLS, chunk({}, "tool_calls")),
        ],
        True,
    ),
    (
        "a call without arguments holds the next one back until the finish",
        ROLE + chunk(calls(call(0, "", "i", "f"))) + chunk(calls(call(1, "{}", "j", "g"))) + chunk({}, "tool_calls"),
        [
            OPENED,
            ToolDelta(0, "i", "f", "", chunk(calls(call(0, "", "i", "f")))),
            ToolDelta(0),
            ToolDelta(1, "j", "g", "{}"),
            Finish(FinishReason.TOOL_CALLS),
        ],
        True,
    ),
    (
        "content beside a call",
        ROLE + chunk({"content": "a", **calls(call(0, "{}", "i", "f"))}),
        [OPENED, Text("a"), ToolDelta(0, "i", "f", "{}")],
        False,
    ),
    (
        "content as a list of parts (Mistral)",
        ROLE
        + chunk({"content": [{"type": "thinking", "thinking": [{"type": "text", "text": "r"}]}]})
        + chunk({"content": [{"type": "text", "text": "a"}, {"type": "text", "text": "b"}, {"type": "reference"}]})
        + chunk({"content": []}, "stop"),
        [OPENED, Thinking("r"), Text("ab"), Finish(FinishReason.STOP)],
        True,
    ),
    # --- errors
    ("text", sse({"error": "no"}), [Failed("no")], False),
    (
        "an object with a number (llama.cpp, vLLM)",
        ROLE + sse({"error": {"code": 500, "message": "no", "type": "server_error"}}) + DONE,
        [OPENED, Failed("no", "500", "server_error", 500)],
        False,
    ),
    (
        "a full context in other words",
        sse({"error": {"message": "no", "type": "exceed_context_size_error", "code": 400}}),
        [Failed("no", "context_length_exceeded", "exceed_context_size_error", 400)],
        False,
    ),
    (
        "an object with a word",
        sse({"error": {"message": "no", "type": "t", "param": None, "code": "context_length_exceeded"}}),
        [Failed("no", "context_length_exceeded", "t")],
        False,
    ),
    (
        "beside choices (OpenRouter)",
        ROLE + chunk({"content": ""}, "error", error={"code": 429, "message": "busy"}),
        [OPENED, Failed("busy", "429", None, 429)],
        False,
    ),
    (
        "only as a finish reason",
        ROLE + chunk({}, "error") + DONE,
        [OPENED, PULSE, Failed("the backend ended its answer with finish_reason 'error'")],
        False,
    ),
    (
        "as a finish reason, the words behind it",
        ROLE + chunk({}, "error") + sse({"error": {"message": "no", "code": "silence"}}) + DONE,
        [OPENED, PULSE, Failed("no", "silence")],
        False,
    ),
    ("as an event", b'event: error\ndata: {"error":{"message":"no"}}\n\n', [Failed("no")], False),
    (
        "as an event with the bare object",
        b'event: error\ndata: {"message":"no","code":503}\n\n',
        [Failed("no", "503", None, 503)],
        False,
    ),
    ("as an event with bare text", b"event: error\ndata: no\n\n", [Failed("no")], False),
    (
        "as a field (llama.cpp in 2025)",
        b'error: {"code":500,"message":"no"}\n\n' + DONE,
        [Failed("no", "500", None, 500)],
        False,
    ),
    ("without words", sse({"error": {"x": 1}}), [Failed('the backend failed: {"x":1}')], False),
    ("in a frame of another shape", sse({"error": "no", "choices": "x"}), [Failed("no")], False),
    (
        "error: null is none",
        ROLE + chunk({"content": "a"}, error=None),
        [OPENED, Text("a", chunk({"content": "a"}, error=None))],
        False,
    ),
    # --- other framings
    (
        "JSON lines under the wrong type",
        json.dumps({"choices": [{"delta": {"content": "a"}}]}).encode()
        + b"\n"
        + json.dumps({"choices": [{"finish_reason": "stop"}]}).encode(),
        [Opened(), Text("a"), Finish(FinishReason.STOP)],
        True,
    ),
    (
        "a whole answer where a stream was asked for",
        json.dumps(
            {
                **HEAD,
                "choices": [{"index": 0, "message": {"role": "assistant", "content": "a"}, "finish_reason": "stop"}],
                "usage": USAGE,
            }
        ).encode(),
        [LATE, Text("a"), Finish(FinishReason.STOP), Usage(3, 2)],
        True,
    ),
]


@pytest.mark.parametrize(("body", "events", "complete"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
class TestAnyCutGivesTheSameEvents:
    def test_whole(self, body: bytes, events: list[Event], complete: bool) -> None:
        reader = chat_reader()
        assert read(reader, body) == events
        assert reader.complete is complete
        assert reader.done

    def test_split_at_every_byte(self, body: bytes, events: list[Event], complete: bool) -> None:
        for cut in range(len(body) + 1):
            reader = chat_reader()
            assert read(reader, body[:cut], body[cut:]) == events
            assert reader.complete is complete

    def test_one_byte_at_a_time(self, body: bytes, events: list[Event], complete: bool) -> None:
        assert read(chat_reader(), *[bytes([byte]) for byte in body]) == events

    def test_with_bytes_behind_done(self, body: bytes, events: list[Event], complete: bool) -> None:
        if body.endswith(DONE):
            assert read(chat_reader(), body + TEXT_A) == events


@given(st.data())
def test_any_split_of_any_rows(data: st.DataObject) -> None:
    body = b"".join(
        data.draw(st.lists(st.sampled_from([ROLE, TEXT_A, b": x\n", chunk(), chunk({"reasoning": "r"})]), max_size=12))
    )
    body += STOP + USAGE_CHUNK + DONE
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=6)))
    pieces = [body[a:b] for a, b in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert read(chat_reader(), *pieces) == read(chat_reader(), body)
