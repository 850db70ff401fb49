"""Embeddings: requests and answers of both shapes, and base64 that is what it says."""

from __future__ import annotations

import base64
import json
import struct
from typing import Any

import pytest

from penstock.chat.events import Embedding, Event, Failed, Finish, FinishReason, Opened, Usage
from penstock.chat.request import Operation, Request
from penstock.dialects.base import Identity, Limits, Timing
from penstock.dialects.embeddings import EmbeddingsReader, EmbeddingsSouth, ollama_embeddings, openai_embeddings
from penstock.dialects.registry import SOUTHBOUND
from penstock.errors import BackendGarbled, BadRequest

STOP = Finish(FinishReason.STOP)
NORTHS = {"openai": openai_embeddings, "ollama": ollama_embeddings}


def parse(dialect: str, **body: object) -> Request:
    return NORTHS[dialect].parse("embedding", json.dumps({"model": "m", **body}).encode())


def asked(kind: str, request: Request) -> tuple[str, dict[str, Any], tuple[str, ...]]:
    call = EmbeddingsSouth(SOUTHBOUND[kind]).encode(request, "target")
    return call.path, json.loads(call.body), call.dropped


# --- asking ----------------------------------------------------------------------------------------------------------

PATHS = {
    "openai": "/embeddings",
    "llamacpp": "/v1/embeddings",
    "koboldcpp": "/v1/embeddings",
}


@pytest.mark.parametrize("kind", PATHS)
def test_an_openai_body_goes_through_but_never_asks_for_base64(kind: str) -> None:
    request = parse("openai", input=["a", "b"], encoding_format="base64", dimensions=2, user="u", api_base="http://x")
    assert (request.operation, request.inputs, request.dimensions) == (Operation.EMBEDDING, ("a", "b"), 2)
    assert asked(kind, request) == (
        PATHS[kind],
        {"model": "target", "input": ["a", "b"], "dimensions": 2, "user": "u"},
        ("api_base",),
    )


@pytest.mark.parametrize("tokens", [[1, 2], [[1, 2], [3]]])
def test_tokens_reach_backends_that_take_them(tokens: list[object]) -> None:
    request = parse("openai", input=tokens)
    assert asked("openai", request)[1]["input"] == tokens
    with pytest.raises(BadRequest, match="text only"):
        asked("ollama", request)


def test_openai_asks_ollama() -> None:
    request = parse("openai", input="a", dimensions=2, user="u")
    assert asked("ollama", request) == (
        "/api/embed",
        {"model": "target", "input": ["a"], "dimensions": 2},
        ("user",),
    )


def test_ollama_asks_openai() -> None:
    request = parse("ollama", input=["a", "b"], truncate=True, keep_alive="5m", dimensions=2)
    assert asked("openai", request) == (
        "/embeddings",
        {"model": "target", "input": ["a", "b"], "dimensions": 2},
        ("truncate", "keep_alive"),
    )
    assert asked("openai", parse("ollama", prompt="a"))[1] == {"model": "target", "input": ["a"]}


def test_ollama_asks_ollama_in_its_own_words() -> None:
    assert asked("ollama", parse("ollama", input="a", options={"num_ctx": 9}))[:2] == (
        "/api/embed",
        {"model": "target", "input": "a", "options": {"num_ctx": 9}},
    )
    assert asked("ollama", parse("ollama", prompt="a"))[:2] == (
        "/api/embeddings",
        {"model": "target", "prompt": "a"},
    )


@pytest.mark.parametrize(
    ("dialect", "body", "word"),
    [
        ("openai", {"model": "", "input": "a"}, "'model' is missing"),
        ("openai", {}, "'input' is missing"),
        ("openai", {"input": []}, "'input' is missing"),
        ("openai", {"input": [{}]}, "must be a string"),
        ("openai", {"input": "a", "encoding_format": "int8"}, "encoding_format"),
        ("openai", {"input": "a", "dimensions": 0}, "dimensions"),
        ("ollama", {"prompt": 5}, "'prompt' must be a string"),
    ],
)
def test_a_wrong_body_is_refused(dialect: str, body: dict[str, object], word: str) -> None:
    with pytest.raises(BadRequest, match=word):
        parse(dialect, **body)


def test_a_backend_without_embeddings_says_so() -> None:
    with pytest.raises(BadRequest, match="no embeddings"):
        EmbeddingsSouth(SOUTHBOUND["anthropic"])


# --- reading ---------------------------------------------------------------------------------------------------------


def packed(*numbers: float) -> str:
    return base64.b64encode(struct.pack(f"<{len(numbers)}f", *numbers)).decode()


def openai_answer(*vectors: object, **more: object) -> dict[str, object]:
    data = [{"object": "embedding", "index": i, "embedding": vector} for i, vector in enumerate(vectors)]
    return {"object": "list", "data": data, "model": "x", "usage": {"prompt_tokens": 3, "total_tokens": 3}, **more}


