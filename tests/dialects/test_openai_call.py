"""What OpenAI-compatible backends are asked, how their lists of models are read."""

from __future__ import annotations

import json

import pytest

from penstock.chat.models import Model
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
from penstock.dialects import openai_models
from penstock.dialects.base import Limits
from penstock.dialects.openai import llamacpp_south, openai_north, openai_south
from penstock.errors import BackendGarbled

ALWAYS = {"model": "qwen", "stream": True, "stream_options": {"include_usage": True}}


class TestOwnDialect:
    """A client of OpenAI's language gets its own body through."""

    def test_only_what_must_be_is_changed(self) -> None:
        body = {
            "model": "m",
            "messages": [{"role": "developer", "content": [{"type": "text", "text": "x"}]}],
            "stream": False,
            "stream_options": {"include_obfuscation": False},
            "temperature": 0.5,
            "logit_bias": {"1": 2},
            "unheard_of": {"deep": [1]},
        }
        call = openai_south.encode(openai_north.parse("chat", json.dumps(body).encode()), "qwen")
        changed = {
            "model": "qwen",
            "stream": True,
            "stream_options": {"include_obfuscation": False, "include_usage": True},
        }
        assert (call.method, call.path, call.dropped) == ("POST", "/chat/completions", ())
        assert json.loads(call.body) == {**body, **changed}

    def test_nobody_sends_us_elsewhere(self) -> None:
        body = {"model": "m", "prompt": "p", "api_base": "http://evil", "api_key": "k", "extra_headers": {"x": "y"}}
        call = openai_south.encode(openai_north.parse("completion", json.dumps(body).encode()), "qwen")
        assert call.path == "/completions"
        assert json.loads(call.body) == {"prompt": "p", **ALWAYS}
        assert call.dropped == ("api_base", "api_key", "extra_headers")

    @pytest.mark.parametrize(("said", "sent"), [({}, True), ({"return_progress": False}, False)])
    def test_llamacpp_is_asked_for_progress_unless_the_client_decides(
        self, said: dict[str, object], sent: bool
    ) -> None:
        body = json.dumps({"model": "m", "prompt": "p", **said}).encode()
        call = llamacpp_south.encode(openai_north.parse("completion", body), "qwen")
        assert json.loads(call.body)["return_progress"] is sent


def ollama(operation: Operation = Operation.CHAT, **fields: object) -> Request:
    if operation is Operation.CHAT:
        fields.setdefault("messages", (Message(role="user", content="x"),))
    return Request(dialect="ollama", operation=operation, model="m", stream=True, body={"x": 1}, **fields)  # type: ignore[arg-type]


