"""Rerank in the shape of Jina, which llama.cpp and vLLM speak as well: the longer a document, the more it is worth."""

from __future__ import annotations

from typing import Any

import msgspec


def answer(body: bytes) -> dict[str, Any]:
    """The answer to a request with ``query`` and ``documents``.  Raises ValueError."""
    asked = msgspec.json.decode(body, type=dict[str, Any])
    documents = asked.get("documents")
    if not isinstance(documents, list) or not isinstance(asked.get("query"), str):
        raise ValueError("query and documents are wanted")
    texts = [str(one.get("text")) if isinstance(one, dict) else str(one) for one in documents]
    results = [{"index": index, "relevance_score": len(text) / 100} for index, text in enumerate(texts)]
    results.sort(key=lambda one: -one["relevance_score"])
    count = sum(map(len, texts))
    usage = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "model": asked.get("model"), "results": results[: asked.get("top_n")], "usage": usage}
