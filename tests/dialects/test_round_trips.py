"""Answers through Anthropic's dialect and the Responses API: nothing is lost on the way."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from test_translation import ASK_OLLAMA, ASK_OPENAI, IDENTITY, answers, through, told

from anthropic_conformance import check_anthropic_stream
from penstock.chat.events import Event, FinishReason
from penstock.chat.request import Message, Request
from penstock.dialects.anthropic import anthropic_north, anthropic_south
from penstock.dialects.base import Limits, Timing
from penstock.dialects.ollama import ollama_north, ollama_south
from penstock.dialects.openai import openai_north, openai_south
from penstock.dialects.responses import responses_north
from responses_conformance import check_responses_stream

ASK_ANTHROPIC = b'{"model":"m","max_tokens":9,"messages":[{"role":"user","content":"hi"}],"stream":%b}'


@settings(deadline=None)
@given(answers(), st.booleans(), st.booleans(), st.integers(0, 3000))
def test_an_answer_comes_through_anthropics(events: list[Event], first: bool, second: bool, cut: int) -> None:
    by_anthropic = through(events, anthropic_north, anthropic_south, ASK_ANTHROPIC, stream=first, cut=cut)
    assert told(by_anthropic) == told(events)
    by_ollama = through(by_anthropic, ollama_north, ollama_south, ASK_OLLAMA, stream=second, cut=cut)
    assert told(by_ollama) == told(events)
    by_openai = through(by_anthropic, openai_north, openai_south, ASK_OPENAI, stream=second, cut=cut)
    again = through(by_openai, anthropic_north, anthropic_south, ASK_ANTHROPIC, stream=second, cut=cut)
    assert told(again) == told(events)


@settings(deadline=None)
@given(answers(), st.integers(0, 3000))
def test_frames_of_the_same_dialect_are_not_touched(events: list[Event], cut: int) -> None:
    """One penstock behind another."""
    request = anthropic_north.parse("chat", ASK_ANTHROPIC % b"true")
    inner = anthropic_north.writer(request, IDENTITY, passthrough=False)
    body = inner.write(events) + inner.end(Timing())
    check_anthropic_stream(body)
    reader = anthropic_south.reader(request, inner.content_type, Limits())
    outer = anthropic_north.writer(request, IDENTITY, passthrough=True)
    cut = min(cut, len(body))
    sent_on = outer.write(reader.receive(body[:cut])) + outer.write(reader.receive(body[cut:])) + outer.end(Timing())
    assert sent_on == body
    whole = anthropic_north.writer(anthropic_north.parse("chat", ASK_ANTHROPIC % b"false"), IDENTITY, passthrough=True)
    reader = anthropic_south.reader(request, inner.content_type, Limits())
    whole.write([*reader.receive(body), *reader.end()])
    document = anthropic_south.reader(request, whole.content_type, Limits())
    assert told([*document.receive(whole.end(Timing())), *document.end()]) == told(events)


@settings(deadline=None)
@given(answers(), st.booleans())
def test_an_answer_comes_through_the_responses_api(events: list[Event], stream: bool) -> None:
    request = responses_north.parse(
        "chat", b'{"model":"m","input":"x","stream":%b}' % (b"true" if stream else b"false")
    )
    writer = responses_north.writer(request, IDENTITY, passthrough=False)
    body = b"".join([writer.write([event]) for event in events]) + writer.end(Timing())
    response: dict[str, Any] = check_responses_stream(body)[-1]["response"] if stream else json.loads(body)
    expected = told(events)
    items = response["output"]
    text = "".join(item["content"][0]["text"] for item in items if item["type"] == "message")
    thinking = "".join(item["summary"][0]["text"] for item in items if item["type"] == "reasoning")
    calls = [
        (item["call_id"], item["name"], json.dumps(json.loads(item["arguments"])))
        for item in items
        if item["type"] == "function_call"
    ]
    assert (text, thinking, calls) == (expected["text"], expected["thinking"], expected["calls"])
    assert (response["status"] == "incomplete") is (expected["finish"] is FinishReason.LENGTH)
    usage = response["usage"]
    assert (usage["input_tokens"], usage["output_tokens"]) == expected["usage"]


# --- requests

AGENT: dict[str, Any] = {
    "model": "m",
    "max_tokens": 99,
    "system": "s",
    "messages": [
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}},
            ],
        },
        {
            "role": "assistant",
            "content": [
                {"type": "text", "text": "b"},
                {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": [1]}},
                {"type": "tool_use", "id": "t2", "name": "g", "input": {}},
            ],
        },
        {
            "role": "user",
            "content": [
                {"type": "tool_result", "tool_use_id": "t1", "content": "one"},
                {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
                {"type": "text", "text": "go on"},
            ],
        },
    ],
    "temperature": 0.5,
    "top_p": 0.9,
    "stop_sequences": ["x"],
    "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}}],
}


def meaning(request: Request) -> tuple[Any, ...]:
    return (
        [_meaning(message) for message in request.messages],
        request.tools,
        request.sampling,
        request.response_format,
    )


def _meaning(message: Message) -> tuple[Any, ...]:
    calls = [(call.id, call.name, json.loads(call.arguments)) for call in message.tool_calls]
    images = [image.data for image in message.images]
    return message.role, message.content, images, calls, message.tool_call_id, message.tool_name


@pytest.mark.parametrize(("south", "north"), [(openai_south, openai_north), (ollama_south, ollama_north)])
def test_a_request_comes_through_and_back(south: Any, north: Any) -> None:
    asked = anthropic_north.parse("chat", json.dumps(AGENT).encode())
    there = south.encode(asked, "m")
    assert there.dropped == ()
    theirs = north.parse("chat", there.body)
    assert meaning(theirs) == meaning(asked)
    back = anthropic_south.encode(theirs, "m")
    assert back.dropped == ()
    assert meaning(anthropic_north.parse("chat", back.body)) == meaning(asked)
