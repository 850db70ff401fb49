"""What Ollama clients send, and the request that it is read as."""

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
from penstock.dialects.ollama import is_load, ollama_north
from penstock.dialects.ollama_request import is_unload
from penstock.errors import BadRequest


def parse(body: dict[str, Any], operation: str = "chat") -> Request:
    return ollama_north.parse(operation, json.dumps({"model": "m", **body}).encode())


def chat(body: dict[str, Any]) -> Request:
    return parse({"messages": [{"role": "user", "content": "hi"}], **body})


def generate(body: dict[str, Any]) -> Request:
    return parse({"prompt": "hi", **body}, "completion")


def test_chat_of_the_python_client() -> None:
    body = {"model": "stub", "stream": True, "messages": [{"role": "user", "content": "hello"}], "tools": []}
    assert ollama_north.parse("chat", json.dumps(body).encode()) == Request(
        dialect="ollama",
        operation=Operation.CHAT,
        model="stub",
        stream=True,
        body=body,
        messages=(Message(role="user", content="hello"),),
        raw_prompt=False,
        include_usage=True,
    )


def test_chat_of_aider() -> None:
    """litellm sends empty lists of images, and the context's size each time."""
    request = parse(
        {
            "messages": [
                {"role": "system", "content": "Act as an expert.", "images": []},
                {"role": "user", "content": "hello", "images": []},
            ],
            "options": {"temperature": 0, "num_ctx": 8932},
            "stream": True,
        }
    )
    assert [message.role for message in request.messages] == ["system", "user"]
    assert request.sampling == Sampling(temperature=0)
    assert request.unmapped == ("options.num_ctx",)


def test_generate_of_an_editor() -> None:
    request = generate(
        {"raw": True, "stream": False, "options": {"num_predict": 64, "stop": ["\n"]}, "keep_alive": 1800}
    )
    assert request == Request(
        dialect="ollama",
        operation=Operation.COMPLETION,
        model="m",
        stream=False,
        body=request.body,
        prompt="hi",
        raw_prompt=True,
        sampling=Sampling(max_tokens=64, stop=("\n",)),
        keep_alive=1800,
        include_usage=True,
    )


@pytest.mark.parametrize("operation", ["chat", "completion"])
def test_streams_unless_told_otherwise(operation: str) -> None:
    assert parse({}, operation).stream
    assert parse({"stream": None}, operation).stream
    assert not parse({"stream": False}, operation).stream


FIELDS: dict[str, tuple[Request, dict[str, Any]]] = {
    "think true": (chat({"think": True}), {"effort": Effort.ON}),
    "think false": (chat({"think": False}), {"effort": Effort.NONE}),
    "think low": (chat({"think": "low"}), {"effort": Effort.LOW}),
    "think medium": (chat({"think": "medium"}), {"effort": Effort.MEDIUM}),
    "think high": (generate({"think": "high"}), {"effort": Effort.HIGH}),
    "think max": (generate({"think": "max"}), {"effort": Effort.MAX}),
    "format json": (chat({"format": "json"}), {"response_format": ResponseFormat()}),
    "format empty": (chat({"format": ""}), {}),
    "format schema": (
        generate({"format": {"type": "object"}}),
        {"response_format": ResponseFormat(schema={"type": "object"})},
    ),
    "all options": (
        chat(
            {
                "options": {
                    "num_predict": 10,
                    "temperature": 0.5,
                    "top_p": 1,
                    "top_k": 40,
                    "min_p": 0.1,
                    "seed": 7,
                    "stop": ["a", "b"],
                    "presence_penalty": 0.1,
                    "frequency_penalty": 0.2,
                    "repeat_penalty": 1.1,
                }
            }
        ),
        {
            "sampling": Sampling(
                max_tokens=10,
                temperature=0.5,
                top_p=1,
                top_k=40,
                min_p=0.1,
                seed=7,
                stop=("a", "b"),
                presence_penalty=0.1,
                frequency_penalty=0.2,
                repeat_penalty=1.1,
            )
        },
    ),
    "stop as text": (chat({"options": {"stop": "a"}}), {"sampling": Sampling(stop=("a",))}),
    "no limit": (chat({"options": {"num_predict": -1}}), {}),
    "options null": (chat({"options": None}), {}),
    "an option null": (chat({"options": {"num_ctx": None, "seed": None}}), {}),
    "unknown options": (
        chat({"options": {"num_ctx": 8192, "seed": 1, "mirostat": 2}}),
        {"sampling": Sampling(seed=1), "unmapped": ("options.num_ctx", "options.mirostat")},
    ),
    "unknown fields": (chat({"truncate": True, "new": None, "newer": 1}), {"unmapped": ("truncate", "newer")}),
    "a prompt in a chat": (chat({"prompt": "x"}), {"unmapped": ("prompt",)}),
    "only of generate": (
        generate({"template": "{{ .Prompt }}", "context": [1, 2]}),
        {"unmapped": ("template", "context")},
    ),
    "system": (generate({"system": "Be brief."}), {"system": "Be brief."}),
    "suffix": (generate({"suffix": "end"}), {"suffix": "end"}),
    "suffix empty": (generate({"suffix": ""}), {}),
    "images of generate": (generate({"images": ["aGk="]}), {"images": (Image(data="aGk="),)}),
    "logprobs": (chat({"logprobs": True, "top_logprobs": 3}), {"logprobs": True, "top_logprobs": 3}),
    "keep_alive text": (chat({"keep_alive": "5m"}), {"keep_alive": "5m"}),
    "keep_alive number": (chat({"keep_alive": -1}), {"keep_alive": -1}),
    "tools": (
        chat(
            {
                "tools": [
                    {
                        "type": "function",
                        "function": {"name": "f", "description": "d", "parameters": {"type": "object"}},
                    },
                    {"type": "function", "function": {"name": "g"}},
                ]
            }
        ),
        {"tools": (Tool(name="f", description="d", parameters={"type": "object"}), Tool(name="g"))},
    ),
}


