"""What the owner says of one backend: what travels to it, and in which words."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.chat.request import Message, Operation, Request, Sampling
from penstock.config.model import Manner
from penstock.dialects import anthropic_call, lmstudio_models
from penstock.dialects.base import Call, Limits, Southbound
from penstock.dialects.embeddings import EmbeddingsSouth, ollama_embeddings, openai_embeddings
from penstock.dialects.koboldcpp import koboldcpp_south
from penstock.dialects.openai import openai_north
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BackendGarbled, BadRequest

CLOSED = Manner(passthrough=False)
USER = {"messages": [{"role": "user", "content": "x"}]}


def asked(north: str, operation: str, **body: object) -> Request:
    return NORTHBOUND[north].parse(operation, json.dumps({"model": "m", **body}).encode())


def body_of(call: Call) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(call.body)
    return found


# --- passthrough -----------------------------------------------------------------------------------------------------

#: A client of the backend's own language: kind, operation, what it says that is known, what is not.
OWN: dict[str, tuple[str, str, dict[str, Any], dict[str, Any]]] = {
    "openai": ("openai", "chat", {**USER, "temperature": 0.5}, {"projectId": "p", "logit_bias": {"1": 2}}),
    "llamacpp": ("llamacpp", "completion", {"prompt": "p", "top_k": 3}, {"xtc_probability": 0.5, "n_probs": 2}),
    "vllm": ("vllm", "chat", {**USER, "min_p": 0.1}, {"guided_regex": "a+"}),
    "lmstudio": ("lmstudio", "chat", USER, {"ttl": 300}),
    "ollama": ("ollama", "chat", {**USER, "options": {"top_k": 3}}, {"truncate": False}),
    "anthropic": ("anthropic", "chat", {**USER, "max_tokens": 9}, {"metadata": {"user_id": "u"}}),
    "koboldcpp": ("koboldcpp", "stream", {"prompt": "p", "top_k": 3}, {"dry_base": 2, "grammar": "g"}),
}
NORTH_OF = {"llamacpp": "openai", "vllm": "openai", "lmstudio": "openai"}


@pytest.mark.parametrize(("kind", "operation", "known", "unknown"), OWN.values(), ids=OWN)
def test_what_penstock_does_not_know(kind: str, operation: str, known: dict[str, Any], unknown: dict[str, Any]) -> None:
    request = asked(NORTH_OF.get(kind, kind), operation, **known, **unknown)
    south = SOUTHBOUND[kind]
    passed = south.encode(request, "m")
    assert unknown.items() <= body_of(passed).items()
    assert passed.dropped == ()
    closed = south.encode(request, "m", CLOSED)
    assert body_of(closed).keys().isdisjoint(unknown)
    assert set(closed.dropped) == set(unknown)
    # what is known is said all the same
    said = body_of(closed)
    said |= said.get("options", {})
    for name, value in (known | known.get("options", {})).items():
        if name not in ("messages", "options"):
            assert said[name] == value


def test_embeddings_as_well() -> None:
    for north, kind in ((openai_embeddings, "openai"), (ollama_embeddings, "ollama")):
        request = north.parse("embedding", b'{"model":"m","input":["a"],"user":"u"}')
        south = EmbeddingsSouth(SOUTHBOUND[kind])
        assert body_of(south.encode(request, "m")) == {"model": "m", "input": ["a"], "user": "u"}
        closed = south.encode(request, "m", CLOSED)
        assert (body_of(closed), closed.dropped) == ({"model": "m", "input": ["a"]}, ("user",))
    tokens = openai_embeddings.parse("embedding", b'{"model":"m","input":[1,2]}')
    assert body_of(EmbeddingsSouth(SOUTHBOUND["openai"]).encode(tokens, "m", CLOSED))["input"] == [1, 2]
    older = ollama_embeddings.parse("embedding", b'{"model":"m","prompt":"a","keep_alive":5,"x":1}')
    call = EmbeddingsSouth(SOUTHBOUND["ollama"]).encode(older, "m", CLOSED)
    assert (call.path, body_of(call)) == ("/api/embeddings", {"model": "m", "prompt": "a", "keep_alive": 5})


def test_the_count_of_tokens_as_well() -> None:
    request = asked("anthropic", "chat", **USER, max_tokens=9, temperature=0.5, metadata={"user_id": "u"})
    assert body_of(anthropic_call.count_call(request, "m")) == {**request.body, "model": "m"}
    closed = anthropic_call.count_call(request, "m", CLOSED)
    assert body_of(closed).keys() == {"model", "messages"}
    assert closed.dropped == ("metadata",)


ELSEWHERE = {
    "api_base": "http://evil",
    "base_url": "http://evil",
    "URL": "http://evil",
    "host": "evil",
    "headers": {"a": "b"},
    "extra_headers": {"a": "b"},
    "user_config": {"model_list": []},
    "model_list": [],
    "mcp_servers": [{"type": "url", "url": "http://evil"}],
    "api_key": "k",
    "Authorization": "k",
}


@pytest.mark.parametrize(
    ("length", "said", "told"),
    [
        ("auto", {"max_tokens": 9}, {"max_tokens": 9}),
        ("auto", {"max_completion_tokens": 9}, {"max_completion_tokens": 9}),
        ("max_completion_tokens", {"max_tokens": 9}, {"max_completion_tokens": 9}),
        ("max_completion_tokens", {"max_tokens": 9, "max_completion_tokens": 8}, {"max_completion_tokens": 8}),
        ("max_completion_tokens", {"max_tokens": None}, {}),
        ("max_tokens", {"max_completion_tokens": 9}, {"max_tokens": 9}),
    ],
)
def test_the_field_of_the_length(length: Any, said: dict[str, Any], told: dict[str, Any]) -> None:
    manner, south = Manner(length=length), SOUTHBOUND["openai"]
    body = body_of(south.encode(asked("openai", "chat", **USER, **said), "m", manner))
    assert {name: value for name, value in body.items() if name.startswith("max_")} == told


def test_the_field_of_the_length_for_others() -> None:
    """A translated chat says the length as the owner wants it; the completions of OpenAI know one name only."""
    south, renamed = SOUTHBOUND["openai"], Manner(length="max_completion_tokens")
    chat = asked("anthropic", "chat", **USER, max_tokens=9)
    assert body_of(south.encode(chat, "m"))["max_tokens"] == 9
    body = body_of(south.encode(chat, "m", renamed))
    assert body["max_completion_tokens"] == 9 and "max_tokens" not in body
    completion = asked("openai", "completion", prompt="p", max_tokens=9)
    assert body_of(south.encode(completion, "m", renamed))["max_tokens"] == 9


@pytest.mark.parametrize("kind", ["openai", "llamacpp", "vllm", "lmstudio", "ollama", "anthropic", "koboldcpp"])
def test_nothing_turns_a_request_elsewhere(kind: str) -> None:
    """Whatever the owner allows, and wherever it stands."""
    north = NORTH_OF.get(kind, kind)
    operation = "stream" if kind == "koboldcpp" else "chat"
    known = {"prompt": "p"} if kind == "koboldcpp" else {**USER, "max_tokens": 9}
    request = asked(north, operation, **known, **ELSEWHERE, extra_body={**ELSEWHERE, "kept": 1})
    call = SOUTHBOUND[kind].encode(request, "m")
    assert "evil" not in call.body.decode()
    assert body_of(call)["extra_body"] == {"kept": 1}
    assert {*ELSEWHERE, *(f"extra_body.{name}" for name in ELSEWHERE)} == set(call.dropped)


def test_a_tool_at_an_address_stays_behind() -> None:
    function = {"type": "function", "function": {"name": "f"}}
    server = {"type": "mcp", "server_label": "l", "server_url": "http://evil", "headers": {"a": "b"}}
    call = SOUTHBOUND["openai"].encode(asked("openai", "chat", **USER, tools=[function, server]), "m")
    assert (body_of(call)["tools"], call.dropped) == ([function], ("tools[1]",))


# --- the words of servers that speak OpenAI --------------------------------------------------------------------------

TALK = Request(
    dialect="ollama",
    operation=Operation.CHAT,
    model="m",
    stream=True,
    body={},
    messages=(
        Message(role="system", content="s"),
        Message(role="user", content="u"),
        Message(role="assistant", content="a", thinking="hm"),
    ),
    sampling=Sampling(top_k=3, min_p=0.1, repeat_penalty=1.5),
)
DEVELOPER = asked("openai", "chat", messages=[{"role": "developer", "content": "s"}, {"role": "user", "content": "u"}])


@pytest.mark.parametrize(
    ("kind", "manner", "said", "dropped"),
    [
        ("openai", {}, {}, {"messages.thinking", "options.top_k", "options.min_p", "options.repeat_penalty"}),
        (
            "openai",
            {"reasoning": "reasoning"},
            {"reasoning": "hm"},
            {"options.top_k", "options.min_p", "options.repeat_penalty"},
        ),
        ("llamacpp", {}, {"reasoning_content": "hm", "top_k": 3, "min_p": 0.1, "repeat_penalty": 1.5}, set()),
        ("llamacpp", {"reasoning": "none"}, {"top_k": 3, "min_p": 0.1, "repeat_penalty": 1.5}, {"messages.thinking"}),
        ("vllm", {}, {"reasoning": "hm", "top_k": 3, "min_p": 0.1, "repetition_penalty": 1.5}, set()),
        ("vllm", {"reasoning": "reasoning_content"}, {"reasoning_content": "hm"}, set()),
        ("lmstudio", {}, {"top_k": 3, "repeat_penalty": 1.5}, {"options.min_p", "messages.thinking"}),
    ],
)
def test_reasoning_and_samplers(kind: str, manner: dict[str, Any], said: dict[str, object], dropped: set[str]) -> None:
    call = SOUTHBOUND[kind].encode(TALK, "m", Manner(**manner))
    body = body_of(call)
    assert said.items() <= (body | body["messages"][2]).items()
    assert set(call.dropped) == dropped


@pytest.mark.parametrize(
    ("kind", "role", "own", "other"),
    [
        ("openai", "auto", "developer", "system"),
        ("openai", "system", "system", "system"),
        ("openai", "developer", "developer", "developer"),
        ("llamacpp", "auto", "developer", "system"),
        ("lmstudio", "auto", "system", "system"),
        ("vllm", "auto", "system", "system"),
        ("vllm", "developer", "developer", "developer"),
    ],
)
def test_the_role_of_system_prompts(kind: str, role: Any, own: str, other: str) -> None:
    """Of a client that says ``developer`` in the backend's own language, and of one that speaks another."""
    south, manner = SOUTHBOUND[kind], Manner(system_role=role)
    assert body_of(south.encode(DEVELOPER, "m", manner))["messages"][0] == {"role": own, "content": "s"}
    assert body_of(south.encode(TALK, "m", manner))["messages"][0] == {"role": other, "content": "s"}


