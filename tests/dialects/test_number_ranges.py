"""Every number that a client may say, in every dialect: what is out of its range, or none, is refused by name.

Numbers of more than 64 bits get no further than the reading of the JSON.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest

from penstock.chat.request import Request
from penstock.dialects.embeddings import ollama_embeddings, openai_embeddings
from penstock.dialects.fim import fim_north
from penstock.dialects.registry import NORTHBOUND
from penstock.dialects.rerank import rerank_north
from penstock.errors import BadRequest

Parse = Callable[[bytes], Request]

USER = {"messages": [{"role": "user", "content": "x"}]}
#: How a request of each kind is parsed, and the smallest one.
DIALECTS: dict[str, tuple[Parse, dict[str, Any]]] = {
    "openai chat": (partial(NORTHBOUND["openai"].parse, "chat"), USER),
    "openai completion": (partial(NORTHBOUND["openai"].parse, "completion"), {"prompt": "x"}),
    "fim": (partial(fim_north.parse, "completion"), {"prompt": "x", "suffix": "y"}),
    "responses": (partial(NORTHBOUND["responses"].parse, "chat"), {"input": "x"}),
    "anthropic": (partial(NORTHBOUND["anthropic"].parse, "chat"), {**USER, "max_tokens": 9}),
    "ollama chat": (partial(NORTHBOUND["ollama"].parse, "chat"), USER),
    "ollama generate": (partial(NORTHBOUND["ollama"].parse, "completion"), {"prompt": "x"}),
    "koboldcpp": (partial(NORTHBOUND["koboldcpp"].parse, "stream"), {"prompt": "x"}),
    "typed events": (partial(NORTHBOUND["typed_events"].parse, "chat"), {"message": "x"}),
    "openai embeddings": (partial(openai_embeddings.parse, "embedding"), {"input": "x"}),
    "ollama embeddings": (partial(ollama_embeddings.parse, "embedding"), {"input": "x"}),
    "rerank": (partial(rerank_north.parse, "rerank"), {"query": "q", "documents": ["x"]}),
}

#: The best and the worst of each: what is taken, and what is not.
COUNT: tuple[list[object], list[object]] = ([1, 4096, 2**31 - 1, 3.0, None], [2**31, 2**63, 1.5, "9", True, [], {}])
SEED: tuple[list[object], list[object]] = ([0, -1, 2**63, 2**64 - 1], [0.5, "1", False])
SHARE: tuple[list[object], list[object]] = ([0, 0.5, 1], [-0.1, 1.01, "0.5", True, []])
PENALTY: tuple[list[object], list[object]] = ([-2, 0, 2], [-2.1, 2.1, "1", True])
REPEAT: tuple[list[object], list[object]] = ([0, 1.1, 100], [-0.1, 101, "1", True])
STOPS: tuple[list[object], list[object]] = (["x", ["x", "y"], []], [5, [5], ["x", None], {}, True])
LOGPROBS: tuple[list[object], list[object]] = ([0, 20], [-1, 21, 0.5, "5"])


def within(low: float, high: float) -> tuple[list[object], list[object]]:
    return [low, high], [low - 0.1, high + 0.1, "1", True]


def also(cases: tuple[list[object], list[object]], good: list[object], bad: list[object]) -> Any:
    return cases[0] + good, cases[1] + bad


_OPENAI = {
    "max_tokens": also(COUNT, [-1, 0], [-2]),
    "max_completion_tokens": also(COUNT, [-1], [-2]),
    "temperature": within(0, 2),
    "top_p": SHARE,
    "min_p": SHARE,
    "top_k": also(COUNT, [-1, 0], [-2]),
    "seed": SEED,
    "presence_penalty": PENALTY,
    "frequency_penalty": PENALTY,
    "repeat_penalty": REPEAT,
    "repetition_penalty": REPEAT,
    "stop": STOPS,
    "n": ([1, None], [0, 2, -1, 2**63, "1", True]),
}
_OLLAMA = {
    "options.num_predict": also(COUNT, [-1, -2, 0], [-(2**31)]),
    "options.temperature": within(0, 100),
    "options.top_p": SHARE,
    "options.min_p": SHARE,
    "options.top_k": also(COUNT, [-1, 0], [-2]),
    "options.seed": SEED,
    "options.presence_penalty": PENALTY,
    "options.frequency_penalty": PENALTY,
    "options.repeat_penalty": REPEAT,
    "options.stop": STOPS,
    "top_logprobs": LOGPROBS,
}
NUMBERS: dict[str, dict[str, tuple[list[object], list[object]]]] = {
    "openai chat": {**_OPENAI, "top_logprobs": LOGPROBS},
    "openai completion": {**_OPENAI, "logprobs": LOGPROBS},
    "fim": {**_OPENAI, "logprobs": LOGPROBS},
    "typed events": {**_OPENAI, "top_logprobs": LOGPROBS},
    "responses": {
        "max_output_tokens": also(COUNT, [], [0, -1]),
        "temperature": within(0, 2),
        "top_p": SHARE,
        "top_logprobs": LOGPROBS,
    },
    "anthropic": {
        "max_tokens": also(COUNT, [], [-1]),
        "temperature": within(0, 2),
        "top_p": SHARE,
        "top_k": also(COUNT, [0], [-1]),
        "stop_sequences": STOPS,
    },
    "ollama chat": _OLLAMA,
    "ollama generate": _OLLAMA,
    "koboldcpp": {
        "max_length": also(COUNT, [0, -1], [-(2**31)]),
        "max_context_length": also(COUNT, [], [0, -1]),
        "temperature": within(0, 100),
        "top_p": SHARE,
        "min_p": SHARE,
        "top_k": also(COUNT, [-1, 0], [-2]),
        "sampler_seed": SEED,
        "presence_penalty": PENALTY,
        "rep_pen": REPEAT,
        "stop_sequence": STOPS,
    },
    "openai embeddings": {"dimensions": also(COUNT, [], [0, -1])},
    "ollama embeddings": {"dimensions": also(COUNT, [], [0, -1])},
    "rerank": {"top_n": also(COUNT, [], [0, -1])},
}


def test_every_dialect_is_here() -> None:
    """The WebSocket's requests are an OpenAI chat's, and are tried there."""
    assert set(NUMBERS) == set(DIALECTS)
    assert {name.split()[0] for name in DIALECTS} >= {"openai", "responses", "anthropic", "ollama", "koboldcpp"}


@pytest.mark.parametrize(("dialect", "field"), [(d, f) for d, found in NUMBERS.items() for f in found])
def test_a_number(dialect: str, field: str) -> None:
    parse, smallest = DIALECTS[dialect]
    good, bad = NUMBERS[dialect][field]
    outer, _, inner = field.rpartition(".")

    def body(value: object) -> bytes:
        said = {outer: {inner: value}} if outer else {inner: value}
        return json.dumps({"model": "m", **smallest, **said}).encode()

    for value in good:
        parse(body(value))
    for value in bad:
        with pytest.raises(BadRequest) as caught:
            parse(body(value))
        assert (caught.value.param or "").startswith(field), value
        assert f"'{field}" in caught.value.message


@pytest.mark.parametrize("dialect", DIALECTS)
@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_what_is_no_number(dialect: str, number: str) -> None:
    parse, smallest = DIALECTS[dialect]
    body = json.dumps({"model": "m", **smallest, "anything": 0}).replace('"anything": 0', f'"anything": {number}')
    with pytest.raises(BadRequest):
        parse(body.encode())
