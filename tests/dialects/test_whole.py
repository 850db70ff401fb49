"""A backend that cannot stream: how each kind is asked, and that its one reader reads what it says instead."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.chat.events import Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Request
from penstock.config.model import Manner
from penstock.dialects.base import Limits, Reader
from penstock.dialects.openai import openai_north
from penstock.dialects.registry import SOUTHBOUND
from penstock.dialects.whole import InPieces

WHOLE = Manner(stream="never")
CHAT = openai_north.parse("chat", b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}')
PROMPT = openai_north.parse("completion", b'{"model":"m","prompt":"x","stream":true}')
GAP = openai_north.parse("completion", b'{"model":"m","prompt":"x","suffix":"y","stream":true}')

LONG = "0123456789" * 20
CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": '{"at":1}'}}
COUNTS = {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}


def openai(**message: object) -> dict[str, Any]:
    choice = {"index": 0, "message": {"role": "assistant", **message}, "finish_reason": "stop"}
    return {"id": "c", "object": "chat.completion", "created": 1, "model": "m", "choices": [choice], "usage": COUNTS}


OPENAI = openai(content=LONG, reasoning_content="hm", tool_calls=[CALL])
TEXT = {**OPENAI, "choices": [{"index": 0, "text": LONG, "finish_reason": "length"}]}
OLLAMA = {
    "model": "m",
    "created_at": "2026-01-01T00:00:00Z",
    "message": {
        "role": "assistant",
        "content": LONG,
        "thinking": "hm",
        "tool_calls": [{"function": {"name": "look", "arguments": {"at": 1}}}],
    },
    "done": True,
    "done_reason": "stop",
    "prompt_eval_count": 7,
    "eval_count": 3,
}
ANTHROPIC = {
    "id": "msg_1",
    "type": "message",
    "role": "assistant",
    "model": "m",
    "content": [
        {"type": "thinking", "thinking": "hm", "signature": ""},
        {"type": "text", "text": LONG},
        {"type": "tool_use", "id": "call_1", "name": "look", "input": {"at": 1}},
    ],
    "stop_reason": "tool_use",
    "usage": {"input_tokens": 7, "output_tokens": 3},
}
KOBOLDCPP = {"results": [{"text": LONG, "finish_reason": "length", "prompt_tokens": 7, "completion_tokens": 3}]}
INFILL = {"content": LONG, "stop": True, "stop_type": "limit", "tokens_evaluated": 7, "tokens_predicted": 3}

#: kind, request -> the path that is asked, and an answer in one piece.
CASES: dict[str, tuple[str, Request, str, object]] = {
    "openai chat": ("openai", CHAT, "/chat/completions", OPENAI),
    "openai completion": ("openai", PROMPT, "/completions", TEXT),
    "llamacpp chat": ("llamacpp", CHAT, "/v1/chat/completions", OPENAI),
    "llamacpp infill": ("llamacpp", GAP, "/infill", INFILL),
    "lmstudio chat": ("lmstudio", CHAT, "/v1/chat/completions", OPENAI),
    "vllm chat": ("vllm", CHAT, "/chat/completions", OPENAI),
    "ollama chat": ("ollama", CHAT, "/api/chat", OLLAMA),
    "anthropic chat": ("anthropic", CHAT, "/messages", ANTHROPIC),
    "koboldcpp chat": ("koboldcpp", CHAT, "/v1/chat/completions", OPENAI),
    "koboldcpp generate": ("koboldcpp", PROMPT, "/api/v1/generate", KOBOLDCPP),
}


def read(reader: Reader, body: bytes, size: int) -> list[Event]:
    events: list[Event] = []
    for start in range(0, len(body), size):
        events += reader.receive(body[start : start + size])
    return events + reader.end()


@pytest.mark.parametrize("content_type", ["application/json", "application/json; charset=utf-8", "text/plain", ""])
@pytest.mark.parametrize(("kind", "request_", "path", "answer"), CASES.values(), ids=CASES)
def test_each_kind(kind: str, request_: Request, path: str, answer: object, content_type: str) -> None:
    south = SOUTHBOUND[kind]
    call = south.encode(request_, "m", WHOLE)
    asked = json.loads(call.body)
    assert call.path == path
    assert asked.get("stream") in (False, None)
    assert asked.keys().isdisjoint({"stream_options", "return_progress"})
    assert call.tally is None
    for text in (json.dumps(answer), json.dumps(answer, indent=1), "\n\n " + json.dumps(answer)):
        for size in (len(text), 1):
            reader = InPieces(south.reader(request_, content_type, Limits(), WHOLE), 80)
            events = read(reader, text.encode(), size)
            assert reader.complete, events
            assert [type(event) for event in events[:1]] in ([Opened], [Usage])
            assert [event.text for event in events if isinstance(event, Text)] == [LONG[:80], LONG[80:160], LONG[160:]]
            (usage,) = [event for event in events if isinstance(event, Usage)]
            assert (usage.prompt_tokens, usage.completion_tokens) == (7, 3)
            (finish,) = [event for event in events if isinstance(event, Finish)]
            calls = [event for event in events if isinstance(event, ToolDelta)]
            if request_ is CHAT:
                assert [event.text for event in events if isinstance(event, Thinking)] == ["hm"]
                assert [(call.name, json.loads(call.arguments)) for call in calls] == [("look", {"at": 1})]
                assert finish.reason is FinishReason.TOOL_CALLS
            else:
                assert (finish.reason, calls) == (FinishReason.LENGTH, [])


@pytest.mark.parametrize(("kind", "request_", "path", "answer"), CASES.values(), ids=CASES)
def test_half_an_answer_is_none(kind: str, request_: Request, path: str, answer: object) -> None:
    text = json.dumps(answer).encode()
    reader = SOUTHBOUND[kind].reader(request_, "application/json", Limits(), WHOLE)
    read(reader, text[: len(text) // 2], 1000)
    assert not reader.complete


def test_what_is_not_cut() -> None:
    """Arguments, a text with log probabilities, a frame that is passed on."""

    class Fixed:
        complete = done = True

        def receive(self, data: bytes) -> list[Event]:
            return [ToolDelta(0, "c", "f", LONG), Text(LONG, None, [{"token": LONG}]), Text(LONG, b"raw"), Text("ab")]

        def end(self) -> list[Event]:
            return [Thinking("abcde")]

    reader = InPieces(Fixed(), 3)
    assert reader.receive(b"") == Fixed().receive(b"")
    assert reader.end() == [Thinking("abc"), Thinking("de")]
