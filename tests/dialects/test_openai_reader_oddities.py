"""What else such backends send: completions, garbled frames, limits, progress, log probabilities, whole texts."""

from __future__ import annotations

import json
import re

import pytest
from openai_frames import (
    CHAT,
    DONE,
    HEAD,
    LATE,
    OPENED,
    ROLE,
    STOP,
    STOPPED,
    TEXT,
    TEXT_A,
    USAGE,
    USAGE_CHUNK,
    call,
    calls,
    chat_reader,
    chunk,
    read,
    sse,
    text_chunk,
)

from penstock.chat.events import (
    PULSE,
    Event,
    Failed,
    Finish,
    FinishReason,
    Progress,
    Text,
    Thinking,
    ToolDelta,
    Usage,
)
from penstock.dialects.base import Limits
from penstock.dialects.openai import llamacpp_south, openai_north, openai_south

COMPLETIONS: list[tuple[str, bytes, list[Event], bool]] = [
    (
        "a clean stream",
        text_chunk("a") + text_chunk("b") + text_chunk("", "stop") + DONE,
        [
            LATE,
            Text("a", text_chunk("a")),
            Text("b", text_chunk("b")),
            Finish(FinishReason.STOP, text_chunk("", "stop")),
        ],
        True,
    ),
    (
        "text and counts beside the finish reason",
        text_chunk("a") + text_chunk("b", "length", usage=USAGE) + DONE,
        [LATE, Text("a", text_chunk("a")), Text("b"), Finish(FinishReason.LENGTH), Usage(3, 2)],
        True,
    ),
    ("an empty first frame", text_chunk("") + text_chunk("a"), [LATE, Text("a", text_chunk("a"))], False),
    ("an error", sse({"error": {"message": "no"}}), [Failed("no")], False),
    ("progress", text_chunk("", prompt_progress={"total": 2, "processed": 1}), [LATE, Progress(1, 2)], False),
]


@pytest.mark.parametrize(("body", "events", "complete"), [pytest.param(*row[1:], id=row[0]) for row in COMPLETIONS])
def test_completions(body: bytes, events: list[Event], complete: bool) -> None:
    for cut in range(len(body) + 1):
        reader = openai_south.reader(TEXT, "text/event-stream", Limits())
        assert read(reader, body[:cut], body[cut:]) == events
        assert reader.complete is complete


def test_the_terminal_marker_and_the_end_are_told_apart() -> None:
    reader = chat_reader()
    assert reader.receive(ROLE + TEXT_A)
    assert not reader.complete
    assert reader.receive(STOP) == [STOPPED]
    assert reader.complete and not reader.done
    assert reader.receive(USAGE_CHUNK) == []
    assert reader.receive(DONE) == [Usage(3, 2, raw=USAGE_CHUNK)]
    assert reader.done
    assert reader.end() == []


GARBLED: list[tuple[str, bytes, str]] = [
    ("no JSON", b"data: hello\n\n", "parse"),
    ("half of JSON", b'data: {"id": \n\n', "parse"),
    ("frames that one line end parts", ROLE[:-1] + TEXT_A, "parse"),
    ("a number", b"data: 1\n\n", "schema"),
    ("choices of another shape", sse({**HEAD, "choices": "x"}), "schema"),
    ("content of another shape", chunk({"content": {"x": 1}}), "schema"),
    ("content after the finish reason", STOP + TEXT_A, "schema"),
    ("a call without a name", ROLE + chunk(calls(call(0, "{}", "i"))) + STOP, "schema"),
    (
        "a call that goes on after it was whole",
        ROLE + chunk(calls(call(0, "{}", "i", "f"), call(1, "", "j", "g"))) + chunk(calls(call(0, "x"))),
        "schema",
    ),
]


@pytest.mark.parametrize(("body", "layer"), [pytest.param(*row[1:], id=row[0]) for row in GARBLED])
def test_what_the_dialect_does_not_allow(body: bytes, layer: str) -> None:
    reader = chat_reader()
    *before, last = reader.receive(ROLE + TEXT_A + body)
    assert before[:2] == [OPENED, Text("a", TEXT_A)]
    assert isinstance(last, Failed) and last.garbled == layer
    assert reader.done
    assert reader.receive(TEXT_A) + reader.end() == []


@pytest.mark.parametrize("content_type", ["text/event-stream", "application/json"])
def test_the_answer_has_a_limit(content_type: str) -> None:
    reader = openai_south.reader(CHAT, content_type, Limits(answer=1000))
    for _ in range(5):
        reader.receive(ROLE if "event" in content_type else b"{" + b" " * 150)
    (failed,) = reader.receive(b" " * 400)
    assert isinstance(failed, Failed) and "limits.answer" in failed.message
    assert reader.done


def test_ids_are_made_up_where_a_backend_sends_none() -> None:
    body = ROLE + chunk(calls(call(0, "{}", None, "f"), call(1, "{}", "", "g"))) + STOP
    made = [event.id for event in read(chat_reader(), body) if isinstance(event, ToolDelta)]
    assert all(re.fullmatch("call_[0-9a-f]{8}", identity or "") for identity in made)
    assert len(set(made)) == 2


