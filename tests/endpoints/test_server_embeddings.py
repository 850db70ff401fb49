"""Embeddings end to end: every client before every backend, and the ends of a stream."""

from __future__ import annotations

import pytest
import trio
from between import Asked, house, played

from penstock.chat.reasons import Reason
from penstock.config.model import BackendKind


async def embedder(request: Asked) -> None:
    """Vectors in the shape of the path that is asked; ``encoding_format`` is ignored, as servers do."""
    if request.target == "/api/embed":
        inputs = request.json["input"]
        count = 1 if isinstance(inputs, str) else len(inputs)
        await request.answers({"model": "m", "embeddings": [[0.5, -1.0]] * count, "prompt_eval_count": 4})
    elif request.target == "/api/embeddings":
        await request.answers({"embedding": [0.5, -1.0]})
    else:
        assert request.target == "/v1/embeddings"
        inputs = request.json["input"]
        count = 1 if isinstance(inputs, str) else len(inputs)
        data = [{"object": "embedding", "index": i, "embedding": [0.5, -1.0]} for i in range(count)]
        await request.answers({"object": "list", "data": data, "usage": {"prompt_tokens": 4, "total_tokens": 4}})


@pytest.mark.parametrize("kind", ["openai", "llamacpp", "ollama", "koboldcpp"])
async def test_every_backend_embeds_for_every_client(nursery: trio.Nursery, kind: BackendKind) -> None:
    async with house(nursery, {"b": await played(nursery, kind, embedder)}, {"m": ("b/target",)}) as it:
        for path in ("/v1/embeddings", "/embeddings"):
            answer = (await it.ask("POST", path, {"model": "m", "input": ["a", "b"]})).json()
            assert [item["embedding"] for item in answer["data"]] == [[0.5, -1.0]] * 2
            assert (answer["model"], answer["usage"]["prompt_tokens"]) == ("m", 4)
        coded = await it.ask("POST", path, {"model": "m", "input": "a", "encoding_format": "base64"})
        assert coded.json()["data"][0]["embedding"] == "AAAAPwAAgL8="
        answer = (await it.ask("POST", "/api/embed", {"model": "m", "input": ["a", "b"]})).json()
        assert (answer["embeddings"], answer["prompt_eval_count"]) == ([[0.5, -1.0]] * 2, 4)
        answer = (await it.ask("POST", "/api/embeddings", {"model": "m", "prompt": "a"})).json()
        assert answer == {"embedding": [0.5, -1.0]}
        for _ in range(5):
            outcome = await it.outcome()
            assert (outcome.reason, outcome.operation, outcome.target) == (Reason.COMPLETED, "embedding", "b/target")
            assert outcome.tokens == 0


async def test_errors_have_the_clients_shape(nursery: trio.Nursery) -> None:
    async def refuses(request: Asked) -> None:
        await request.answers({"error": {"message": "this model cannot embed", "code": 400}}, 400)

    async with house(nursery, {"b": await played(nursery, "openai", refuses)}, {"m": ("b",)}) as it:
        answer = await it.ask("POST", "/v1/embeddings", {"model": "m", "input": "a"})
        assert (answer.status_code, answer.json()["error"]["message"]) == (400, "this model cannot embed")
        answer = await it.ask("POST", "/api/embed", {"model": "m", "input": "a"})
        assert (answer.status_code, answer.json()) == (400, {"error": "this model cannot embed"})
        answer = await it.ask("POST", "/v1/embeddings", {"model": "m"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "input")


async def test_a_client_that_leaves_takes_the_backend_with_it(nursery: trio.Nursery) -> None:
    asked, closed = trio.Event(), trio.Event()

    async def never(request: Asked) -> None:
        asked.set()
        await request.sees_the_close()
        closed.set()

    async with house(nursery, {"b": await played(nursery, "openai", never)}, {"m": ("b",)}) as it:
        async with trio.open_nursery() as asking:
            asking.start_soon(it.ask, "POST", "/v1/embeddings", {"model": "m", "input": "a"})
            await asked.wait()
            asking.cancel_scope.cancel()
        with trio.fail_after(20):
            await closed.wait()
            assert (await it.outcome()).reason is Reason.CLIENT_GONE
