"""What clients of the Responses API ask, read into the neutral request; and what is refused, with the field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.chat.request import (
    Effort,
    Image,
    Message,
    Operation,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolCall,
)
from penstock.dialects.openai import openai_south
from penstock.dialects.responses import responses_north
from penstock.errors import BadRequest


def asked(**fields: Any) -> Request:
    return responses_north.parse("chat", json.dumps({"model": "m", "input": "hi", **fields}).encode())


def test_everything() -> None:
    body = {
        "model": "gpt",
        "input": "hi",
        "instructions": "s",
        "stream": True,
        "store": False,
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "tools": [
            {"type": "function", "name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False},
            {"type": "web_search"},
        ],
        "tool_choice": {"type": "function", "name": "f"},
        "parallel_tool_calls": True,
        "reasoning": {"effort": "high", "summary": "auto"},
        "text": {
            "format": {"type": "json_schema", "name": "n", "schema": {"a": 1}, "strict": True},
            "verbosity": "low",
        },
        "prompt_cache_key": "k",
        "previous_response_id": None,
    }
    assert responses_north.parse("chat", json.dumps(body).encode()) == Request(
        dialect="responses",
        operation=Operation.CHAT,
        model="gpt",
        stream=True,
        body=body,
        messages=(Message(role="system", content="s"), Message(role="user", content="hi")),
        tools=(Tool(name="f", description="d", parameters={"type": "object"}, strict=False),),
        tool_choice="function:f",
        parallel_tool_calls=True,
        sampling=Sampling(max_tokens=9, temperature=0.5, top_p=0.9),
        response_format=ResponseFormat(schema={"a": 1}, name="n", strict=True),
        effort=Effort.HIGH,
        logprobs=True,
        top_logprobs=2,
        include_usage=True,
        unmapped=("prompt_cache_key", "include.reasoning.encrypted_content", "tools[1]", "text.verbosity"),
    )


def test_the_turns_of_an_agent() -> None:
    request = asked(
        input=[
            {"type": "message", "role": "developer", "content": [{"type": "input_text", "text": "s"}]},
            {
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "a"},
                    {"type": "input_text", "text": "b"},
                    {"type": "input_image", "image_url": "data:image/png;base64,iVBORw0KGgo=", "detail": "low"},
                    {"type": "input_file", "file_id": "x"},
                ],
            },
            {"type": "reasoning", "id": "rs_1", "summary": [{"type": "summary_text", "text": "r"}]},
            {"type": "message", "role": "assistant", "content": [{"type": "output_text", "text": "c"}]},
            {"type": "function_call", "call_id": "c1", "name": "f", "arguments": '{"x":1}'},
            {"type": "function_call", "call_id": "c2", "name": "g", "arguments": ""},
            {"type": "function_call_output", "call_id": "c1", "output": "one"},
            {"type": "function_call_output", "call_id": "c2", "output": [{"type": "input_text", "text": "two"}]},
            {"type": "function_call", "call_id": "c3", "name": "f", "arguments": "{}"},
            {"type": "message", "role": "assistant", "content": "d"},
            {"type": "local_shell_call", "id": "x"},
        ]
    )
    assert request.messages == (
        Message(role="system", content="s"),
        Message(
            role="user",
            content="a\nb",
            images=(Image(data="iVBORw0KGgo=", media_type="image/png", detail="low"),),
        ),
        Message(
            role="assistant",
            content="c",
            thinking="r",
            tool_calls=(
                ToolCall(id="c1", name="f", arguments='{"x":1}'),
                ToolCall(id="c2", name="g", arguments="{}"),
            ),
        ),
        Message(role="tool", content="one", tool_call_id="c1", tool_name="f"),
        Message(role="tool", content="two", tool_call_id="c2", tool_name="g"),
        Message(role="assistant", tool_calls=(ToolCall(id="c3", name="f", arguments="{}"),)),
        Message(role="assistant", content="d"),
    )
    assert request.unmapped == ("input[1].content[3]", "input[10]")


@pytest.mark.parametrize(
    ("fields", "read"),
    [
        ({"text": {"format": {"type": "text"}}}, {"response_format": None}),
        ({"text": {"format": {"type": "json_object"}}}, {"response_format": ResponseFormat()}),
        ({"reasoning": {"effort": "none"}}, {"effort": Effort.NONE}),
        ({"reasoning": {"effort": "ultra"}}, {"effort": None, "unmapped": ("reasoning.effort",)}),
        ({"reasoning": None}, {"effort": None}),
        ({"tool_choice": "required"}, {"tool_choice": "required"}),
        ({"tool_choice": {"type": "web_search"}}, {"tool_choice": None, "unmapped": ("tool_choice",)}),
        ({"store": True}, {"unmapped": ("store",)}),
        ({}, {"stream": False, "unmapped": ()}),
    ],
)
def test_fields(fields: dict[str, Any], read: dict[str, Any]) -> None:
    request = asked(**fields)
    assert {name: getattr(request, name) for name in read} == read


@pytest.mark.parametrize(
    ("fields", "message", "param"),
    [
        ({"model": ""}, "is missing", "model"),
        ({"input": None}, "a string or a list", "input"),
        ({"input": []}, "at least one", "input"),
        ({"input": [{"role": "robot", "content": "x"}]}, "one of user", "input[0].role"),
        ({"input": [{"role": "user", "content": 7}]}, "a list of parts", "input[0].content"),
        ({"input": [{"type": "function_call", "name": "f"}]}, "is missing", "input[0].call_id"),
        (
            {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": "file:/x"}]}]},
            "a data URI or",
            "input[0].content[0].image_url",
        ),
        ({"background": True}, "ask for a stream", "background"),
        ({"tools": [{"type": "function"}]}, "is missing", "tools[0].name"),
        ({"tool_choice": 7}, "must be", "tool_choice"),
        ({"text": {"format": {"type": "xml"}}}, "json_schema", "text.format.type"),
        ({"max_output_tokens": 0}, "between 1", "max_output_tokens"),
    ],
)
def test_what_cannot_be(fields: dict[str, Any], message: str, param: str) -> None:
    with pytest.raises(BadRequest, match=message) as caught:
        asked(**fields)
    assert caught.value.param == param


def test_completions_are_unknown() -> None:
    with pytest.raises(BadRequest):
        responses_north.parse("completion", b'{"model":"m","prompt":"x"}')


def test_a_backend_is_asked_for_a_chat() -> None:
    call = openai_south.encode(asked(instructions="s", max_output_tokens=5, user="u"), "qwen")
    assert call.path == "/chat/completions" and call.dropped == ("user",)
    assert json.loads(call.body) == {
        "model": "qwen",
        "messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}],
        "max_tokens": 5,
        "stream": True,
        "stream_options": {"include_usage": True},
    }