USER = {"messages": [{"role": "user", "content": "x"}]}
ROWS: list[tuple[str, Request, dict[str, object], tuple[str, ...]]] = [
    ("the shortest chat", ollama(), USER, ()),
    (
        "what OpenAI has no word for is named",
        ollama(
            keep_alive="5m", unmapped=("options.num_ctx",), sampling=Sampling(top_k=4, min_p=0.1, repeat_penalty=1.1)
        ),
        USER,
        ("options.num_ctx", "options.top_k", "options.min_p", "options.repeat_penalty", "keep_alive"),
    ),
    (
        "the sampler",
        ollama(
            sampling=Sampling(
                max_tokens=9,
                temperature=0,
                top_p=0.5,
                seed=7,
                stop=("a",),
                presence_penalty=1,
                frequency_penalty=-1,
            )
        ),
        {
            **USER,
            "max_tokens": 9,
            "temperature": 0,
            "top_p": 0.5,
            "seed": 7,
            "stop": ["a"],
            "presence_penalty": 1,
            "frequency_penalty": -1,
        },
        (),
    ),
    (
        "images",
        ollama(
            messages=(
                Message(
                    role="user",
                    content="x",
                    images=(
                        Image(data="/9j/4AAQ"),
                        Image(data="AAAA", media_type="image/webp"),
                        Image(url="https://e.org/x.png", detail="low"),
                    ),
                ),
            )
        ),
        {
            "messages": [
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "x"},
                        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,/9j/4AAQ"}},
                        {"type": "image_url", "image_url": {"url": "data:image/webp;base64,AAAA"}},
                        {"type": "image_url", "image_url": {"url": "https://e.org/x.png", "detail": "low"}},
                    ],
                }
            ]
        },
        (),
    ),
    (
        "calls, and results that name no call: paired by name, then in order",
        ollama(
            messages=(
                Message(
                    role="assistant",
                    thinking="r",
                    tool_calls=(
                        ToolCall(id="1", name="f", arguments="{}"),
                        ToolCall(id="2", name="g", arguments='{"a":1}'),
                        ToolCall(id="3", name="f", arguments="{}"),
                    ),
                ),
                Message(role="tool", content="G", tool_name="g"),
                Message(role="tool", content="F"),
                Message(role="tool", content="?", tool_name="h"),
            )
        ),
        {
            "messages": [
                {
                    "role": "assistant",
                    "content": None,
                    "tool_calls": [
                        {"id": "1", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                        {"id": "2", "type": "function", "function": {"name": "g", "arguments": '{"a":1}'}},
                        {"id": "3", "type": "function", "function": {"name": "f", "arguments": "{}"}},
                    ],
                },
                {"role": "tool", "content": "G", "tool_call_id": "2"},
                {"role": "tool", "content": "F", "tool_call_id": "1"},
                {"role": "tool", "content": "?", "tool_call_id": "3"},
            ]
        },
        ("messages.thinking",),
    ),
    (
        "tools",
        ollama(
            tools=(Tool(name="f", parameters={"type": "object"}),), tool_choice="function:f", parallel_tool_calls=False
        ),
        {
            **USER,
            "tools": [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}],
            "tool_choice": {"type": "function", "function": {"name": "f"}},
            "parallel_tool_calls": False,
        },
        (),
    ),
    (
        "JSON after a schema",
        ollama(response_format=ResponseFormat(schema={"a": 1}), logprobs=True, top_logprobs=2),
        {
            **USER,
            "response_format": {"type": "json_schema", "json_schema": {"name": "answer", "schema": {"a": 1}}},
            "logprobs": True,
            "top_logprobs": 2,
        },
        (),
    ),
    ("any JSON", ollama(response_format=ResponseFormat()), {**USER, "response_format": {"type": "json_object"}}, ()),
    ("thinking", ollama(effort=Effort.ON), {**USER, "reasoning_effort": "medium"}, ()),
    ("the most thinking", ollama(effort=Effort.MAX), {**USER, "reasoning_effort": "xhigh"}, ()),
]


@pytest.mark.parametrize(("request_", "body", "dropped"), [pytest.param(*row[1:], id=row[0]) for row in ROWS])
def test_a_chat_of_another_dialect(request_: Request, body: dict[str, object], dropped: tuple[str, ...]) -> None:
    call = openai_south.encode(request_, "qwen")
    assert call.path == "/chat/completions"
    assert json.loads(call.body) == {**body, **ALWAYS}
    assert call.dropped == dropped


def test_llamacpp_has_words_for_more() -> None:
    request = ollama(
        messages=(Message(role="assistant", content="x", thinking="r"),),
        sampling=Sampling(top_k=4, min_p=0.1, repeat_penalty=1.1),
        effort=Effort.HIGH,
    )
    call = llamacpp_south.encode(request, "qwen")
    assert json.loads(call.body) == {
        "messages": [{"role": "assistant", "content": "x", "reasoning_content": "r"}],
        "top_k": 4,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "chat_template_kwargs": {"enable_thinking": True},
        "reasoning_effort": "high",
        "return_progress": True,
        **ALWAYS,
    }
    assert call.dropped == ()
    quiet = json.loads(llamacpp_south.encode(ollama(effort=Effort.NONE), "qwen").body)
    assert quiet["chat_template_kwargs"] == {"enable_thinking": False} and "reasoning_effort" not in quiet


