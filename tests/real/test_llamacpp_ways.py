"""The ways of one backend against the real server: its infill, an answer in one piece, its own Responses API."""

from __future__ import annotations

import json
from collections.abc import Iterator

import httpx
import pytest
from daemons import DEADLINE, Penstock, Server, penstock

CONFIG = """
[backends.llamacpp]
kind = "llamacpp"
url = "{url}"
[backends.whole]
kind = "llamacpp"
url = "{url}"
stream = "never"
piece = 12
[backends.own]
kind = "llamacpp"
url = "{url}"
responses = "native"
[routes]
tiny = ["llamacpp"]
whole = ["whole/tiny"]
own = ["own/tiny"]
"""
GAP = {"prompt": "def f(", "suffix": "return x", "max_tokens": 3}


@pytest.fixture(scope="module")
def proxy(llama_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with penstock(tmp_path_factory.mktemp("ways"), CONFIG.format(url=llama_server.url)) as server:
        yield server


@pytest.fixture(scope="module")
def client(proxy: Penstock) -> Iterator[httpx.Client]:
    with httpx.Client(base_url=proxy.url, timeout=DEADLINE, trust_env=False) as client:
        yield client


def chunks(answer: httpx.Response) -> list[str]:
    """The pieces of text of a streamed chat that came to its end."""
    *lines, last = [line for line in answer.raise_for_status().text.split("\n") if line.startswith("data: ")]
    assert last == "data: [DONE]"
    choices = [json.loads(line[6:])["choices"][0] for line in lines]
    assert choices[-1]["finish_reason"] == "length"
    return [choice["delta"]["content"] for choice in choices if choice["delta"].get("content")]


@pytest.mark.parametrize("name", ["tiny", "whole"])
def test_a_suffix_is_not_lost(client: httpx.Client, name: str) -> None:
    """More tokens of prompt than the prompt alone has: the server saw what comes after the gap."""
    alone = client.post("/v1/completions", json={"model": name, "prompt": "def f(", "max_tokens": 3}).json()
    answer = client.post("/v1/completions", json={"model": name, **GAP}).json()
    assert answer["choices"][0]["text"] == " t0 t1 t2"
    assert answer["choices"][0]["finish_reason"] == "length"
    assert answer["usage"]["prompt_tokens"] > alone["usage"]["prompt_tokens"] + len("return x")
    pieces = chunks(client.post("/v1/fim/completions", json={"model": name, **GAP, "stream": True}))
    assert pieces == ([" t0", " t1", " t2"] if name == "tiny" else [" t0 t1 t2"])


def test_an_answer_in_one_piece_is_a_stream_in_pieces(client: httpx.Client) -> None:
    body = {"model": "whole", "messages": [{"role": "user", "content": "x"}], "max_tokens": 12, "stream": True}
    pieces = chunks(client.post("/v1/chat/completions", json=body))
    assert pieces == [" t0 t1 t2 t3", " t4 t5 t6 t7", " t8 t9 t10 t", "11"]


def test_its_own_responses(client: httpx.Client, llama_server: Server) -> None:
    body = {"model": "own", "input": "Count.", "max_output_tokens": 3}
    own = httpx.post(f"{llama_server.url}/v1/responses", json=body, trust_env=False).json()
    answer = client.post("/v1/responses", json=body).raise_for_status().json()
    assert (answer["object"], answer["status"]) == ("response", own["status"])
    assert answer["output"][0]["content"] == own["output"][0]["content"]
    text = client.post("/v1/responses", json={**body, "stream": True}).text
    names = [line[7:] for line in text.split("\n") if line.startswith("event: ")]
    assert (names[0], names[-1]) == ("response.created", "response.completed")