def test_function_call_of_old_servers() -> None:
    body = (
        ROLE + chunk({"function_call": {"name": "f", "arguments": "{"}}) + chunk({"function_call": {"arguments": "}"}})
    )
    body += chunk({}, "function_call")
    opened, first, second, finish = read(chat_reader(), body)
    assert opened == OPENED
    assert isinstance(first, ToolDelta) and (first.index, first.name, first.arguments) == (0, "f", "{")
    assert second == ToolDelta(0, arguments="}")
    assert finish == Finish(FinishReason.TOOL_CALLS)


class TestProgressOfLlamaCpp:
    FRAME = chunk({"role": "assistant", "content": None}, prompt_progress={"total": 9, "processed": 4})

    def test_it_is_kept_from_a_client_that_did_not_ask(self) -> None:
        assert read(llamacpp_south.reader(CHAT, "text/event-stream", Limits()), self.FRAME) == [LATE, Progress(4, 9)]

    def test_it_is_passed_on_to_one_that_did(self) -> None:
        asked = openai_north.parse(
            "chat", b'{"model":"m","messages":[{"role":"user","content":"x"}],"return_progress":true}'
        )
        reader = llamacpp_south.reader(asked, "text/event-stream", Limits())
        assert read(reader, self.FRAME) == [LATE, Progress(4, 9, self.FRAME)]


TOKENS = [{"token": "a", "logprob": -0.5, "bytes": [97], "top_logprobs": []}]


class TestLogprobs:
    def test_chat_keeps_them_on_the_text(self) -> None:
        choice = {"index": 0, "delta": {"content": "a"}, "finish_reason": None, "logprobs": {"content": TOKENS}}
        frame = sse({**HEAD, "choices": [choice]})
        assert read(chat_reader(), ROLE + frame) == [OPENED, Text("a", frame, TOKENS)]

    def test_those_of_half_a_character_wait_for_the_other_half(self) -> None:
        def frame(text: str) -> bytes:
            choice = {"index": 0, "delta": {"content": text}, "finish_reason": None, "logprobs": {"content": TOKENS}}
            return sse({**HEAD, "choices": [choice]})

        assert read(chat_reader(), ROLE + frame("") + frame("é")) == [OPENED, PULSE, Text("é", None, TOKENS * 2)]

    def test_completions_have_another_form(self) -> None:
        lists = {"tokens": ["a"], "token_logprobs": [-0.5], "top_logprobs": [{"b": -1.0}], "text_offset": [0]}
        frame = text_chunk("a").replace(b'"logprobs": null', b'"logprobs": ' + json.dumps(lists).encode())
        _, event = read(openai_south.reader(TEXT, "text/event-stream", Limits()), frame)
        assert event == Text(
            "a",
            frame,
            [
                {
                    "token": "a",
                    "logprob": -0.5,
                    "bytes": [97],
                    "top_logprobs": [{"token": "b", "logprob": -1.0, "bytes": [98]}],
                }
            ],
        )


class TestOneJsonText:
    ANSWER = json.dumps(
        {
            **HEAD,
            "object": "chat.completion",
            "choices": [
                {
                    "index": 0,
                    "message": {
                        "role": "assistant",
                        "content": None,
                        "reasoning_content": "r",
                        "tool_calls": [{"id": "i", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
                    },
                    "finish_reason": "tool_calls",
                }
            ],
            "usage": USAGE,
        },
        indent=1,
    ).encode()
    EVENTS = (LATE, Thinking("r"), ToolDelta(0, "i", "f", "{}"), Finish(FinishReason.TOOL_CALLS), Usage(3, 2))

    @pytest.mark.parametrize("body", [ANSWER, b"\n\n \r\n" + ANSWER + b"\n", b"\xef\xbb\xbf" + ANSWER])
    def test_it_is_read_at_its_end(self, body: bytes) -> None:
        for step in (1, 13, len(body)):
            reader = chat_reader("application/json; charset=utf-8")
            for start in range(0, len(body), step):
                assert reader.receive(body[start : start + step]) == []
            assert not reader.complete
            assert reader.end() == list(self.EVENTS)
            assert reader.complete and reader.done

    def test_an_error_under_status_200(self) -> None:
        assert read(chat_reader("application/json"), b'{"error":{"message":"no","code":429}}') == [
            Failed("no", "429", None, 429)
        ]

    def test_a_stream_under_that_type(self) -> None:
        assert read(chat_reader("application/json"), b"\n" + ROLE + TEXT_A) == [OPENED, Text("a", TEXT_A)]

    def test_half_of_it_is_garbled(self) -> None:
        (failed,) = read(chat_reader("application/json"), self.ANSWER[:-5])
        assert isinstance(failed, Failed) and failed.garbled == "parse"

    def test_nothing_is_not_complete(self) -> None:
        reader = chat_reader("application/json")
        assert read(reader, b" \n") == []
        assert not reader.complete