def test_a_server_that_knows_no_stream_options() -> None:
    options = asked("openai", "chat", **USER, stream_options={"include_usage": True})
    south = SOUTHBOUND["openai"]
    assert body_of(south.encode(options, "m"))["stream_options"] == {"include_usage": True}
    call = south.encode(options, "m", Manner(usage=False))
    assert "stream_options" not in body_of(call)
    assert call.dropped == ("stream_options",)
    assert south.encode(asked("openai", "chat", **USER), "m", Manner(usage=False)).dropped == ()


GAP = {"prompt": "p", "suffix": "s", "max_tokens": 9, "stop": ["x"]}


@pytest.mark.parametrize(
    ("kind", "fim", "path", "said"),
    [
        ("openai", "auto", "/completions", {"prompt": "p", "suffix": "s"}),
        ("openai", "fim", "/fim/completions", {"prompt": "p", "suffix": "s"}),
        ("lmstudio", "suffix", "/v1/completions", {"prompt": "p", "suffix": "s"}),
        (
            "llamacpp",
            "auto",
            "/infill",
            {"input_prefix": "p", "input_suffix": "s", "prompt": "", "n_predict": 9, "stop": ["x"], "model": "m"},
        ),
        ("llamacpp", "suffix", "/v1/completions", {"prompt": "p", "suffix": "s"}),
        ("ollama", "auto", "/api/generate", {"prompt": "p", "suffix": "s"}),
    ],
)
def test_filling_in_the_middle(kind: str, fim: Any, path: str, said: dict[str, object]) -> None:
    call = SOUTHBOUND[kind].encode(asked("openai", "completion", **GAP), "m", Manner(fim=fim))
    assert call.path == path
    assert said.items() <= body_of(call).items()


