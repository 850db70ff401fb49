"""llama.cpp's own paths and its embeddings, through penstock, against the real server."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

import httpx
import pytest
from daemons import DEADLINE, Penstock, Server, llama, penstock
from ollama import Client
from openai import OpenAI

from conftest import before


@pytest.fixture(scope="module")
def proxy(llama_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with penstock(tmp_path_factory.mktemp("native"), before("llamacpp", llama_server.url)) as server:
        yield server


@pytest.fixture(scope="module")
def client(proxy: Penstock) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.url, timeout=DEADLINE, trust_env=False) as client:
        yield client


def test_what_it_tells_is_told_unchanged(client: httpx.Client, llama_server: Server) -> None:
    own = httpx.get(f"{llama_server.url}/props", trust_env=False).json()
    assert client.get("/props").json() == own
    assert len(client.get("/slots").json()) == 4
    tokens = client.post("/tokenize", json={"content": "Count to ten."}).json()["tokens"]
    assert tokens
    assert client.post("/detokenize", json={"tokens": tokens}).json()["content"].strip() == "Count to ten."
    templated = client.post("/apply-template", json={"messages": [{"role": "user", "content": "Count."}]})
    assert "Count." in templated.json()["prompt"]


def test_its_completion_streams_as_it_streams(client: httpx.Client, llama_server: Server) -> None:
    asked = {"prompt": "Count.", "n_predict": 8, "stream": True, "response_fields": ["content", "stop"], "seed": 1}
    frames = []
    for url in (f"{llama_server.url}/completion", f"{client.base_url}/completion"):
        with client.stream("POST", url, json=asked) as answer:
            assert answer.headers["content-type"].startswith("text/event-stream")
            lines = [line for line in answer.iter_lines() if line.startswith("data: ")]
            frames.append([(frame["content"], frame["stop"]) for frame in (json.loads(line[6:]) for line in lines)])
    own, ours = frames
    assert ours == own
    assert ours[-1][1] is True
    assert len(ours) > 4


def test_its_completion_whole(client: httpx.Client, proxy: Penstock) -> None:
    answer = client.post("/completion", json={"prompt": "Count.", "n_predict": 4})
    assert answer.json()["tokens_predicted"] == 4
    assert proxy.logged("stream ended", dialect="opaque", reason="completed")


def test_a_gap_is_filled_in_its_own_words(client: httpx.Client, llama_server: Server) -> None:
    asked = {"input_prefix": "def f():\n", "input_suffix": "\nf()", "input_extra": [], "n_predict": 6, "seed": 1}
    own = httpx.post(f"{llama_server.url}/infill", json=asked, trust_env=False).raise_for_status().json()
    answer = client.post("/infill", json=asked).raise_for_status().json()
    assert (answer["content"], answer["tokens_predicted"]) == (own["content"], 6) == (" t0 t1 t2 t3 t4 t5", 6)
    with client.stream("POST", "/infill", json=asked | {"stream": True}) as streamed:
        frames = [json.loads(line[6:]) for line in streamed.iter_lines() if line.startswith("data: ")]
    assert "".join(frame["content"] for frame in frames) == own["content"]
    assert frames[-1]["stop"] is True


def test_its_errors_are_its_own(client: httpx.Client, llama_server: Server) -> None:
    own = httpx.post(f"{llama_server.url}/infill", json={"input_prefix": 5}, trust_env=False)
    answer = client.post("/infill", json={"input_prefix": 5})
    assert own.status_code >= 400
    assert (answer.status_code, answer.json()) == (own.status_code, own.json())


def test_embeddings_reach_every_client_as_they_are(model: Path, tmp_path: Path) -> None:
    with (
        llama(model, n_ctx=2048, n_parallel=1, embedding=True, pooling_type=1) as server,
        penstock(tmp_path, before("llamacpp", server.url)) as proxy,
        ExitStack() as stack,
    ):
        own = httpx.post(f"{server.url}/v1/embeddings", json={"input": "Count."}, trust_env=False)
        vector = own.json()["data"][0]["embedding"]
        assert len(vector) > 1
        # It asks for base64 by itself, and decodes what it gets.
        sdk = stack.enter_context(OpenAI(base_url=f"{proxy.url}/v1", api_key="noop"))
        told = sdk.embeddings.create(model="tiny", input=["Count.", "Count."])
        for item in told.data:
            assert item.embedding == pytest.approx(vector, abs=1e-6)
        assert told.usage.prompt_tokens > 0
        ollama = stack.enter_context(Client(host=proxy.url))
        assert ollama.embed("tiny", "Count.").embeddings[0] == pytest.approx(vector, abs=1e-6)
        assert ollama.embeddings("tiny", "Count.").embedding == pytest.approx(vector, abs=1e-6)