@pytest.mark.parametrize(("request_", "fields"), FIELDS.values(), ids=FIELDS)
def test_fields(request_: Request, fields: dict[str, Any]) -> None:
    plain = chat({}) if request_.operation is Operation.CHAT else generate({})
    assert request_ == msgspec.structs.replace(plain, body=request_.body, **fields)


def messages(*items: dict[str, Any]) -> tuple[Message, ...]:
    return parse({"messages": list(items)}).messages


def test_roles() -> None:
    told = messages(*({"role": role} for role in ("SYSTEM", "User", "assistant", "developer", "control")))
    # "control" switches thinking on in one family of models: only the backend can know.
    assert [message.role for message in told] == ["system", "user", "assistant", "system", "control"]
    assert {message.content for message in told} == {""}


def test_message_fields() -> None:
    (message,) = messages({"role": "assistant", "content": "a", "thinking": "t", "images": ["aGk="]})
    assert message == Message(role="assistant", content="a", thinking="t", images=(Image(data="aGk="),))


def function(name: str, arguments: object = None, **more: str) -> dict[str, Any]:
    return {"function": {"name": name, "arguments": arguments}, **more}


ARGUMENTS = [
    ({"b": 1, "a": 2**63}, '{"b":1,"a":9223372036854775808}'),
    ('{"b": 1, "a": 2}', '{"b": 1, "a": 2}'),
    ({}, "{}"),
    ("", "{}"),
    (None, "{}"),
]


@pytest.mark.parametrize(("sent", "read"), ARGUMENTS)
def test_arguments(sent: object, read: str) -> None:
    (message,) = messages({"role": "assistant", "tool_calls": [function("f", sent, id="call_1")]})
    assert message.tool_calls == (ToolCall(id="call_1", name="f", arguments=read),)


def paired(*results: dict[str, Any], ids: bool = False) -> list[tuple[str | None, str | None]]:
    given = [{"id": "x"}, {"id": "y"}, {"id": "z"}] if ids else [{}, {}, {}]
    asked = [function(name, {}, **named) for name, named in zip("fgf", given, strict=True)]
    told = messages(
        {"role": "assistant", "tool_calls": asked}, *({"role": "tool", "content": "r", **r} for r in results)
    )
    return [(message.tool_call_id, message.tool_name) for message in told[1:]]


MADE = [f"call_{number:08x}" for number in range(5)]
PAIRS = {
    "in order": (paired({}, {}, {}), [(MADE[0], "f"), (MADE[1], "g"), (MADE[2], "f")]),
    "by name": (
        paired({"tool_name": "g"}, {"tool_name": "f"}, {"tool_name": "f"}),
        [(MADE[1], "g"), (MADE[0], "f"), (MADE[2], "f")],
    ),
    "by id": (
        paired({"tool_call_id": "z"}, {"tool_call_id": "x", "tool_name": "h"}, {}, ids=True),
        [("z", "f"), ("x", "h"), ("y", "g")],
    ),
    "a name nobody called": (paired({"tool_name": "h"}), [(MADE[0], "h")]),
    "an id nobody gave": (paired({"tool_call_id": "q"}), [("q", None)]),
    "more results than calls": (
        paired({}, {}, {}, {}, {"tool_name": "i"}),
        [(MADE[0], "f"), (MADE[1], "g"), (MADE[2], "f"), (MADE[3], None), (MADE[4], "i")],
    ),
}