@pytest.mark.parametrize(
    ("kind", "fim"), [("openai", "none"), ("lmstudio", "auto"), ("vllm", "auto"), ("koboldcpp", "auto")]
)
def test_who_cannot_fill_in_the_middle(kind: str, fim: Any) -> None:
    with pytest.raises(BadRequest) as caught:
        SOUTHBOUND[kind].encode(asked("openai", "completion", **GAP), "m", Manner(fim=fim))
    assert caught.value.param == "suffix"


def test_infill_takes_llamacpps_own_fields_along() -> None:
    own = {"input_extra": [{"filename": "a", "text": "b"}], "samplers": ["top_k"]}
    call = SOUTHBOUND["llamacpp"].encode(asked("openai", "completion", **GAP, **own, api_base="x"), "m")
    assert own.items() <= body_of(call).items()
    assert call.dropped == ("api_base",)
    closed = SOUTHBOUND["llamacpp"].encode(asked("openai", "completion", **GAP, **own), "m", CLOSED)
    assert set(closed.dropped) == set(own)


# --- LM Studio's list ------------------------------------------------------------------------------------------------


def test_lmstudios_models() -> None:
    south: Southbound = SOUTHBOUND["lmstudio"]
    assert south.models_call().path == "/api/v0/models"
    entry = {
        "object": "model",
        "publisher": "q",
        "arch": "qwen2",
        "compatibility_type": "gguf",
        "quantization": "Q4_K_M",
    }
    listed = [
        {"id": "chat", "type": "llm", **entry, "max_context_length": 32768, "capabilities": ["tool_use"]},
        {"id": "eyes", "type": "vlm", **entry, "loaded_context_length": 4096, "capabilities": []},
        {"id": "old", "type": "llm", **entry},
        {"id": "vectors", "type": "embeddings", **entry},
        {"id": ""},
        7,
    ]
    chat, eyes, old, vectors = south.models(json.dumps({"object": "list", "data": listed}).encode())
    assert (chat.name, chat.context_length, chat.capabilities) == ("chat", 32768, ("completion", "tools"))
    assert (chat.owner, chat.family, chat.quantization, chat.format) == ("q", "qwen2", "Q4_K_M", "gguf")
    assert (eyes.context_length, eyes.capabilities) == (4096, ("completion", "vision"))
    assert (old.context_length, old.capabilities) == (None, ("completion", "tools"))
    assert (vectors.context_length, vectors.capabilities) == (None, ("embedding",))
    for body in (b"<html>", b"[]", b'{"data":5}'):
        with pytest.raises(BackendGarbled):
            lmstudio_models.models(body)


