"""Embeddings as languages of their own beside the chats of the same servers: both roles of OpenAI's and Ollama's.

An answer is one JSON text, told as one event a vector.  Vectors go out as the client wants them, whatever the backend
makes of ``encoding_format``: a client library that asked for base64 turns numbers into garbage without a word.
"""

from __future__ import annotations

import base64
import struct
from collections.abc import Callable, Iterator

import msgspec

from penstock.chat.events import Embedding, Event, Usage
from penstock.chat.request import Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import jsontext
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Timing, Writer
from penstock.dialects.beside import Beside
from penstock.dialects.embeddings_request import encode_ollama, encode_openai, parse_ollama, parse_openai
from penstock.dialects.ollama import ollama_north
from penstock.dialects.one_text import TextReader, TextWriter
from penstock.dialects.openai import openai_north
from penstock.errors import BackendGarbled, BadRequest, PenstockError

#: Request, vectors, counts, and what the relay measured -> the answer as plain data.
Render = Callable[[Request, list[list[float]], Usage, Timing], object]


class EmbeddingsNorth:
    """A client's language for embeddings: a way to read requests and a way to write answers beside another dialect."""

    def __init__(self, north: Northbound, parse: Callable[..., Request], render: Render) -> None:
        self.name = north.name
        self._north = north
        self._parse = parse
        self._render = render

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        return self._parse(body, shape=shape)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        return EmbeddingsWriter(request, self._render)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return self._north.error(error)


class EmbeddingsSouth(Beside):
    """A backend's language for embeddings.  Raises BadRequest for a backend that has none."""

    def __init__(self, south: Southbound) -> None:
        super().__init__(south)
        if self.name == "anthropic":
            raise BadRequest("this model's backend has no embeddings", param="model")

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The neutral request -> the call.  Raises BadRequest."""
        if self.name == "ollama":
            return encode_ollama(request, model, manner)
        return encode_openai(request, model, "/embeddings" if self.root else "/v1/embeddings", manner)

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer."""
        return EmbeddingsReader(len(request.inputs), limits)


class _Item(msgspec.Struct, frozen=True):
    embedding: list[float] | str
    index: int = 0


class _Usage(msgspec.Struct, frozen=True):
    prompt_tokens: int = 0


class _Answer(msgspec.Struct, frozen=True):
    """OpenAI's ``data``, Ollama's ``embeddings``, and the one ``embedding`` of its older path."""

    data: list[_Item] | None = None
    embeddings: list[list[float]] | None = None
    embedding: list[float] | None = None
    usage: _Usage | None = None
    prompt_eval_count: int = 0
    total_duration: int | None = None
    load_duration: int | None = None
    error: object = None


class EmbeddingsReader(TextReader[_Answer]):
    """Reads ``inputs`` vectors in either shape; 0: as many as there are."""

    def __init__(self, inputs: int, limits: Limits) -> None:
        super().__init__(_Answer, "embeddings", limits)
        self._inputs = inputs

    def _told(self, answer: _Answer) -> Iterator[Event]:
        vectors = _vectors(answer)
        if self._inputs not in (0, len(vectors)) or not (vectors or answer.embeddings is not None):
            raise BackendGarbled(f"the backend sent {len(vectors)} embeddings for {self._inputs} inputs", "schema")
        yield from map(Embedding, range(len(vectors)), vectors)
        counted = answer.usage.prompt_tokens if answer.usage else answer.prompt_eval_count
        yield Usage(counted, total_ns=answer.total_duration, load_ns=answer.load_duration)


def _vectors(answer: _Answer) -> list[list[float]]:
    if answer.data is not None:
        # Those that say no index stay as they are.
        told = [item.embedding for item in sorted(answer.data, key=lambda item: item.index)]
        return [vector if isinstance(vector, list) else _unpacked(vector) for vector in told]
    if answer.embeddings is not None:
        return answer.embeddings
    return [answer.embedding] if answer.embedding else []


def _unpacked(text: str) -> list[float]:
    try:
        data = base64.b64decode(text, validate=True)
        return list(struct.unpack(f"<{len(data) // 4}f", data))
    except (ValueError, struct.error):
        raise BackendGarbled("the backend sent an embedding that is no list of numbers, nor base64", "schema") from None


class EmbeddingsWriter(TextWriter[Embedding]):
    """``render`` makes the whole answer of a dialect."""

    def __init__(self, request: Request, render: Render) -> None:
        super().__init__(Embedding)
        self._request = request
        self._render = render

    def end(self, timing: Timing) -> bytes:
        """The whole answer."""
        vectors = [one.vector for one in self._said]
        return jsontext.encode(self._render(self._request, vectors, self._usage, timing))


def _openai(request: Request, vectors: list[list[float]], usage: Usage, timing: Timing) -> object:
    """OpenAI's list, in base64 where the client asked for it."""
    packed = request.body.get("encoding_format") == "base64"
    data = [
        {"object": "embedding", "index": index, "embedding": _packed(vector) if packed else vector}
        for index, vector in enumerate(vectors)
    ]
    count = usage.prompt_tokens
    usage_told = {"prompt_tokens": count, "total_tokens": count}
    return {"object": "list", "data": data, "model": request.model, "usage": usage_told}


def _ollama(request: Request, vectors: list[list[float]], usage: Usage, timing: Timing) -> object:
    """Ollama's ``embeddings``, or the one ``embedding`` of its older path."""
    if "prompt" in request.body:
        return {"embedding": vectors[0]}
    return {
        "model": request.model,
        "embeddings": vectors,
        "total_duration": timing.total_ns if usage.total_ns is None else usage.total_ns,
        "load_duration": timing.load_ns if usage.load_ns is None else usage.load_ns,
        "prompt_eval_count": usage.prompt_tokens,
    }


def _packed(vector: list[float]) -> str:
    """32-bit floats, little-endian, in base64.  Raises BackendGarbled."""
    try:
        return base64.b64encode(struct.pack(f"<{len(vector)}f", *vector)).decode()
    except OverflowError:
        raise BackendGarbled("the backend sent an embedding whose numbers are no 32-bit floats", "schema") from None


openai_embeddings: Northbound = EmbeddingsNorth(openai_north, parse_openai, _openai)
ollama_embeddings: Northbound = EmbeddingsNorth(ollama_north, parse_ollama, _ollama)
