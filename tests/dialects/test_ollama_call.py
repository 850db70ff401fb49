"""What is asked of an Ollama server."""

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
from penstock.dialects.base import Call
from penstock.dialects.ollama import ollama_north, ollama_south
from penstock.errors import BadRequest


def ask(operation: str = "chat", **fields: Any) -> Request:
    if operation == "chat":
        fields.setdefault("messages", (Message(role="user", content="hi"),))
    return Request(dialect="openai", operation=Operation(operation), model="m", stream=False, body={}, **fields)


def encoded(request: Request) -> tuple[dict[str, Any], Call]:
    call = ollama_south.encode(request, "qwen:7b")
    return json.loads(call.body), call


# --- the same dialect


@pytest.mark.parametrize(("operation", "path"), [("chat", "/api/chat"), ("completion", "/api/generate")])
def test_the_same_dialect_keeps_its_body(operation: str, path: str) -> None:
    sent = (
        b'{"prompt":"hi","model":"coder","options":{"num_ctx":9,"seed":18446744073709551615},"new":{"b":1,"a":[2]},'
        b'"messages":[{"role":"user","content":"hi","newer":null}]}'
    )
    call = ollama_south.encode(ollama_north.parse(operation, sent), "qwen:7b")
    assert call == Call(path=path, body=sent.replace(b"coder", b"qwen:7b")[:-1] + b',"stream":true}')


def test_a_client_names_no_address() -> None:
    fields = {"api_base": "http://x", "base_url": "x", "url": "x", "host": "x", "headers": {"a": "b"}, "api_key": "k"}
    body, call = encoded(ollama_north.parse("chat", json.dumps({"model": "m", "stream": False, **fields}).encode()))
    assert body == {"model": "qwen:7b", "stream": True}
    assert call.dropped == tuple(fields)


# --- another dialect

SAID = {
    "max_tokens": (Sampling(max_tokens=9), {"num_predict": 9}),
    "zero": (Sampling(temperature=0, seed=0), {"temperature": 0, "seed": 0}),
    "stop": (Sampling(stop=("a",)), {"stop": ["a"]}),
    "all": (
        Sampling(top_p=0.5, top_k=3, min_p=0.1, presence_penalty=0.2, frequency_penalty=0.3, repeat_penalty=1.1),
        {
            "top_p": 0.5,
            "top_k": 3,
            "min_p": 0.1,
            "presence_penalty": 0.2,
            "frequency_penalty": 0.3,
            "repeat_penalty": 1.1,
        },
    ),
}


@pytest.mark.parametrize(("sampling", "options"), SAID.values(), ids=SAID)
@pytest.mark.parametrize("operation", ["chat", "completion"])
def test_options(operation: str, sampling: Sampling, options: dict[str, Any]) -> None:
    body, call = encoded(ask(operation, sampling=sampling))
    assert body["options"] == options
    assert call.dropped == ()


def test_nothing_said_leaves_it_to_the_model() -> None:
    body, call = encoded(ask())
    assert body == {"model": "qwen:7b", "messages": [{"role": "user", "content": "hi"}], "stream": True}
    assert call == Call(path="/api/chat", body=call.body)


THINK = {
    Effort.NONE: False,
    Effort.ON: True,
    Effort.MINIMAL: "low",
    Effort.LOW: "low",
    Effort.MEDIUM: "medium",
    Effort.HIGH: "high",
    Effort.XHIGH: "max",
    Effort.MAX: "max",
}


@pytest.mark.parametrize("effort", Effort)
def test_think(effort: Effort) -> None:
    assert encoded(ask(effort=effort))[0]["think"] == THINK[effort]


def test_a_conversation_with_tools() -> None:
    call = ToolCall(id="call_1", name="f", arguments='{"b": 1, "a": 123456789012345678901234567890}')
    request = ask(
        messages=(
            Message(role="system", content="s"),
            Message(role="user", content="u", images=(Image(data="aGk=", media_type="image/png"),)),
            Message(role="assistant", thinking="t", tool_calls=(call, ToolCall(id="call_2", name="g", arguments=""))),
            Message(role="tool", content="r", tool_call_id="call_2", tool_name="g"),
            Message(role="tool", content="r", tool_call_id="call_1", tool_name="named"),
            Message(role="tool", content="r", tool_call_id="call_9"),
        ),
        tools=(Tool(name="f", description="d", parameters={"type": "object"}), Tool(name="g")),
        tool_choice="auto",
    )
    body, asked = encoded(request)
    arguments = {"b": 1, "a": 123456789012345678901234567890}
    assert body["messages"] == [
        {"role": "system", "content": "s"},
        {"role": "user", "content": "u", "images": ["aGk="]},
        {
            "role": "assistant",
            "content": "",
            "thinking": "t",
            "tool_calls": [
                {"id": "call_1", "function": {"name": "f", "arguments": arguments}},
                {"id": "call_2", "function": {"name": "g", "arguments": {}}},
            ],
        },
        {"role": "tool", "content": "r", "tool_call_id": "call_2", "tool_name": "g"},
        {"role": "tool", "content": "r", "tool_call_id": "call_1", "tool_name": "named"},
        {"role": "tool", "content": "r", "tool_call_id": "call_9"},
    ]
    assert body["tools"] == [
        {"type": "function", "function": {"name": "f", "description": "d", "parameters": {"type": "object"}}},
        {"type": "function", "function": {"name": "g"}},
    ]
    assert b'{"b":1,"a":123456789012345678901234567890}' in asked.body
    assert asked.dropped == ()


