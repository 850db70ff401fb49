"""LM Studio clients: their lists of models, and OpenAI's answers under their prefix."""

from __future__ import annotations

from typing import Any

import trio
from between import Asked, house, played, simulated

#: What strict clients want of every entry, and the words that they know.
TYPES = {"llm", "vlm", "embeddings"}
FORMATS = {"gguf", "mlx"}


def assert_entry(entry: dict[str, Any]) -> None:
    assert entry["object"] == "model"
    assert entry["type"] in TYPES
    assert entry["compatibility_type"] in FORMATS
    assert entry["state"] == "loaded"
    assert isinstance(entry["max_context_length"], int)
    assert all(isinstance(entry[key], str) and entry[key] for key in ("id", "publisher", "arch", "quantization"))


async def test_the_lists_are_complete(nursery: trio.Nursery) -> None:
    async def ollama(request: Asked) -> None:
        models = [
            {"name": "eyes", "capabilities": ["completion", "vision"], "details": {"family": "q", "format": "gguf"}},
            {"name": "nomic-embed-text"},
            {"name": "plain", "details": {"quantization_level": "Q4_K_M", "context_length": 4096}},
        ]
        await request.answers({"models": models})

    async with house(nursery, {"b": await played(nursery, "ollama", ollama)}) as it:
        listed = (await it.ask("GET", "/api/v0/models")).json()
        assert listed["object"] == "list"
        assert [(entry["id"], entry["type"]) for entry in listed["data"]] == [
            ("eyes", "vlm"),
            ("nomic-embed-text", "embeddings"),
            ("plain", "llm"),
        ]
        for entry in listed["data"]:
            assert_entry(entry)
        plain = (await it.ask("GET", "/api/v0/models/plain")).json()
        assert plain == listed["data"][2]
        assert (plain["quantization"], plain["max_context_length"]) == ("Q4_K_M", 4096)
        missing = await it.ask("GET", "/api/v0/models/none")
        assert (missing.status_code, missing.json()["error"]["code"]) == (404, "model_not_found")


async def test_chats_and_completions_are_openais(nursery: trio.Nursery) -> None:
    async with house(nursery, {"b": await simulated(nursery, "openai", "tokens=2")}) as it:
        chat = {"model": "m", "messages": [{"role": "user", "content": "hi"}]}
        answer = await it.ask("POST", "/api/v0/chat/completions", chat)
        assert answer.json()["choices"][0]["message"]["content"] == " t0 t1"
        answer = await it.ask("POST", "/api/v0/completions", {"model": "m", "prompt": "hi"})
        assert answer.json()["choices"][0]["text"] == " t0 t1"
        answer = await it.ask("POST", "/api/v0/chat/completions", {"model": "m"})
        assert (answer.status_code, answer.json()["error"]["param"]) == (400, "messages")