VECTORS: list[Event] = [Opened(), Embedding(0, [0.5, -1.0]), Embedding(1, [0.25, 2.0])]
READ: dict[str, tuple[object, int, list[Event]]] = {
    "openai": (openai_answer([0.5, -1.0], [0.25, 2]), 2, [*VECTORS, Usage(3), STOP]),
    "openai in base64": (openai_answer(packed(0.5, -1.0), packed(0.25, 2.0)), 2, [*VECTORS, Usage(3), STOP]),
    "out of order": (
        {
            "data": [{"index": 1, "embedding": [0.25, 2]}, {"index": 0, "embedding": [0.5, -1.0]}],
            "usage": {"prompt_tokens": 3},
        },
        2,
        [*VECTORS, Usage(3), STOP],
    ),
    "without an index": (
        {"data": [{"embedding": [0.5, -1.0]}, {"embedding": [0.25, 2]}]},
        2,
        [*VECTORS, Usage(), STOP],
    ),
    "as many as there are": (openai_answer([0.5, -1.0], [0.25, 2]), 0, [*VECTORS, Usage(3), STOP]),
    "ollama": (
        {"embeddings": [[0.5, -1.0], [0.25, 2]], "prompt_eval_count": 3, "total_duration": 9, "load_duration": 1},
        2,
        [*VECTORS, Usage(3, total_ns=9, load_ns=1), STOP],
    ),
    "ollama of old": ({"embedding": [0.5, -1.0]}, 1, [*VECTORS[:2], Usage(), STOP]),
    "nothing asked": ({"embeddings": []}, 0, [Opened(), Usage(), STOP]),
    "an error with status 200": ({"error": {"message": "no such model", "code": 404}}, 1, []),
}


@pytest.mark.parametrize(("body", "inputs", "events"), READ.values(), ids=READ)
def test_an_answer_is_read_however_it_is_cut(body: object, inputs: int, events: list[Event]) -> None:
    data = json.dumps(body).encode()
    for cut in range(0, len(data), 7):
        reader = EmbeddingsReader(inputs, Limits())
        told = [*reader.receive(data[:cut]), *reader.receive(data[cut:]), *reader.end()]
        if events:
            assert (told, reader.complete) == (events, True)
        else:
            assert (told, reader.complete) == ([Failed("no such model", "404", None, 404)], False)


@pytest.mark.parametrize(
    ("data", "layer"),
    [
        (b'{"embeddings": [[1.0], [2', "parse"),
        (b"", "parse"),
        (b'{"embeddings": [["a"]]}', "schema"),
        (b'{"embeddings": [[1.0]]}', "schema"),
        (b'{"embeddings": []}', "schema"),
        (b"{}", "schema"),
        (b'{"data": [{"embedding": "!!"}, {"embedding": "AAAA"}]}', "schema"),
    ],
)
def test_what_are_not_two_vectors_is_garbled(data: bytes, layer: str) -> None:
    reader = EmbeddingsReader(2, Limits())
    (failed,) = [*reader.receive(data), *reader.end()]
    assert isinstance(failed, Failed)
    assert (failed.garbled, reader.complete) == (layer, False)


# --- answering -------------------------------------------------------------------------------------------------------


def answer(dialect: str, **body: object) -> Any:
    identity = Identity(stream="7f3k", created=1.0)
    writer = NORTHS[dialect].writer(parse(dialect, **body), identity, passthrough=False)
    assert writer.write([*VECTORS, Usage(3), STOP]) == b""
    return json.loads(writer.heartbeat() + writer.end(Timing(total_ns=9, load_ns=1)))


def test_openai_gets_numbers() -> None:
    assert answer("openai", input=["a", "b"]) == openai_answer([0.5, -1.0], [0.25, 2.0], model="m")


def test_openai_gets_real_base64_where_it_asked_for_it() -> None:
    told = answer("openai", input=["a", "b"], encoding_format="base64")
    assert told == openai_answer(packed(0.5, -1.0), packed(0.25, 2.0), model="m")


def test_numbers_that_no_32_bits_hold_are_the_backends_fault() -> None:
    identity = Identity(stream="7f3k", created=1.0)
    request = parse("openai", input="a", encoding_format="base64")
    writer = openai_embeddings.writer(request, identity, passthrough=False)
    writer.write([Opened(), Embedding(0, [1e300]), STOP])
    with pytest.raises(BackendGarbled, match="32-bit"):
        writer.end(Timing())


def test_ollama_gets_its_counters() -> None:
    assert answer("ollama", input=["a", "b"]) == {
        "model": "m",
        "embeddings": [[0.5, -1.0], [0.25, 2.0]],
        "total_duration": 9,
        "load_duration": 1,
        "prompt_eval_count": 3,
    }
    assert answer("ollama", prompt="a") == {"embedding": [0.5, -1.0]}
