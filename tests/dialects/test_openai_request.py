"""What OpenAI clients ask, read into the neutral request; and what is refused, with the field that is at fault."""

from __future__ import annotations

import json

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
from penstock.config.model import Shape
from penstock.dialects.openai import openai_north
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import BadRequest


def chat(*messages: object, **fields: object) -> Request:
    asked = list(messages) or [{"role": "user", "content": "x"}]
    return openai_north.parse("chat", json.dumps({"model": "m", "messages": asked, **fields}).encode())


def completion(**fields: object) -> Request:
    return openai_north.parse("completion", json.dumps({"model": "m", "prompt": "p", **fields}).encode())


def test_the_shortest_chat() -> None:
    request = chat()
    assert request == Request(
        dialect="openai",
        operation=Operation.CHAT,
        model="m",
        stream=False,
        body={"model": "m", "messages": [{"role": "user", "content": "x"}]},
        messages=(Message(role="user", content="x"),),
    )


IMAGE = "data:image/png;base64,iVBORw0K"
MESSAGES: list[tuple[str, object, Message]] = [
    ("developer is system", {"role": "developer", "content": "x"}, Message(role="system", content="x")),
    ("a name", {"role": "user", "name": "ann", "content": "x"}, Message(role="user", content="x", name="ann")),
    ("no content", {"role": "assistant", "content": None}, Message(role="assistant")),
    (
        "parts",
        {
            "role": "user",
            "content": [
                {"type": "text", "text": "a"},
                {"type": "image_url", "image_url": {"url": IMAGE, "detail": "low"}},
                {"type": "input_text", "text": "b"},
                {"type": "image_url", "image_url": "https://example.org/x.png"},
            ],
        },
        Message(
            role="user",
            content="a\nb",
            images=(
                Image(data="iVBORw0K", media_type="image/png", detail="low"),
                Image(url="https://example.org/x.png"),
            ),
        ),
    ),
    (
        "a data URI without a type",
        {"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:;base64,AA"}}]},
        Message(role="user", images=(Image(data="AA"),)),
    ),
    (
        "calls",
        {
            "role": "assistant",
            "reasoning_content": "r",
            "tool_calls": [
                {"id": "i", "type": "function", "function": {"name": "f", "arguments": '{"a": 1}'}},
                {"id": "j", "function": {"name": "g", "arguments": ""}},
                {"id": "k", "function": {"name": "h", "arguments": {"b": 2}}},
            ],
        },
        Message(
            role="assistant",
            thinking="r",
            tool_calls=(
                ToolCall(id="i", name="f", arguments='{"a": 1}'),
                ToolCall(id="j", name="g", arguments="{}"),
                ToolCall(id="k", name="h", arguments='{"b":2}'),
            ),
        ),
    ),
    (
        "a tool's result with its own name",
        {"role": "tool", "tool_call_id": "i", "name": "f", "content": [{"type": "text", "text": "x"}]},
        Message(role="tool", content="x", tool_call_id="i", tool_name="f"),
    ),
    (
        "a function's result",
        {"role": "function", "name": "f", "content": "x"},
        Message(role="tool", content="x", tool_name="f"),
    ),
]


@pytest.mark.parametrize(("message", "read"), [pytest.param(*row[1:], id=row[0]) for row in MESSAGES])
def test_messages(message: object, read: Message) -> None:
    assert chat(message).messages == (read,)


def test_a_result_gets_the_name_of_its_call() -> None:
    called = {"role": "assistant", "tool_calls": [{"id": "i", "function": {"name": "f"}}]}
    result = chat(called, {"role": "tool", "tool_call_id": "i", "content": "x"}).messages[1]
    assert result.tool_name == "f"


