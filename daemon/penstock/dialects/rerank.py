"""Rerank, both roles: a query and documents in, how much each is worth out (Jina API, "Reranker"; Cohere's is alike).

llama.cpp and vLLM speak it under ``/v1/rerank``.  An answer is one JSON text, told as one event a document.
"""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from penstock.chat.events import Event, Score, Usage
from penstock.chat.request import Operation, Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import fields, jsontext, openai_errors, passthrough
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Timing, Writer
from penstock.dialects.beside import Beside
from penstock.dialects.fields import refuse, required
from penstock.dialects.one_text import TextReader, TextWriter
from penstock.errors import BackendGarbled, BadRequest, PenstockError

_KNOWN = frozenset({"model", "query", "documents", "top_n", "return_documents"})
#: Languages of servers that have no rerank.
_WITHOUT = ("ollama", "anthropic", "koboldcpp")


class RerankNorth:
    """Rerank as a client's language."""

    name = "openai"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request, with the documents' texts as ``inputs``.  Raises BadRequest."""
        asked = jsontext.decode_request(body, shape=shape)
        model = fields.text(asked, "model")
        if not model:
            raise BadRequest("'model' is missing: say which model shall rank the documents", param="model")
        fields.boolean(asked, "return_documents")
        fields.integer(asked, "top_n", low=1, high=fields.MOST)
        return Request(
            dialect="openai",
            operation=Operation.RERANK,
            model=model,
            stream=False,
            body=asked,
            prompt=required(asked, "query"),
            inputs=_documents(asked),
            unmapped=tuple(key for key, value in asked.items() if value is not None and key not in _KNOWN),
        )

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        return RerankWriter(request, identity)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return openai_errors.body(error)


def _documents(asked: fields.Object) -> tuple[str, ...]:
    found: list[str] = []
    for position, one in enumerate(fields.sequence(asked, "documents") or ()):
        match one:
            case str() as text:
                found.append(text)
            case {"text": str() as text}:
                found.append(text)
            case other:
                refuse(f"documents[{position}]", "a string, or an object with a text", other)
    if not found:
        raise BadRequest("'documents' is missing: say what shall be ranked", param="documents")
    return tuple(found)


class RerankSouth(Beside):
    """Rerank as a backend's language.  Raises BadRequest for a backend that has none."""

    def __init__(self, south: Southbound) -> None:
        super().__init__(south)
        if self.name in _WITHOUT:
            raise BadRequest("this model's backend cannot rank documents", param="model")

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The neutral request -> the call; every server takes documents as plain texts, and all of them are ranked."""
        body: dict[str, object] = {}
        dropped = list(request.unmapped)
        if manner.passthrough:
            body, dropped = passthrough.allowed({name: request.body[name] for name in request.unmapped})
        body |= {"model": model, "query": request.prompt, "documents": list(request.inputs)}
        path = "/rerank" if self.root else "/v1/rerank"
        return Call(path=path, body=jsontext.encode(body), dropped=tuple(dropped))

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer."""
        return RerankReader(len(request.inputs), limits)


class _Result(msgspec.Struct, frozen=True):
    index: int
    relevance_score: float | None = None
    score: float | None = None


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int | None = None
    total_tokens: int | None = None


class _Answer(msgspec.Struct, frozen=True):
    """``results`` of most, ``data`` of some."""

    results: list[_Result] | None = None
    data: list[_Result] | None = None
    usage: _Usage | None = None
    error: object = None


class RerankReader(TextReader[_Answer]):
    """See :class:`penstock.dialects.base.Reader`; ``documents``: how many there are to be ranked."""

    def __init__(self, documents: int, limits: Limits) -> None:
        super().__init__(_Answer, "ranking", limits)
        self._documents = documents

    def _told(self, answer: _Answer) -> Iterator[Event]:
        results = answer.results if answer.results is not None else answer.data
        if results is None or any(not 0 <= result.index < self._documents for result in results):
            raise BackendGarbled("the backend ranked other documents than it was given", "schema")
        for result in results:
            score = result.relevance_score if result.relevance_score is not None else result.score
            if score is None:
                raise BackendGarbled("the backend's ranking has no scores", "schema")
            yield Score(result.index, score)
        usage = answer.usage or _Usage()
        yield Usage((usage.prompt_tokens if usage.prompt_tokens is not None else usage.total_tokens) or 0)


class RerankWriter(TextWriter[Score]):
    """Clients read ``results``, or ``data`` with the same in it."""

    def __init__(self, request: Request, identity: Identity) -> None:
        super().__init__(Score)
        self._request = request
        self._identity = identity

    def end(self, timing: Timing) -> bytes:
        """The whole answer, the best first."""
        asked = self._request.body
        ranked = sorted(self._said, key=lambda one: (-one.value, one.index))[: fields.integer(asked, "top_n")]
        shown = asked.get("return_documents") is True
        results = [
            {"index": one.index, "relevance_score": one.value}
            | ({"document": {"text": self._request.inputs[one.index]}} if shown else {})
            for one in ranked
        ]
        count = self._usage.prompt_tokens
        answer = {
            "id": f"rerank-{self._identity.stream}",
            "object": "list",
            "model": self._request.model,
            "results": results,
            "data": results,
            "usage": {"prompt_tokens": count, "total_tokens": count},
        }
        return jsontext.escape(jsontext.encode(answer))


rerank_north: Northbound = RerankNorth()
