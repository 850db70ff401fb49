"""Ollama's native API, both roles: chat and generate as NDJSON (ollama docs/api.md, server/routes.go, api/types.go)."""

from __future__ import annotations

from penstock.chat.events import Finish, FinishReason
from penstock.chat.models import Model
from penstock.chat.request import Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import ollama_call, ollama_models, ollama_request, refusal
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Timing, Writer, bearer
from penstock.dialects.ollama_reader import OllamaReader
from penstock.dialects.ollama_request import is_load
from penstock.dialects.ollama_writer import OllamaStream, OllamaWhole, error_body
from penstock.dialects.reader import is_document
from penstock.errors import BackendRefused, PenstockError

__all__ = ["is_load", "load_answer", "ollama_north", "ollama_south"]


class OllamaNorth:
    """Ollama as a client's language; operations are ``chat`` and ``completion`` (generate)."""

    name = "ollama"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        return ollama_request.parse(operation, body, shape=shape)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """Lines where a stream is wanted; the answer to a load request is one object always."""
        kind = OllamaStream if request.stream and not is_load(request) else OllamaWhole
        return kind(request, identity, passthrough=passthrough)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return error_body(error)


class OllamaSouth:
    """Ollama as a backend's language."""

    name = "ollama"
    root = ""

    def auth(self, key: str | None) -> list[tuple[str, str]]:
        """The key as a bearer token."""
        return bearer(key)

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The neutral request -> a call of /api/chat or /api/generate.  Raises BadRequest."""
        return ollama_call.encode(request, model, manner)

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer; only one that is declared to be JSON may be one text over several lines."""
        return OllamaReader(request, limits, document=is_document(content_type, manner))

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return refusal.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the models."""
        return Call(method="GET", path="/api/tags")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return ollama_models.models(body)


ollama_north: Northbound = OllamaNorth()
ollama_south: Southbound = OllamaSouth()


def load_answer(request: Request, identity: Identity) -> bytes:
    """The answer to a load request for a model whose backend knows no such thing: done."""
    writer = OllamaWhole(request, identity, passthrough=False)
    writer.write((Finish(FinishReason.STOP),))
    return writer.end(Timing())