@pytest.mark.parametrize(("got", "expected"), PAIRS.values(), ids=PAIRS)
def test_results_find_their_calls(got: list[Any], expected: list[Any]) -> None:
    assert got == expected


def test_the_same_conversation_gets_the_same_ids() -> None:
    turn = [{"role": "assistant", "tool_calls": [function("f")]}, {"role": "tool", "content": "r"}]
    longer = messages(*turn, *turn)
    assert longer[:2] == messages(*turn)
    assert longer[2].tool_calls[0].id != longer[0].tool_calls[0].id


LOADS = {
    "chat": ("chat", {}, True, False),
    "chat, empty list": ("chat", {"messages": []}, True, False),
    "chat, unload": ("chat", {"messages": [], "keep_alive": 0}, True, True),
    "chat, unload in words": ("chat", {"keep_alive": "0s"}, True, True),
    "chat, keep": ("chat", {"keep_alive": "10m"}, True, False),
    "chat, keep for ever": ("chat", {"keep_alive": -1}, True, False),
    "chat, messages": ("chat", {"messages": [{"role": "user"}], "keep_alive": 0}, False, False),
    "generate": ("completion", {}, True, False),
    "generate, unload": ("completion", {"prompt": "", "keep_alive": 0.0}, True, True),
    "generate, prompt": ("completion", {"prompt": " ", "keep_alive": 0}, False, False),
}


@pytest.mark.parametrize(("operation", "body", "load", "unload"), LOADS.values(), ids=LOADS)
def test_load_requests(operation: str, body: dict[str, Any], load: bool, unload: bool) -> None:
    request = parse(body, operation)
    assert (is_load(request), is_unload(request)) == (load, unload)


REFUSED: dict[str, tuple[str, dict[str, Any], str]] = {
    "no model": ("chat", {"model": None}, "model"),
    "model empty": ("chat", {"model": ""}, "model"),
    "model a number": ("chat", {"model": 1}, "model"),
    "stream as text": ("chat", {"stream": "true"}, "stream"),
    "messages an object": ("chat", {"messages": {}}, "messages"),
    "a message as text": ("chat", {"messages": ["hi"]}, "messages[0]"),
    "no role": ("chat", {"messages": [{"content": "x"}]}, "messages[0].role"),
    "content as parts": ("chat", {"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    "image as URL": (
        "chat",
        {"messages": [{"role": "user", "images": ["data:image/png;base64,aGk="]}]},
        "messages[0].images[0]",
    ),
    "image empty": ("completion", {"images": [""]}, "images[0]"),
    "a call without a name": (
        "chat",
        {"messages": [{"role": "assistant", "tool_calls": [{"function": {}}]}]},
        "messages[0].tool_calls[0].function.name",
    ),
    "arguments as a list": (
        "chat",
        {"messages": [{"role": "assistant", "tool_calls": [function("f", [])]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    "arguments as broken text": (
        "chat",
        {"messages": [{"role": "assistant", "tool_calls": [function("f", '{"a":')]}]},
        "messages[0].tool_calls[0].function.arguments",
    ),
    "a tool without a name": ("chat", {"tools": [{"function": {}}]}, "tools[0].function.name"),
    "format in words": ("chat", {"format": "yaml"}, "format"),
    "format a list": ("chat", {"format": []}, "format"),
    "think in words": ("chat", {"think": "very"}, "think"),
    "think a number": ("chat", {"think": 1}, "think"),
    "think a list": ("chat", {"think": []}, "think"),
    "keep_alive true": ("chat", {"keep_alive": True}, "keep_alive"),
    "keep_alive a list": ("chat", {"keep_alive": []}, "keep_alive"),
    "options a list": ("chat", {"options": []}, "options"),
    "stop a number": ("chat", {"options": {"stop": 1}}, "options.stop"),
    "temperature below zero": ("chat", {"options": {"temperature": -1}}, "options.temperature"),
    "top_p above one": ("completion", {"options": {"top_p": 2}}, "options.top_p"),
    "num_predict as text": ("completion", {"options": {"num_predict": "10"}}, "options.num_predict"),
    "top_logprobs": ("chat", {"top_logprobs": 21}, "top_logprobs"),
    "prompt a list": ("completion", {"prompt": ["a"]}, "prompt"),
}


@pytest.mark.parametrize(("operation", "body", "param"), REFUSED.values(), ids=REFUSED)
def test_refused(operation: str, body: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        parse(body, operation)
    assert caught.value.param == param
    assert f"'{param}'" in caught.value.message
