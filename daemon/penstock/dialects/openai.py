"""OpenAI's chat/completions and completions, both roles, and llama.cpp's server, which speaks them with more to say."""

from __future__ import annotations

from penstock.chat.models import Model
from penstock.chat.request import Operation, Request
from penstock.dialects import openai_call, openai_errors, openai_models, openai_request
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Writer
from penstock.dialects.openai_call import Quirks
from penstock.dialects.openai_reader import DocumentReader, StreamReader
from penstock.dialects.openai_whole import ChatWhole, TextWhole
from penstock.dialects.openai_writer import ChatStream, TextStream
from penstock.errors import BackendRefused, PenstockError


class OpenAINorth:
    """OpenAI as a client's language; operations are ``chat`` and ``completion``."""

    name = "openai"

    def parse(self, operation: str, body: bytes) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        return openai_request.parse(operation, body)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        chat = request.operation is Operation.CHAT
        if request.stream:
            return (ChatStream if chat else TextStream)(request, identity, passthrough=passthrough)
        return (ChatWhole if chat else TextWhole)(request, identity, passthrough=passthrough)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return openai_errors.body(error)


class OpenAISouth:
    """OpenAI as a backend's language."""

    name = "openai"
    root = "/v1"

    def __init__(self, quirks: Quirks) -> None:
        self._quirks = quirks

    def encode(self, request: Request, model: str) -> Call:
        """The neutral request -> a call of chat/completions or completions."""
        return openai_call.encode(request, model, self._quirks)

    def reader(self, request: Request, content_type: str, limits: Limits) -> Reader:
        """The reader of one answer; ``content_type`` tells a stream from one JSON text."""
        chat = openai_call.wire_operation(request) is Operation.CHAT
        if content_type.partition(";")[0].strip().lower() == "application/json":
            return DocumentReader(limits, chat=chat)
        return StreamReader(limits, chat=chat, show_progress=openai_call.shows_progress(request))

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return openai_errors.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the models."""
        return Call(method="GET", path="/models")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return openai_models.models(body)


openai_north: Northbound = OpenAINorth()
openai_south: Southbound = OpenAISouth(Quirks())
llamacpp_south: Southbound = OpenAISouth(Quirks(progress=True, infill=False, extended=True))