FIELDS: list[tuple[dict[str, object], dict[str, object]]] = [
    ({"stream": True}, {"stream": True}),
    ({"stream": None}, {"stream": False}),
    ({"stream": True, "stream_options": {"include_usage": True}}, {"stream": True, "include_usage": True}),
    ({"max_tokens": 5}, {"sampling": Sampling(max_tokens=5)}),
    ({"max_tokens": 5, "max_completion_tokens": 6}, {"sampling": Sampling(max_tokens=6)}),
    ({"max_tokens": -1}, {}),
    ({"stop": "a"}, {"sampling": Sampling(stop=("a",))}),
    ({"stop": ["a", "b"]}, {"sampling": Sampling(stop=("a", "b"))}),
    (
        {"temperature": 0, "top_p": 0.5, "seed": 7, "presence_penalty": -1, "frequency_penalty": 2},
        {"sampling": Sampling(temperature=0, top_p=0.5, seed=7, presence_penalty=-1, frequency_penalty=2)},
    ),
    (
        {"top_k": 40, "min_p": 0.1, "repetition_penalty": 1.1},
        {"sampling": Sampling(top_k=40, min_p=0.1, repeat_penalty=1.1)},
    ),
    (
        {
            "tools": [
                {"type": "function", "function": {"name": "f", "description": "d", "parameters": {}, "strict": True}}
            ]
        },
        {"tools": (Tool(name="f", description="d", parameters={}, strict=True),)},
    ),
    ({"tool_choice": "required"}, {"tool_choice": "required"}),
    ({"tool_choice": {"type": "function", "function": {"name": "f"}}}, {"tool_choice": "function:f"}),
    ({"parallel_tool_calls": False}, {"parallel_tool_calls": False}),
    ({"response_format": {"type": "text"}}, {}),
    ({"response_format": {"type": "json_object"}}, {"response_format": ResponseFormat()}),
    (
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"a": 1}}}},
        {"response_format": ResponseFormat(schema={"a": 1}, name="n", strict=True)},
    ),
    ({"reasoning_effort": "low"}, {"effort": Effort.LOW}),
    ({"reasoning": {"effort": "xhigh"}}, {"effort": Effort.XHIGH}),
    ({"reasoning": {"enabled": False}}, {"effort": Effort.NONE}),
    ({"reasoning": {"enabled": True}}, {"effort": Effort.ON}),
    ({"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}),
    ({"n": 1, "keep_alive": "5m"}, {"keep_alive": "5m"}),
    # What no neutral field carries is named.
    ({"user": "ann", "logit_bias": {}, "store": None}, {"unmapped": ("user", "logit_bias")}),
    ({"reasoning_effort": "ultra"}, {"unmapped": ("reasoning_effort",)}),
    ({"response_format": {"type": "grammar"}}, {"unmapped": ("response_format",)}),
    ({"tools": [{"type": "web_search"}]}, {"unmapped": ("tools[0]",)}),
    ({"tool_choice": {"type": "allowed_tools"}}, {"unmapped": ("tool_choice",)}),
    (
        {"messages": [{"role": "user", "content": [{"type": "input_audio", "input_audio": {}}]}]},
        {"messages": (Message(role="user"),), "unmapped": ("messages[0].content[0]",)},
    ),
]


@pytest.mark.parametrize(("fields", "read"), FIELDS, ids=[json.dumps(fields) for fields, _ in FIELDS])
def test_fields_of_a_chat(fields: dict[str, object], read: dict[str, object]) -> None:
    request = chat(**fields)
    expected = {name: getattr(chat(), name) for name in Request.__struct_fields__} | read
    assert {name: getattr(request, name) for name in Request.__struct_fields__} == expected | {"body": request.body}


def test_fields_of_a_completion() -> None:
    request = completion(prompt=["p"], suffix="s", logprobs=3, max_tokens=9, echo=True, stream=True)
    assert (request.operation, request.prompt, request.suffix) == (Operation.COMPLETION, "p", "s")
    assert (request.logprobs, request.top_logprobs, request.sampling) == (True, 3, Sampling(max_tokens=9))
    assert request.raw_prompt and request.stream
    assert request.unmapped == ("echo",)
    assert (completion(logprobs=True).logprobs, completion(logprobs=0).logprobs, completion().logprobs) == (
        True,
        True,
        False,
    )


REFUSED: list[tuple[dict[str, object], str, str]] = [
    ({"model": None}, "'model' is missing", "model"),
    ({"model": ""}, "'model' is missing", "model"),
    ({"model": 7}, "'model' must be a string (got 7)", "model"),
    ({"messages": None}, "'messages' must hold at least one message", "messages"),
    ({"messages": []}, "'messages' must hold at least one message", "messages"),
    ({"messages": ["x"]}, "'messages[0]' must be an object", "messages[0]"),
    ({"messages": [{"content": "x"}]}, "'messages[0].role' is missing", "messages[0].role"),
    ({"messages": [{"role": "bot"}]}, "'messages[0].role' must be one of system,", "messages[0].role"),
    (
        {"messages": [{"role": "user", "content": 5}]},
        "'messages[0].content' must be a string or a list",
        "messages[0].content",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "file:///etc/x"}}]}]},
        "must be a data URI or an http(s) URL",
        "messages[0].content[0].image_url.url",
    ),
    (
        {"messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": "data:,x"}}]}]},
        "must be a data URI in base64",
        "messages[0].content[0].image_url.url",
    ),
    (
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {"arguments": "{}"}}]}]},
        "'messages[0].tool_calls[0].function.name' is missing",
        "messages[0].tool_calls[0].function.name",
    ),
    ({"temperature": "hot"}, "'temperature' must be a number between 0 and 2 (got \"hot\")", "temperature"),
    ({"temperature": 2.1}, "'temperature' must be a number between 0 and 2 (got 2.1)", "temperature"),
    ({"max_tokens": 1.5}, "'max_tokens' must be an integer", "max_tokens"),
    ({"stream": "yes"}, "'stream' must be true or false", "stream"),
    (
        {"stream_options": {"include_usage": 1}},
        "'stream_options.include_usage' must be true",
        "stream_options.include_usage",
    ),
    ({"n": 2}, "'n' must be 1", "n"),
    ({"stop": [1]}, "'stop[0]' must be a string", "stop[0]"),
    ({"tools": {}}, "'tools' must be a list", "tools"),
    ({"tools": [{"function": {}}]}, "'tools[0].function.name' is missing", "tools[0].function.name"),
    ({"tool_choice": "always"}, "'tool_choice' must be", "tool_choice"),
    ({"response_format": "json"}, "'response_format' must be an object", "response_format"),
    ({"logprobs": 2}, "'logprobs' must be true or false", "logprobs"),
    ({"top_logprobs": 21}, "'top_logprobs' must be an integer between 0 and 20", "top_logprobs"),
    ({"keep_alive": True}, "'keep_alive' must be a duration", "keep_alive"),
]