# --- KoboldCpp's counts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("request_", "asks"),
    [
        (asked("openai", "completion", prompt="p", stream=True), False),
        (asked("openai", "completion", prompt="p", stream=True, stream_options={"include_usage": True}), True),
        (asked("openai", "completion", prompt="p"), True),
        (asked("ollama", "chat", **USER), True),
        (asked("koboldcpp", "stream", prompt="p"), False),
        (asked("koboldcpp", "generate", prompt="p"), True),
    ],
)
def test_koboldcpp_is_asked_for_counts_that_have_a_place(request_: Request, asks: bool) -> None:
    call = koboldcpp_south.encode(request_, "m")
    assert (call.tally is not None) == asks
    assert koboldcpp_south.encode(request_, "m", Manner(stream="never")).tally is None


@pytest.mark.parametrize(
    ("body", "counts"),
    [
        (b'{"last_input_count":7,"last_token_count":3,"idle":1}', (7, 3)),
        (b'{"last_token_count":3}', None),
        (b'{"last_input_count":-1,"last_token_count":3}', None),
        (b"<html>", None),
    ],
)
def test_what_koboldcpp_tells_of_its_last_answer(body: bytes, counts: tuple[int, int] | None) -> None:
    tally = koboldcpp_south.encode(asked("openai", "completion", prompt="p"), "m").tally
    assert tally is not None
    told = tally.read(body)
    assert (told and (told.prompt_tokens, told.completion_tokens)) == counts
    assert tally.call.path == "/api/extra/perf"


def test_koboldcpps_words_in_one_piece_may_fail() -> None:
    request = openai_north.parse("completion", b'{"model":"m","prompt":"p"}')
    reader = koboldcpp_south.reader(request, "application/json", Limits(), Manner(stream="never"))
    reader.receive(b'{"results":[{"text":"","finish_reason":"error"}]}')
    (_, failed) = reader.end()
    assert "finish_reason 'error'" in failed.message  # type: ignore[union-attr]
