"""Requests that real clients sent, replayed: each is answered as the parser of its client wants it.

``data`` holds what was recorded of each client's requests, headers included; long texts are cut.  The answers are
checked by the rules of their dialects, and by the models of the client libraries where those have some.
"""

from __future__ import annotations

import base64
import json
import struct
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import ollama
import pytest
import trio
from openai.types import Model

from matrix.clients import CLIENTS
from matrix.estate import LOOPBACK, serving
from matrix.table import KINDS
from penstock.config.model import Backend, Config, Route, Server
from penstock.simulate.server import Settings
from rawhttp import answered, get, post

CHATS = {client.stream_path: client for client in CLIENTS.values()}
STREAMS_UNASKED = ("/api/chat", "/api/generate")
RECORDED = {
    f"{path.stem}-{number}": request
    for path in sorted((Path(__file__).parent / "data").glob("*.json"))
    for number, request in enumerate(json.loads(path.read_text()), start=1)
}


@pytest.fixture(scope="module")
def daemons() -> Iterator[dict[str, str]]:
    """By kind of backend, the address of a daemon that has nothing but one of these."""

    def configs(url: str) -> list[Config]:
        return [
            Config(
                server=Server(listen=LOOPBACK),
                backends={kind: Backend(kind=kind, url=url)},
                routes={"coder": Route(targets=(kind,))},
            )
            for kind in KINDS
        ]

    with serving(Settings(models={"coder": "tokens=3"}, script="tokens=3"), configs) as (_, addresses):
        yield dict(zip(KINDS, addresses, strict=True))


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("name", RECORDED)
async def test_a_recorded_request(daemons: dict[str, str], name: str, kind: str) -> None:
    recorded = RECORDED[name]
    method, path = recorded["asks"].split()
    headers = [f"{header}: {value}" for header, value in recorded["headers"].items()]
    body = recorded.get("body")
    request = get(path, *headers) if body is None else post(path, json.dumps(body).encode(), *headers)
    assert request.startswith(method.encode())
    with trio.fail_after(20):
        status, told, answer = await answered(daemons[kind], request)
    if kind == "anthropic" and path in ("/v1/embeddings", "/api/embed"):
        assert status == 400
        assert b"has no embeddings" in answer
        return
    assert status == 200, answer
    assert "content-encoding" not in told
    if path not in CHATS:
        assert told["content-type"] == "application/json"
        LISTS[path](json.loads(answer))
        return
    stream = body.get("stream", path in STREAMS_UNASKED)
    assert ("transfer-encoding" in told) is stream
    read = CHATS[path].read(answer, stream=stream)
    assert (read.text, read.finish, read.error) == (" t0 t1 t2", "stop", None)
    asked_for_counts = body.get("stream_options") or path != "/v1/chat/completions" or not stream
    assert (read.usage is not None) is bool(asked_for_counts)


def tags(told: Any) -> None:
    assert [model.model for model in ollama.ListResponse.model_validate(told).models] == ["coder"]
    (entry,) = told["models"]
    details = {"parent_model", "format", "family", "families", "parameter_size", "quantization_level"}
    assert {"name", "model", "modified_at", "size", "digest", "details"} <= set(entry)
    assert details <= set(entry["details"])


def show(told: Any) -> None:
    shown = ollama.ShowResponse.model_validate(told)
    assert shown.capabilities
    assert "tools" in shown.capabilities, "without it clients hide the model from their agents"
    assert isinstance(told["template"], str) and isinstance(told["modelfile"], str)
    family = told["model_info"]["general.architecture"]
    assert told["model_info"][f"{family}.context_length"] > 0


def ps(told: Any) -> None:
    assert [model.model for model in ollama.ProcessResponse.model_validate(told).models] == ["coder"]


def models(told: Any) -> None:
    assert told["object"] == "list"
    assert [Model.model_validate(entry).id for entry in told["data"]] == ["coder"]


def embeddings(told: Any) -> None:
    (entry,) = told["data"]
    assert struct.unpack("<4f", base64.b64decode(entry["embedding"], validate=True)) == (1.0, 0.5, -0.25, 0.125)


def embed(told: Any) -> None:
    assert ollama.EmbedResponse.model_validate(told).embeddings == [[1.0, 0.5, -0.25, 0.125]]


LISTS: dict[str, Callable[[Any], None]] = {
    "/api/tags": tags,
    "/api/show": show,
    "/api/ps": ps,
    "/v1/models": models,
    "/v1/embeddings": embeddings,
    "/api/embed": embed,
}


def test_every_client_is_replayed() -> None:
    paths = {request["asks"].split()[1] for request in RECORDED.values()}
    assert paths == {*LISTS, *(set(CHATS) & paths)}
    assert len(RECORDED) == 30