@pytest.mark.parametrize(("fields", "message", "param"), REFUSED, ids=[json.dumps(row[0])[:60] for row in REFUSED])
def test_a_chat_that_cannot_be(fields: dict[str, object], message: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        chat(**fields)
    assert message in caught.value.message
    assert caught.value.param == param


@pytest.mark.parametrize(
    ("prompt", "message"),
    [
        (None, "'prompt' is missing"),
        (["a", "b"], "one string: send one request for each"),
        ([1, 2], "lists of tokens are not supported"),
        ([[1]], "lists of tokens are not supported"),
        ([], "lists of tokens are not supported"),
        (7, "'prompt' must be a string (got 7)"),
    ],
)
def test_a_prompt_that_cannot_be(prompt: object, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        completion(prompt=prompt)
    assert message in caught.value.message
    assert caught.value.param == "prompt"


@pytest.mark.parametrize("name", sorted(NORTHBOUND))
def test_the_depth_is_the_owners(name: str) -> None:
    north = NORTHBOUND[name]
    asked = b"input" if name == "responses" else b"prompt"
    body = b'{"model":"m","%b":"x","messages":[{"role":"user","content":"x"}],"metadata":{"a":[]}}' % asked
    assert north.parse("chat", body, shape=Shape(depth=8)).model == "m"
    with pytest.raises(BadRequest, match="deeper than 2"):
        north.parse("chat", body, shape=Shape(depth=2))
