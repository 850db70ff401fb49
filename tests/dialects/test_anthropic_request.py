"""What Anthropic clients ask, what such backends are asked, and how the tokens of a request are guessed."""

from __future__ import annotations

import json
from typing import Any

import msgspec
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
from penstock.dialects import anthropic_call, anthropic_tokens
from penstock.dialects.anthropic import anthropic_north, anthropic_south
from penstock.dialects.ollama import ollama_north
from penstock.dialects.openai import openai_north
from penstock.errors import BadRequest

HI: list[dict[str, Any]] = [{"role": "user", "content": "hi"}]
PNG = {"type": "base64", "media_type": "image/png", "data": "iVBORw0KGgo="}


def asked(**fields: Any) -> Request:
    return anthropic_north.parse("chat", json.dumps({"model": "m", "messages": HI, **fields}).encode())


def turns(*messages: dict[str, Any], **fields: Any) -> tuple[Message, ...]:
    return asked(messages=list(messages), **fields).messages


class TestParse:
    def test_everything(self) -> None:
        body = {
            "model": "claude",
            "max_tokens": 9,
            "stream": True,
            "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
            "messages": HI,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 3,
            "stop_sequences": ["x"],
            "tools": [{"name": "f", "description": "d", "input_schema": {"type": "object"}, "strict": True}],
            "tool_choice": {"type": "tool", "name": "f", "disable_parallel_tool_use": True},
            "thinking": {"type": "enabled", "budget_tokens": 2000},
            "output_config": {"effort": "high", "format": {"type": "json_schema", "schema": {"a": 1}}},
            "metadata": {"user_id": "u"},
            "context_management": {},
        }
        assert anthropic_north.parse("chat", json.dumps(body).encode()) == Request(
            dialect="anthropic",
            operation=Operation.CHAT,
            model="claude",
            stream=True,
            body=body,
            messages=(Message(role="system", content="s"), Message(role="user", content="hi")),
            tools=(Tool(name="f", description="d", parameters={"type": "object"}, strict=True),),
            tool_choice="function:f",
            parallel_tool_calls=False,
            sampling=Sampling(max_tokens=9, temperature=0.5, top_p=0.9, top_k=3, stop=("x",)),
            response_format=ResponseFormat(schema={"a": 1}),
            effort=Effort.HIGH,
            include_usage=True,
            unmapped=("metadata", "context_management", "thinking.budget_tokens"),
        )

    def test_the_turns_of_an_agent(self) -> None:
        assert turns(
            {"role": "user", "content": [{"type": "text", "text": "a"}, {"type": "image", "source": PNG}]},
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "r", "signature": "s"},
                    {"type": "text", "text": "b"},
                    {"type": "tool_use", "id": "t1", "name": "f", "input": {"x": 1}},
                    {"type": "tool_use", "id": "t2", "name": "g"},
                ],
            },
            {
                "role": "user",
                "content": [
                    {"type": "tool_result", "tool_use_id": "t2", "content": "two"},
                    {
                        "type": "tool_result",
                        "tool_use_id": "t1",
                        "content": [{"type": "text", "text": "one"}, {"type": "image", "source": PNG}],
                    },
                    {"type": "text", "text": "go on"},
                ],
            },
            {"role": "user", "content": [{"type": "tool_result", "tool_use_id": "t9"}]},
            system="s",
        ) == (
            Message(role="system", content="s"),
            Message(role="user", content="a", images=(Image(data=PNG["data"], media_type="image/png"),)),
            Message(
                role="assistant",
                content="b",
                thinking="r",
                tool_calls=(
                    ToolCall(id="t1", name="f", arguments='{"x":1}'),
                    ToolCall(id="t2", name="g", arguments="{}"),
                ),
            ),
            Message(role="tool", content="two", tool_call_id="t2", tool_name="g"),
            Message(
                role="tool",
                content="one",
                images=(Image(data=PNG["data"], media_type="image/png"),),
                tool_call_id="t1",
                tool_name="f",
            ),
            Message(role="user", content="go on"),
            Message(role="tool", tool_call_id="t9"),
        )

    @pytest.mark.parametrize(
        ("block", "message", "unmapped"),
        [
            (
                {"type": "image", "source": {"type": "url", "url": "https://x/y"}},
                Message(role="user", images=(Image(url="https://x/y"),)),
                (),
            ),
            ({"type": "document", "source": {"type": "text", "data": "d"}}, Message(role="user", content="d"), ()),
            (
                {"type": "document", "source": {"type": "url", "url": "https://x"}},
                Message(role="user"),
                ("messages[0].content[0]",),
            ),
            ({"type": "redacted_thinking", "data": "x"}, Message(role="user"), ("messages[0].content[0]",)),
            (
                {"type": "tool_result", "tool_use_id": "t", "content": "no", "is_error": True},
                Message(role="tool", content="no", tool_call_id="t"),
                ("messages[0].content[0].is_error",),
            ),
        ],
    )
    def test_blocks(self, block: dict[str, Any], message: Message, unmapped: tuple[str, ...]) -> None:
        request = asked(messages=[{"role": "user", "content": [block]}])
        assert (request.messages, request.unmapped) == ((message,), unmapped)

    @pytest.mark.parametrize(
        ("fields", "effort", "unmapped"),
        [
            ({}, None, ()),
            ({"thinking": {"type": "disabled"}}, Effort.NONE, ()),
            ({"thinking": {"type": "adaptive"}}, None, ()),
            ({"thinking": {"type": "enabled", "budget_tokens": 1024}}, Effort.ON, ("thinking.budget_tokens",)),
            # A model that cannot think would refuse the word.
            (
                {"thinking": {"type": "adaptive"}, "output_config": {"effort": "high"}},
                None,
                ("output_config.effort",),
            ),
        ],
    )
    def test_thinking(self, fields: dict[str, Any], effort: Effort | None, unmapped: tuple[str, ...]) -> None:
        request = asked(**fields)
        assert (request.effort, request.unmapped) == (effort, unmapped)

    @pytest.mark.parametrize(
        ("choice", "read"),
        [
            ({"type": "auto"}, ("auto", None)),
            ({"type": "any", "disable_parallel_tool_use": False}, ("required", True)),
            ({"type": "none"}, ("none", None)),
        ],
    )
    def test_tool_choice(self, choice: dict[str, Any], read: tuple[str, bool | None]) -> None:
        request = asked(tool_choice=choice)
        assert (request.tool_choice, request.parallel_tool_calls) == read

    def test_tools_of_anthropics_own_servers_are_named(self) -> None:
        request = asked(tools=[{"type": "web_search_20250305", "name": "web_search"}, {"name": "f"}])
        assert (request.tools, request.unmapped) == ((Tool(name="f"),), ("tools[0]",))

    @pytest.mark.parametrize(
        ("fields", "param"),
        [
            ({"model": ""}, "model"),
            ({"messages": []}, "messages"),
            ({"messages": [{"role": "tool", "content": "x"}]}, "messages[0].role"),
            ({"messages": [{"role": "user", "content": 7}]}, "messages[0].content"),
            ({"messages": [{"role": "user", "content": [{"text": "x"}]}]}, "messages[0].content[0].type"),
            (
                {"messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "x"}}]}]},
                "messages[0].content[0].source.type",
            ),
            (
                {
                    "messages": [
                        {"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": "file:/x"}}]}
                    ]
                },
                "messages[0].content[0].source.url",
            ),
            ({"max_tokens": "9"}, "max_tokens"),
            ({"system": 7}, "system"),
            ({"tool_choice": {"type": "x"}}, "tool_choice.type"),
            ({"thinking": {"type": "x"}}, "thinking.type"),
            ({"tools": [{}]}, "tools[0].name"),
        ],
    )
    def test_what_cannot_be(self, fields: dict[str, Any], param: str) -> None:
        with pytest.raises(BadRequest) as caught:
            asked(**fields)
        assert caught.value.param == param

    def test_completions_are_unknown(self) -> None:
        with pytest.raises(BadRequest):
            anthropic_north.parse("completion", b'{"model":"m","prompt":"x"}')


