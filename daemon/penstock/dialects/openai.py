"""OpenAI's chat/completions and completions, both roles, and llama.cpp's server, which speaks them with more to say."""

from __future__ import annotations

import msgspec

from penstock.chat.models import Model
from penstock.chat.request import Operation, Request
from penstock.dialects import openai_call, openai_errors, openai_models, openai_request, refusal
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Writer, bearer
from penstock.dialects.openai_call import Quirks
from penstock.dialects.openai_reader import DocumentReader, StreamReader
from penstock.dialects.openai_whole import ChatWhole, TextWhole
from penstock.dialects.openai_writer import ChatStream, TextStream
from penstock.errors import BackendRefused, PenstockError


class OpenAINorth:
    """OpenAI as a client's language; operations are ``chat`` and ``completion``."""

    name = "openai"

    def parse(self, operation: str, body: bytes, *, depth: int = 64) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        return openai_request.parse(operation, body, depth=depth)

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

    def __init__(self, quirks: Quirks, *, root: str = "/v1") -> None:
        """``root`` is empty for a server that has paths of its own beside those under ``/v1``."""
        self.root = root
        self._quirks = quirks
        self._prefix = "" if root else "/v1"

    def auth(self, key: str | None) -> list[tuple[str, str]]:
        """The key as a bearer token."""
        return bearer(key)

    def encode(self, request: Request, model: str) -> Call:
        """The neutral request -> a call of chat/completions or completions."""
        call = openai_call.encode(request, model, self._quirks)
        return msgspec.structs.replace(call, path=self._prefix + call.path) if self._prefix else call

    def reader(self, request: Request, content_type: str, limits: Limits) -> Reader:
        """The reader of one answer; ``content_type`` tells a stream from one JSON text."""
        return openai_reader(request, content_type, limits)

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return refusal.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the models."""
        return Call(method="GET", path=f"{self._prefix}/models")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return openai_models.models(body)


def openai_reader(request: Request, content_type: str, limits: Limits) -> Reader:
    """The reader of a chat or completion of any server that speaks them."""
    chat = openai_call.wire_operation(request) is Operation.CHAT
    if content_type.partition(";")[0].strip().lower() == "application/json":
        return DocumentReader(limits, chat=chat)
    return StreamReader(limits, chat=chat, show_progress=openai_call.shows_progress(request))


openai_north: Northbound = OpenAINorth()
openai_south: Southbound = OpenAISouth(Quirks())
llamacpp_south: Southbound = OpenAISouth(Quirks(progress=True, infill=False, extended=True), root="")