GENERATE: list[tuple[str, Request, str, dict[str, object], tuple[str, ...]]] = [
    (
        "a raw prompt is a completion",
        ollama(Operation.COMPLETION, prompt="p", raw_prompt=True, system="s", effort=Effort.LOW),
        "/completions",
        {"prompt": "p"},
        ("system", "think"),
    ),
    (
        "a gap to fill is one too",
        ollama(Operation.COMPLETION, prompt="p", suffix="s", raw_prompt=False, logprobs=True),
        "/completions",
        {"prompt": "p", "suffix": "s", "logprobs": 0},
        (),
    ),
    (
        "a prompt for the chat template is a chat of one turn",
        ollama(Operation.COMPLETION, prompt="p", system="s", raw_prompt=False, images=(Image(data="iVBORw"),)),
        "/chat/completions",
        {
            "messages": [
                {"role": "system", "content": "s"},
                {
                    "role": "user",
                    "content": [
                        {"type": "text", "text": "p"},
                        {"type": "image_url", "image_url": {"url": "data:image/png;base64,iVBORw"}},
                    ],
                },
            ]
        },
        (),
    ),
]


@pytest.mark.parametrize(
    ("request_", "path", "body", "dropped"), [pytest.param(*row[1:], id=row[0]) for row in GENERATE]
)
def test_generate(request_: Request, path: str, body: dict[str, object], dropped: tuple[str, ...]) -> None:
    call = openai_south.encode(request_, "qwen")
    assert (call.path, json.loads(call.body), call.dropped) == (path, {**body, **ALWAYS}, dropped)
    # The reader knows which of the two answers will come.
    choice = {
        "index": 0,
        "finish_reason": None,
        **({"text": "a"} if path == "/completions" else {"delta": {"content": "a"}}),
    }
    kind = "text_completion" if path == "/completions" else "chat.completion.chunk"
    frame = (
        b"data: %b\n\n"
        % json.dumps({"id": "c", "object": kind, "created": 1, "model": "m", "choices": [choice]}).encode()
    )
    assert openai_south.reader(request_, "text/event-stream", Limits()).receive(frame + frame)[-1].raw == frame  # type: ignore[union-attr]


LLAMACPP = {
    "id": "tiny",
    "object": "model",
    "created": 17,
    "owned_by": "llamacpp",
    "meta": {"n_ctx_train": 4096, "size": 1234, "n_params": 99},
}


class TestModels:
    def test_the_call(self) -> None:
        call = openai_south.models_call()
        assert (call.method, call.path, call.body) == ("GET", "/models", b"")

    @pytest.mark.parametrize(
        ("entry", "model"),
        [
            (
                LLAMACPP,
                Model(name="tiny", created=17, owner="llamacpp", size=1234, context_length=4096, entry=LLAMACPP),
            ),
            (
                {"id": "n", "meta": {"n_ctx": 8, "n_ctx_train": 4096}},
                Model(name="n", context_length=8, entry={"id": "n", "meta": {"n_ctx": 8, "n_ctx_train": 4096}}),
            ),
            ({"id": "v", "max_model_len": 8}, Model(name="v", context_length=8, entry={"id": "v", "max_model_len": 8})),
            (
                {"id": "b", "created": "x", "meta": None},
                Model(name="b", entry={"id": "b", "created": "x", "meta": None}),
            ),
        ],
    )
    def test_entries(self, entry: object, model: Model) -> None:
        assert openai_south.models(json.dumps({"object": "list", "data": [entry]}).encode()) == [model]

    @pytest.mark.parametrize(
        "body", [b'{"object":"list","data":null}', b'{"data":[]}', b"[]", b'{"data":[7,{"id":""},{}]}']
    )
    def test_no_entries(self, body: bytes) -> None:
        assert openai_south.models(body) == []

    @pytest.mark.parametrize(("body", "layer"), [(b"<html>", "parse"), (b"{}", "schema"), (b'{"data":{}}', "schema")])
    def test_no_list(self, body: bytes, layer: str) -> None:
        with pytest.raises(BackendGarbled) as caught:
            openai_south.models(body)
        assert caught.value.layer == layer

    def test_what_clients_get(self) -> None:
        (own,) = openai_south.models(json.dumps([LLAMACPP]).encode())
        foreign = Model(name="q:7b", entry={"name": "q:7b", "model": "q:7b"}, created=18)
        assert json.loads(openai_models.one(own)) == LLAMACPP
        assert json.loads(openai_models.listing([own, foreign])) == {
            "object": "list",
            "data": [LLAMACPP, {"id": "q:7b", "object": "model", "created": 18, "owned_by": "penstock"}],
        }