TOOL = Tool(name="f")
CHOICES = [
    (None, True, ()),
    ("auto", True, ()),
    ("none", False, ()),
    ("required", True, ("tool_choice",)),
    ("function:f", True, ("tool_choice",)),
]


@pytest.mark.parametrize(("choice", "tools", "dropped"), CHOICES)
def test_tool_choice(choice: str | None, tools: bool, dropped: tuple[str, ...]) -> None:
    body, call = encoded(ask(tools=(TOOL,), tool_choice=choice))
    assert ("tools" in body) is tools
    assert call.dropped == dropped


DROPPED: dict[str, tuple[dict[str, Any], tuple[str, ...]]] = {
    "name": ({"messages": (Message(role="user", name="Ann"), Message(role="user", name="Bob"))}, ("messages.name",)),
    "detail": (
        {"messages": (Message(role="user", images=(Image(data="aGk=", detail="low"),)),)},
        ("messages.content.image_url.detail",),
    ),
    "strict tool": ({"tools": (Tool(name="f", strict=True),)}, ("tools.function.strict",)),
    "parallel calls": ({"parallel_tool_calls": True}, ("parallel_tool_calls",)),
    "schema's name": (
        {"response_format": ResponseFormat(schema={}, name="n", strict=True)},
        ("response_format.json_schema.name", "response_format.json_schema.strict"),
    ),
    "unmapped": ({"unmapped": ("user", "logit_bias")}, ("user", "logit_bias")),
}


@pytest.mark.parametrize(("fields", "dropped"), DROPPED.values(), ids=DROPPED)
def test_dropped(fields: dict[str, Any], dropped: tuple[str, ...]) -> None:
    assert encoded(ask(**fields))[1].dropped == dropped


def test_more_of_a_chat() -> None:
    body, _ = encoded(
        ask(
            response_format=ResponseFormat(schema={"type": "object"}),
            logprobs=True,
            top_logprobs=0,
            keep_alive="5m",
        )
    )
    assert (body["format"], body["logprobs"], body["top_logprobs"], body["keep_alive"]) == (
        {"type": "object"},
        True,
        0,
        "5m",
    )
    assert encoded(ask(response_format=ResponseFormat()))[0]["format"] == "json"


COMPLETIONS: dict[str, tuple[dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "a plain prompt is raw": ({"prompt": "p"}, {"prompt": "p", "raw": True}, ()),
    "with a suffix the template fills the middle": (
        {"prompt": "p", "suffix": "s"},
        {"prompt": "p", "suffix": "s"},
        (),
    ),
    "a prompt for the template": (
        {"prompt": "p", "raw_prompt": False, "system": "s"},
        {"prompt": "p", "system": "s"},
        (),
    ),
    "raw takes no system": ({"prompt": "p", "system": "s"}, {"prompt": "p", "raw": True}, ("system",)),
    "images": (
        {"prompt": "p", "images": (Image(data="aGk="),)},
        {"prompt": "p", "raw": True, "images": ["aGk="]},
        (),
    ),
}


@pytest.mark.parametrize(("fields", "expected", "dropped"), COMPLETIONS.values(), ids=COMPLETIONS)
def test_completion(fields: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]) -> None:
    body, call = encoded(ask("completion", **fields))
    assert body == {"model": "qwen:7b", "stream": True, **expected}
    assert (call.path, call.dropped) == ("/api/generate", dropped)


@pytest.mark.parametrize("arguments", ['{"a":', "[]", "1", "nonsense", '"{}"'])
def test_arguments_that_are_no_object(arguments: str) -> None:
    call = ToolCall(id="call_1", name="f", arguments=arguments)
    with pytest.raises(BadRequest, match=r"'call_1' of 'f'") as caught:
        encoded(ask(messages=(Message(role="assistant", tool_calls=(call,)),)))
    assert caught.value.param == "messages.tool_calls.function.arguments"


def test_image_urls() -> None:
    with pytest.raises(BadRequest, match="never fetches URLs"):
        encoded(ask(messages=(Message(role="user", images=(Image(url="http://169.254.169.254/"),)),)))
