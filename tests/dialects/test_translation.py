"""Between the two dialects nothing is lost but what is named here."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_conformance import check_ollama_stream
from penstock.chat.aggregate import Aggregate
from penstock.chat.events import Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Message, Request
from penstock.dialects.base import Identity, Limits, Northbound, Southbound, Timing
from penstock.dialects.ollama import ollama_north, ollama_south
from penstock.dialects.openai import llamacpp_south, openai_north, openai_south
from penstock.errors import BadRequest

IDENTITY = Identity(stream="7f3k9q2m", created=1789000000)
ASK_OLLAMA = b'{"model":"m","messages":[{"role":"user","content":"hi"}],"logprobs":true,"stream":%b}'
ASK_OPENAI = ASK_OLLAMA[:-1] + b',"stream_options":{"include_usage":true}}'


# --- answers

#: A client's body takes no longer ones.
INTEGERS = st.integers(-(2**63), 2**64 - 1)
JSON = st.recursive(
    st.none() | st.booleans() | INTEGERS | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
    max_leaves=6,
)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """The events of one answer: thinking and text mixed, then calls in fragments, then the end."""
    pieces = st.builds(Text, st.text(min_size=1)) | st.builds(Thinking, st.text(min_size=1))
    events: list[Event] = [Opened(), *draw(st.lists(pieces, max_size=6))]
    arguments = st.dictionaries(st.text(), JSON | st.integers(), max_size=3)
    calls = draw(st.lists(st.tuples(st.text(min_size=1), arguments), max_size=3))
    for index, (name, values) in enumerate(calls):
        text = json.dumps(values, ensure_ascii=draw(st.booleans()))
        cut = draw(st.integers(0, len(text)))
        events.append(ToolDelta(index, f"call_{index}", name, text[:cut]))
        events.append(ToolDelta(index, arguments=text[cut:]))
    good = FinishReason.TOOL_CALLS if calls else FinishReason.STOP
    events.append(Finish(draw(st.sampled_from([good, FinishReason.LENGTH]))))
    events.append(Usage(draw(st.integers(0, 2**40)), draw(st.integers(0, 2**40))))
    return events


def through(
    events: list[Event], north: Northbound, south: Southbound, ask: bytes, *, stream: bool, cut: int
) -> list[Event]:
    """Events -> the bytes that a client gets -> events, as if another penstock were that client."""
    request = north.parse("chat", ask % (b"true" if stream else b"false"))
    writer = north.writer(request, IDENTITY, passthrough=False)
    body = b"".join([writer.heartbeat() + writer.write([event]) for event in events])
    body += writer.end(Timing(total_ns=1))
    if north is ollama_north:
        check_ollama_stream(body if stream else body + b"\n")
    reader = south.reader(request, writer.content_type, Limits())
    cut = min(cut, len(body))
    read = [*reader.receive(body[:cut]), *reader.receive(body[cut:]), *reader.end()]
    assert reader.complete
    return read


def told(events: list[Event]) -> dict[str, Any]:
    """What an answer says, whatever pieces it came in."""
    answer = Aggregate()
    answer.add(events)
    whole = answer.completion()
    assert whole.usage is not None
    return {
        "text": whole.text,
        "thinking": whole.thinking,
        # As text again, so that the order of keys counts.
        "calls": [(call.id, call.name, json.dumps(json.loads(call.arguments))) for call in whole.tool_calls],
        "finish": whole.finish,
        "usage": (whole.usage.prompt_tokens, whole.usage.completion_tokens),
        "logprobs": whole.logprobs,
    }


@given(answers(), st.booleans(), st.booleans(), st.integers(0, 2000))
def test_an_answer_comes_through_both(events: list[Event], first: bool, second: bool, cut: int) -> None:
    by_ollama = through(events, ollama_north, ollama_south, ASK_OLLAMA, stream=first, cut=cut)
    assert told(by_ollama) == told(events)
    by_openai = through(by_ollama, openai_north, openai_south, ASK_OPENAI, stream=second, cut=cut)
    assert told(by_openai) == told(events)
    again = through(by_openai, ollama_north, ollama_south, ASK_OLLAMA, stream=first, cut=cut)
    assert told(again) == told(events)


def test_log_probabilities_come_through() -> None:
    logprobs: list[object] = [{"token": "x", "logprob": -0.5, "top_logprobs": [{"token": "y", "logprob": -2.0}]}]
    events = [Opened(), Text("x", logprobs=logprobs), Finish(FinishReason.STOP), Usage(1, 1)]
    for stream in (True, False):
        by_ollama = through(events, ollama_north, ollama_south, ASK_OLLAMA, stream=stream, cut=0)
        by_openai = through(by_ollama, openai_north, openai_south, ASK_OPENAI, stream=stream, cut=0)
        assert told(by_openai)["logprobs"] == logprobs


def test_a_filtered_answer_stops_for_ollama_clients() -> None:
    """Ollama has no word for it."""
    events = [Opened(), Text("x"), Finish(FinishReason.CONTENT_FILTER), Usage(1, 1)]
    by_openai = through(events, openai_north, openai_south, ASK_OPENAI, stream=True, cut=0)
    assert told(by_openai)["finish"] is FinishReason.CONTENT_FILTER
    by_ollama = through(by_openai, ollama_north, ollama_south, ASK_OLLAMA, stream=True, cut=0)
    assert told(by_ollama)["finish"] is FinishReason.STOP


# --- requests

PNG = "iVBORw0KGgo="
ARGUMENTS = st.dictionaries(st.text(), JSON, max_size=3).map(json.dumps)


@st.composite
def conversations(draw: st.DrawFn) -> list[dict[str, Any]]:
    """The messages of an OpenAI chat."""
    messages: list[dict[str, Any]] = []
    for turn in range(draw(st.integers(1, 4))):
        text = draw(st.text())
        match draw(st.sampled_from(["system", "user", "image", "assistant", "tools"])):
            case "image":
                image = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}
                messages.append({"role": "user", "content": [{"type": "text", "text": text}, image]})
            case "tools":
                names = draw(st.lists(st.text(min_size=1), min_size=1, max_size=3))
                calls = [
                    {
                        "id": f"call_{turn}_{index}",
                        "type": "function",
                        "function": {"name": name, "arguments": draw(ARGUMENTS)},
                    }
                    for index, name in enumerate(names)
                ]
                messages.append({"role": "assistant", "content": None, "reasoning_content": text, "tool_calls": calls})
                messages += [
                    {"role": "tool", "tool_call_id": call["id"], "content": text}
                    for call in draw(st.permutations(calls))
                ]
            case role:
                messages.append({"role": role, "content": text})
    return messages


SAMPLING = st.fixed_dictionaries(
    {},
    optional={
        "max_tokens": st.integers(1, 10**6),
        "temperature": st.floats(0, 2),
        "top_p": st.floats(0, 1),
        "top_k": st.integers(0, 100),
        "min_p": st.floats(0, 1),
        "seed": st.integers(0, 2**63),
        "stop": st.lists(st.text(min_size=1), min_size=1, max_size=4),
        "presence_penalty": st.floats(-2, 2),
        "frequency_penalty": st.floats(-2, 2),
        "repeat_penalty": st.floats(0, 2),
    },
)
TOOLS = st.lists(
    st.fixed_dictionaries(
        {"name": st.text(min_size=1)},
        optional={"description": st.text(), "parameters": st.just({"type": "object", "properties": {}})},
    ).map(lambda function: {"type": "function", "function": function}),
    max_size=2,
)


def meaning(request: Request) -> dict[str, Any]:
    """What a request asks for, without what only says how it was written."""
    return {
        "messages": [_meaning(message) for message in request.messages],
        "tools": request.tools,
        "sampling": request.sampling,
        "format": request.response_format and request.response_format.schema,
        "effort": request.effort,
    }


def _meaning(message: Message) -> tuple[Any, ...]:
    calls = [(call.id, call.name, json.dumps(json.loads(call.arguments))) for call in message.tool_calls]
    images = [image.data for image in message.images]
    return (
        message.role,
        message.content,
        message.thinking,
        images,
        calls,
        message.tool_call_id,
        message.tool_name,
    )


@given(conversations(), SAMPLING, TOOLS, st.sampled_from([None, "none", "low", "medium", "high"]), st.booleans())
def test_a_request_comes_through_both(
    messages: list[Any], sampling: dict[str, Any], tools: list[Any], effort: str | None, schema: bool
) -> None:
    body: dict[str, Any] = {"model": "coder", "messages": messages, "tools": tools, **sampling}
    if effort is not None:
        body["reasoning_effort"] = effort
    if schema:
        body["response_format"] = {"type": "json_schema", "json_schema": {"schema": {"type": "object"}}}
    asked = openai_north.parse("chat", json.dumps(body).encode())

    to_ollama = ollama_south.encode(asked, "qwen:7b")
    assert to_ollama.dropped == ()
    by_ollama = ollama_north.parse("chat", to_ollama.body)
    assert (by_ollama.model, by_ollama.stream) == ("qwen:7b", True)
    assert meaning(by_ollama) == meaning(asked)

    to_llamacpp = llamacpp_south.encode(by_ollama, "big")
    assert to_llamacpp.dropped == ()
    back = openai_north.parse("chat", to_llamacpp.body)
    # llama.cpp is told to stop thinking through the chat template, which is no field of OpenAI's.
    assert {**meaning(back), "effort": None} == {**meaning(asked), "effort": None}
    assert [image.media_type for message in back.messages for image in message.images] == [
        image.media_type for message in asked.messages for image in message.images
    ]


# --- lossy corners: OpenAI client, Ollama backend


def user(**fields: Any) -> dict[str, Any]:
    return {"messages": [{"role": "user", "content": "hi", **fields}]}


def tool(**fields: Any) -> dict[str, Any]:
    return {"tools": [{"type": "function", "function": {"name": "f", **fields}}]}


def image(url: str, **fields: Any) -> dict[str, Any]:
    return user(content=[{"type": "image_url", "image_url": {"url": url, **fields}}])


# name: operation, what the OpenAI client says, what Ollama is told of it, what is dropped
TO_OLLAMA: dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "name of a message": ("chat", user(name="Ann"), user(), ("messages.name",)),
    "detail of an image": (
        "chat",
        image(f"data:image/png;base64,{PNG}", detail="low"),
        user(content="", images=[PNG]),
        ("messages.content.image_url.detail",),
    ),
    "order of text and images": (
        "chat",
        user(
            content=[
                {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}},
                {"type": "text", "text": "a"},
                {"type": "text", "text": "b"},
            ]
        ),
        user(content="a\nb", images=[PNG]),
        (),
    ),
    "developer": ("chat", user(role="developer"), user(role="system"), ()),
    "strict tool": ("chat", tool(strict=True), tool(), ("tools.function.strict",)),
    "no tool": ("chat", {**tool(), "tool_choice": "none"}, {}, ()),
    "some tool": ("chat", {**tool(), "tool_choice": "required"}, tool(), ("tool_choice",)),
    "one tool": (
        "chat",
        {**tool(), "tool_choice": {"type": "function", "function": {"name": "f"}}},
        tool(),
        ("tool_choice",),
    ),
    "parallel calls": (
        "chat",
        {**tool(), "tool_choice": "auto", "parallel_tool_calls": False},
        tool(),
        ("parallel_tool_calls",),
    ),
    "two names of the length": (
        "chat",
        {"max_completion_tokens": 9, "max_tokens": 8},
        {"options": {"num_predict": 9}},
        (),
    ),
    "one stop": ("chat", {"stop": "x"}, {"options": {"stop": ["x"]}}, ()),
    "repetition": ("chat", {"repetition_penalty": 1.1}, {"options": {"repeat_penalty": 1.1}}, ()),
    "no sampling is the model's": ("chat", {"temperature": None}, {}, ()),
    "any JSON": ("chat", {"response_format": {"type": "json_object"}}, {"format": "json"}, ()),
    "text": ("chat", {"response_format": {"type": "text"}}, {}, ()),
    "named schema": (
        "chat",
        {"response_format": {"type": "json_schema", "json_schema": {"name": "n", "strict": True, "schema": {"a": 1}}}},
        {"format": {"a": 1}},
        ("response_format.json_schema.name", "response_format.json_schema.strict"),
    ),
    "no thinking": ("chat", {"reasoning_effort": "none"}, {"think": False}, ()),
    "little thinking": ("chat", {"reasoning_effort": "minimal"}, {"think": "low"}, ()),
    "much thinking": ("chat", {"reasoning_effort": "xhigh"}, {"think": "max"}, ()),
    "some thinking": ("chat", {"reasoning_effort": "ultra"}, {}, ("reasoning_effort",)),
    "log probabilities": ("chat", {"logprobs": True, "top_logprobs": 2}, {"logprobs": True, "top_logprobs": 2}, ()),
    "keep_alive": ("chat", {"keep_alive": "5m"}, {"keep_alive": "5m"}, ()),
    "usage": ("chat", {"stream_options": {"include_usage": True}}, {}, ()),
    "the cloud's own": (
        "chat",
        {"n": 1, "user": "u", "logit_bias": {}, "metadata": {}, "store": True, "service_tier": "auto"},
        {},
        ("user", "logit_bias", "metadata", "store", "service_tier"),
    ),
    "an address": ("chat", {"api_base": "http://x"}, {}, ("api_base",)),
    "a prompt": ("completion", {}, {"raw": True}, ()),
    "a prompt in a list": ("completion", {"prompt": ["hi"]}, {"raw": True}, ()),
    "a suffix": ("completion", {"suffix": "s"}, {"suffix": "s"}, ()),
    "log probabilities of a prompt": (
        "completion",
        {"logprobs": 3},
        {"raw": True, "logprobs": True, "top_logprobs": 3},
        (),
    ),
    "echo": ("completion", {"echo": True, "best_of": 2}, {"raw": True}, ("echo", "best_of")),
}


@pytest.mark.parametrize(("operation", "said", "expected", "dropped"), TO_OLLAMA.values(), ids=TO_OLLAMA)
def test_from_openai_to_ollama(
    operation: str, said: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    base = user() if operation == "chat" else {"prompt": "hi"}
    request = openai_north.parse(operation, json.dumps({"model": "m", **base, **said}).encode())
    call = ollama_south.encode(request, "m")
    assert json.loads(call.body) == {"model": "m", "stream": True, **base, **expected}
    assert call.dropped == dropped


@pytest.mark.parametrize(
    ("said", "param"),
    [
        ({"n": 2}, "n"),
        (image("https://example.org/cat.png"), "messages.content.image_url"),
        (
            user(role="assistant", tool_calls=[{"id": "c", "function": {"name": "f", "arguments": "{"}}]),
            "messages.tool_calls.function.arguments",
        ),
    ],
    ids=["many answers", "image by URL", "broken arguments"],
)
def test_refused_for_ollama(said: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        ollama_south.encode(openai_north.parse("chat", json.dumps({"model": "m", **user(), **said}).encode()), "m")
    assert caught.value.param == param


# --- lossy corners: Ollama client, OpenAI backend

TO_OPENAI: dict[str, tuple[str, dict[str, Any], dict[str, Any], tuple[str, ...]]] = {
    "the size of the context": (
        "chat",
        {"options": {"num_ctx": 8192, "temperature": 0}},
        {"temperature": 0},
        ("options.num_ctx",),
    ),
    "samplers of local servers": (
        "chat",
        {"options": {"top_k": 1, "min_p": 0.1, "repeat_penalty": 1.1}},
        {},
        ("options.top_k", "options.min_p", "options.repeat_penalty"),
    ),
    "keep_alive": ("chat", {"keep_alive": -1}, {}, ("keep_alive",)),
    "truncate": ("chat", {"truncate": False, "shift": False}, {}, ("truncate", "shift")),
    "thinking of an earlier turn": (
        "chat",
        user(role="assistant", thinking="Hm"),
        user(role="assistant"),
        ("messages.thinking",),
    ),
    "think": ("chat", {"think": True}, {"reasoning_effort": "medium"}, ()),
    "no thinking": ("chat", {"think": False}, {"reasoning_effort": "none"}, ()),
    "an image": ("chat", user(images=[PNG], content=""), image(f"data:image/png;base64,{PNG}"), ()),
    "a prompt for the template is a chat": (
        "completion",
        {"system": "s", "template": "t", "context": [1]},
        {"messages": [{"role": "system", "content": "s"}, {"role": "user", "content": "hi"}]},
        ("template", "context"),
    ),
    "a raw prompt": (
        "completion",
        {"raw": True, "images": [PNG], "think": True, "format": "json"},
        {"prompt": "hi"},
        ("images", "format", "think"),
    ),
    "a suffix": ("completion", {"suffix": "s"}, {"prompt": "hi", "suffix": "s"}, ()),
}


@pytest.mark.parametrize(("operation", "said", "expected", "dropped"), TO_OPENAI.values(), ids=TO_OPENAI)
def test_from_ollama_to_openai(
    operation: str, said: dict[str, Any], expected: dict[str, Any], dropped: tuple[str, ...]
) -> None:
    base = user() if operation == "chat" else {"prompt": "hi"}
    request = ollama_north.parse(operation, json.dumps({"model": "m", **base, **said}).encode())
    call = openai_south.encode(request, "m")
    asked = {"model": "m", "stream": True, "stream_options": {"include_usage": True}}
    assert json.loads(call.body) == {**asked, **(base if operation == "chat" else {}), **expected}
    assert call.dropped == dropped
