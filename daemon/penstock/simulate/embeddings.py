"""Embeddings in OpenAI's and in Ollama's shape, always as numbers, as servers answer that ignore what was asked for."""

from __future__ import annotations

from typing import Any

import msgspec

#: What follows the first number of every vector, which is the length of its text: exact in 32 bits, and of both signs.
_TAIL = [0.5, -0.25, 0.125]


def answer(body: bytes, *, ollama: bool) -> dict[str, Any]:
    """The answer to a request with ``input``: one text or several.  Raises ValueError."""
    asked = msgspec.json.decode(body, type=dict[str, Any])
    given = asked.get("input")
    texts = given if isinstance(given, list) else [given]
    vectors = list(map(_vector, texts))
    count = sum(len(str(text)) for text in texts)
    if ollama:
        return {"model": asked.get("model"), "embeddings": vectors, "prompt_eval_count": count, "total_duration": 1000}
    data = [{"object": "embedding", "index": index, "embedding": vector} for index, vector in enumerate(vectors)]
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "model": asked.get("model"), "data": data, "usage": usage}


def one(body: bytes) -> dict[str, Any]:
    """The answer to a request of Ollama's older form, with one ``prompt``.  Raises ValueError."""
    return {"embedding": _vector(msgspec.json.decode(body, type=dict[str, Any]).get("prompt"))}


def _vector(text: object) -> list[float]:
    return [float(len(str(text))), *_TAIL]
