"""What a backend has itself: its Responses API, its fim/completions, its infill, its rerank; over real sockets."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
import trio
from between import Asked, House, events, house, played, simulated

from penstock.chat.reasons import Reason
from penstock.config.model import Backend, BackendKind
from responses_conformance import check_responses_stream

SCRIPT = "tokens=3,prompt=7"
GAP = {"model": "m", "prompt": "def f(", "suffix": "return x", "max_tokens": 9}


async def before(nursery: trio.Nursery, kind: BackendKind, script: str = SCRIPT, **more: Any) -> dict[str, Backend]:
    return {"b": msgspec.structs.replace(await simulated(nursery, kind, script), **more)}


# --- responses -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["vllm", "lmstudio", "openai"])
async def test_a_response_comes_as_it_is(nursery: trio.Nursery, kind: BackendKind) -> None:
    script = "tokens=3,prompt=7,thinking=2,tools=1"
    native: dict[str, Any] = {"responses": "native"} if kind == "openai" else {}
    async with house(nursery, await before(nursery, kind, script, **native), {"m": ("b",)}) as it:
        body = {"model": "m", "input": "hello", "previous_response_id": "resp_1", "tools": [{"type": "web_search"}]}
        streamed = (await it.ask("POST", "/v1/responses", {**body, "stream": True})).content
        check_responses_stream(streamed)
        told = events(streamed)
        assert told[0][0] == "response.created"
        name, last = told[-1]
        assert (name, last["response"]["status"]) == ("response.completed", "completed")
        # the stand-in's own id, and its own numbers
        assert last["response"]["id"] == told[0][1]["response"]["id"] == "resp_00000001"
        deltas = [value["delta"] for name, value in told if name == "response.output_text.delta"]
        assert deltas == [" t0", " t1", " t2"]
        outcome = await it.outcome()
        assert (outcome.reason, outcome.dialect, outcome.prompt_tokens) == (Reason.COMPLETED, "responses", 7)

        whole = (await it.ask("POST", "/v1/responses", body)).json()
        assert (whole["id"], whole["status"], whole["usage"]["input_tokens"]) == ("resp_00000002", "completed", 7)
        assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call"]


@pytest.mark.parametrize(
    ("fault", "message"),
    [
        ("error", "simulated failure after 2 tokens"),
        ("error-event", "simulated failure after 2 tokens"),
        ("cut", "in mid-answer"),
        ("truncate", "terminal marker"),
    ],
)
async def test_a_response_that_fails_in_the_middle(nursery: trio.Nursery, fault: str, message: str) -> None:
    async with house(nursery, await before(nursery, "vllm", f"tokens=5,fault={fault}@2"), {"m": ("b",)}) as it:
        told = events((await it.ask("POST", "/v1/responses", {"model": "m", "input": "x", "stream": True})).content)
        name, last = told[-1]
        assert name == "response.failed"
        assert message in last["response"]["error"]["message"]
        assert last["response"]["id"] == told[0][1]["response"]["id"]
        numbers = [value["sequence_number"] for _, value in told]
        assert numbers == sorted(set(numbers))


async def test_what_needs_a_store_is_asked_of_who_has_one(nursery: trio.Nursery) -> None:
    backends = {"chats": await simulated(nursery, "ollama", SCRIPT), "own": await simulated(nursery, "vllm", SCRIPT)}
    async with house(nursery, backends, {"m": ("chats", "own"), "n": ("chats",)}) as it:
        body = {"model": "m", "input": "hello", "previous_response_id": "resp_1"}
        answer = await it.ask("POST", "/v1/responses", body)
        assert (answer.status_code, answer.headers["x-penstock-target"]) == (200, "own/m")
        answer = await it.ask("POST", "/v1/responses", {**body, "model": "n"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "previous_response_id")


# --- fim -------------------------------------------------------------------------------------------------------------


async def gap(it: House, path: str, **more: object) -> Any:
    answer = await it.ask("POST", path, GAP | more)
    assert answer.status_code == 200, answer.text
    return answer


@pytest.mark.parametrize(
    ("kind", "fim"),
    [("openai", "auto"), ("openai", "fim"), ("llamacpp", "auto"), ("lmstudio", "suffix"), ("ollama", "auto")],
)
@pytest.mark.parametrize("path", ["/v1/fim/completions", "/fim/completions"])
async def test_the_middle_is_told_as_a_chat(nursery: trio.Nursery, kind: BackendKind, fim: str, path: str) -> None:
    more = {} if fim == "auto" else {"fim": fim}
    async with house(nursery, await before(nursery, kind, **more), {"m": ("b",)}) as it:
        whole = (await gap(it, path)).json()
        assert whole["choices"][0]["message"]["content"] == " t0 t1 t2"
        assert whole["usage"] == {"prompt_tokens": 7, "completion_tokens": 3, "total_tokens": 10}
        text = (await gap(it, path, stream=True)).text
        chunks = [json.loads(line[6:]) for line in text.split("\n") if line.startswith("data: {")]
        assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == " t0 t1 t2"
        assert chunks[-1]["choices"][0]["finish_reason"] == "stop"
        assert text.endswith("data: [DONE]\n\n")


@pytest.mark.parametrize("kind", ["vllm", "lmstudio", "koboldcpp", "anthropic"])
async def test_who_cannot_says_so(nursery: trio.Nursery, kind: BackendKind) -> None:
    async with house(nursery, await before(nursery, kind), {"m": ("b",)}) as it:
        for path in ("/v1/fim/completions", "/v1/completions"):
            answer = await it.ask("POST", path, GAP)
            assert (answer.status_code, answer.json()["error"]["param"]) == (400, "suffix")


async def test_llamacpp_fills_the_gap_instead_of_going_on(nursery: trio.Nursery) -> None:
    """Its completions ignore a suffix without a word."""
    requests: list[Asked] = []

    async def infills(request: Asked) -> None:
        requests.append(request)
        last = {"content": "x", "stop": True, "stop_type": "eos", "tokens_evaluated": 7, "tokens_predicted": 1}
        await request.answers(last)

    async with house(nursery, {"b": await played(nursery, "llamacpp", infills)}, {"m": ("b",)}) as it:
        answer = (await gap(it, "/v1/completions")).json()
        assert (answer["choices"][0]["text"], answer["choices"][0]["finish_reason"]) == ("x", "stop")
        answer = (await it.ask("POST", "/api/generate", {**GAP, "stream": False})).json()
        assert (answer["response"], answer["eval_count"]) == ("x", 1)
        assert [request.target for request in requests] == ["/infill", "/infill"]
        said = {"input_prefix": "def f(", "input_suffix": "return x", "prompt": ""}
        assert all(said.items() <= request.json.items() for request in requests)
        assert requests[0].json["n_predict"] == 9


# --- rerank ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", ["llamacpp", "vllm", "openai"])
@pytest.mark.parametrize("path", ["/v1/rerank", "/rerank", "/v1/reranking", "/reranking"])
async def test_documents_are_ranked(nursery: trio.Nursery, kind: BackendKind, path: str) -> None:
    async with house(nursery, await before(nursery, kind), {"m": ("b",)}) as it:
        body = {"model": "m", "query": "q", "documents": ["a", "ccc", {"text": "bb"}], "top_n": 2}
        answer = (await it.ask("POST", path, body)).json()
        assert [result["index"] for result in answer["results"]] == [1, 2]
        assert (answer["data"], answer["model"]) == (answer["results"], "m")
        outcome = await it.outcome()
        assert (outcome.reason, outcome.operation, outcome.tokens) == (Reason.COMPLETED, "rerank", 0)


async def test_who_cannot_rank_says_so(nursery: trio.Nursery) -> None:
    async with house(nursery, await before(nursery, "ollama"), {"m": ("b",)}) as it:
        answer = await it.ask("POST", "/v1/rerank", {"model": "m", "query": "q", "documents": ["a"]})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "model")
