"""Ollama's native API, both roles: chat and generate as NDJSON (ollama docs/api.md, server/routes.go, api/types.go)."""

from __future__ import annotations

from penstock.chat.events import Finish, FinishReason
from penstock.chat.models import Model
from penstock.chat.request import Request
from penstock.dialects import ollama_call, ollama_models, ollama_request
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Timing, Writer
from penstock.dialects.ollama_reader import OllamaReader
from penstock.dialects.ollama_request import is_load
from penstock.dialects.ollama_wire import failed
from penstock.dialects.ollama_writer import OllamaStream, OllamaWhole, error_body
from penstock.dialects.openai_wire import anything
from penstock.errors import BackendRefused, PenstockError

__all__ = ["is_load", "load_answer", "ollama_north", "ollama_south"]

#: Seconds; Ollama sends no Retry-After with "server busy".
_BUSY = 5.0


class OllamaNorth:
    """Ollama as a client's language; operations are ``chat`` and ``completion`` (generate)."""

    name = "ollama"

    def parse(self, operation: str, body: bytes) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        return ollama_request.parse(operation, body)

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

    def encode(self, request: Request, model: str) -> Call:
        """The neutral request -> a call of /api/chat or /api/generate.  Raises BadRequest."""
        return ollama_call.encode(request, model)

    def reader(self, request: Request, content_type: str, limits: Limits) -> Reader:
        """The reader of one answer, whatever it is declared to be."""
        return OllamaReader(request, limits)

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return refusal(status, body)

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


def refusal(status: int, body: bytes) -> BackendRefused:
    """An error status of a backend and its body -> the error."""
    said = anything(body)
    if isinstance(said, str):
        said = " ".join(said.split())[:300] or "it says no more"
    told = failed(said)
    message, shown = told.message, status
    if 300 <= status < 400:
        message, shown = f"the backend answered with a redirect (HTTP {status}): set the URL that it leads to", 502
    elif status in (401, 403):
        message, shown = f"the backend refused penstock's key (HTTP {status}): {message}", 502
        if status == 403 and not body:
            message += "; an Ollama without keys refuses a host name that it does not know in this way"
    elif not 400 <= status < 600:
        shown = 502
    return BackendRefused(
        message,
        status=shown,
        backend_code=told.code,
        backend_type=told.type,
        retry_after=_BUSY if status == 503 else None,
    )