class TestCall:
    def test_own_dialect(self) -> None:
        request = asked(max_tokens=7, new={"x": 1}, base_url="http://x", stream=False)
        request = msgspec.structs.replace(request, headers={"anthropic-beta": "a,b", "cookie": "c"})
        call = anthropic_south.encode(request, "big")
        assert json.loads(call.body) == {
            "model": "big",
            "messages": HI,
            "max_tokens": 7,
            "new": {"x": 1},
            "stream": True,
        }
        assert (call.path, call.dropped) == ("/messages", ("base_url",))
        assert call.headers == (("anthropic-beta", "a,b"),)
        counted = anthropic_call.count_call(request, "big")
        assert counted.path == "/messages/count_tokens" and counted.headers == call.headers

    def test_from_openai(self) -> None:
        body = {
            "model": "m",
            "messages": [
                {"role": "system", "content": "s"},
                {"role": "user", "content": "a", "name": "Ann"},
                {
                    "role": "user",
                    "content": [{"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw0KGgo="}}],
                },
                {
                    "role": "assistant",
                    "content": None,
                    "reasoning_content": "r",
                    "tool_calls": [{"id": "c1", "function": {"name": "f", "arguments": '{"x":1}'}}],
                },
                {"role": "user", "content": "b"},
                {"role": "tool", "tool_call_id": "c1", "content": "one"},
                {"role": "developer", "content": "t"},
            ],
            "max_completion_tokens": 99,
            "temperature": 1.5,
            "top_p": 0.5,
            "stop": ["x", "\n"],
            "seed": 1,
            "tools": [
                {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}},
                {"type": "function", "function": {"name": "g"}},
            ],
            "tool_choice": "required",
            "parallel_tool_calls": False,
            "reasoning_effort": "minimal",
            "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {"a": 1}}},
            "user": "u",
        }
        call = anthropic_south.encode(openai_north.parse("chat", json.dumps(body).encode()), "claude")
        assert json.loads(call.body) == {
            "model": "claude",
            "stream": True,
            "system": "s\n\nt",
            "messages": [
                {
                    "role": "user",
                    "content": [{"type": "text", "text": "a"}, {"type": "image", "source": PNG}],
                },
                {"role": "assistant", "content": [{"type": "tool_use", "id": "c1", "name": "f", "input": {"x": 1}}]},
                {
                    "role": "user",
                    "content": [
                        {"type": "tool_result", "tool_use_id": "c1", "content": [{"type": "text", "text": "one"}]},
                        {"type": "text", "text": "b"},
                    ],
                },
            ],
            "max_tokens": 99,
            "temperature": 1,
            "top_p": 0.5,
            "stop_sequences": ["x"],
            "tools": [
                {"name": "f", "input_schema": {"type": "object"}},
                {"name": "g", "input_schema": {"type": "object"}},
            ],
            "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
            "thinking": {"type": "adaptive"},
            "output_config": {"effort": "low", "format": {"type": "json_schema", "schema": {"a": 1}}},
        }
        assert call.dropped == ("user", "seed", "stop", "messages.name", "messages.thinking")

    @pytest.mark.parametrize(
        ("said", "sent"),
        [
            ({}, {}),
            ({"reasoning_effort": "none"}, {"thinking": {"type": "disabled"}}),
            ({"tool_choice": "auto"}, {}),
            ({"temperature": 0}, {"temperature": 0}),
        ],
    )
    def test_what_is_not_said_is_not_sent(self, said: dict[str, Any], sent: dict[str, Any]) -> None:
        request = openai_north.parse("chat", json.dumps({"model": "m", "messages": HI, **said}).encode())
        assert json.loads(anthropic_south.encode(request, "m").body) == {
            "model": "m",
            "messages": [{"role": "user", "content": [{"type": "text", "text": "hi"}]}],
            "max_tokens": anthropic_call.MAX_TOKENS,
            "stream": True,
            **sent,
        }

    def test_from_ollama(self) -> None:
        body = {
            "model": "m",
            "prompt": "p",
            "system": "s",
            "images": ["iVBORw0KGgo="],
            "options": {"num_predict": 5, "min_p": 0.1, "num_ctx": 9},
            "format": "json",
            "keep_alive": 0,
        }
        call = anthropic_south.encode(ollama_north.parse("completion", json.dumps(body).encode()), "claude")
        assert json.loads(call.body) == {
            "model": "claude",
            "stream": True,
            "system": "s",
            "messages": [
                {"role": "user", "content": [{"type": "image", "source": PNG}, {"type": "text", "text": "p"}]}
            ],
            "max_tokens": 5,
        }
        assert call.dropped == ("options.num_ctx", "options.min_p", "response_format", "keep_alive")

    @pytest.mark.parametrize(
        ("operation", "fields", "param"),
        [
            ("completion", {"prompt": "p"}, "prompt"),
            ("completion", {"prompt": "p", "suffix": "s"}, "suffix"),
            (
                "chat",
                {"messages": [{"role": "assistant", "tool_calls": [{"function": {"name": "f", "arguments": "["}}]}]},
                "messages.tool_calls.function.arguments",
            ),
        ],
    )
    def test_what_cannot_be_asked(self, operation: str, fields: dict[str, Any], param: str) -> None:
        request = openai_north.parse(operation, json.dumps({"model": "m", **fields}).encode())
        with pytest.raises(BadRequest) as caught:
            anthropic_south.encode(request, "m")
        assert caught.value.param == param

    @pytest.mark.parametrize(
        ("key", "headers"),
        [(None, []), ("", []), ("k", [("x-api-key", "k")])],
    )
    def test_headers(self, key: str | None, headers: list[tuple[str, str]]) -> None:
        assert anthropic_south.auth(key) == [("anthropic-version", "2023-06-01"), *headers]

    def test_models(self) -> None:
        body = b'{"data":[{"type":"model","id":"claude","display_name":"C","created_at":"2026-01-01T00:00:00Z"}]}'
        assert anthropic_south.models_call().path == "/models?limit=1000"
        assert [model.name for model in anthropic_south.models(body)] == ["claude"]


class TestTokens:
    def test_a_guess_grows_with_what_is_said(self) -> None:
        small = anthropic_tokens.estimate(asked())
        assert small == 1 + 4
        assert anthropic_tokens.estimate(asked(system="x" * 400)) == small + 100 + 4
        assert anthropic_tokens.estimate(asked(tools=[{"name": "f", "description": "x" * 400}])) > small + 100
        picture = [{"role": "user", "content": [{"type": "image", "source": PNG}]}]
        assert anthropic_tokens.estimate(asked(messages=picture)) > 1000
        assert json.loads(anthropic_tokens.answer(7)) == {"input_tokens": 7}
