"""OpenAI's chat/completions and completions, both roles, and the servers that speak them with ways of their own."""

from __future__ import annotations

import msgspec

from penstock.chat.models import Model
from penstock.chat.request import Operation, Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import (
    llamacpp_infill,
    lmstudio_models,
    openai_call,
    openai_errors,
    openai_models,
    openai_request,
    refusal,
)
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Writer, bearer
from penstock.dialects.llamacpp_infill import InfillReader
from penstock.dialects.openai_call import Quirks
from penstock.dialects.openai_reader import DocumentReader, StreamReader
from penstock.dialects.openai_whole import ChatWhole, TextWhole
from penstock.dialects.openai_writer import ChatStream, TextStream
from penstock.dialects.reader import is_document
from penstock.errors import BackendRefused, PenstockError


class OpenAINorth:
    """OpenAI as a client's language; operations are ``chat`` and ``completion``."""

    name = "openai"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        return openai_request.parse(operation, body, shape=shape)

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

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The neutral request -> a call of chat/completions, completions, or what fills in the middle."""
        call = openai_call.encode(request, model, self._quirks.adjusted(manner), manner)
        if not self._prefix or call.path == llamacpp_infill.PATH:
            return call
        return msgspec.structs.replace(call, path=self._prefix + call.path)

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer; ``content_type`` tells a stream from one JSON text."""
        fim = self._quirks.adjusted(manner).fim if request.suffix else None
        if fim == "infill":
            return InfillReader(limits, document=is_document(content_type, manner))
        return openai_reader(request, content_type, limits, manner, fim=fim == "fim")

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return refusal.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the models."""
        return Call(method="GET", path=f"{self._prefix}/models")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return openai_models.models(body)

    def responds(self, manner: Manner) -> bool:
        """Whether the Responses API is asked of it as such."""
        return self._quirks.adjusted(manner).responses

    @property
    def prefix(self) -> str:
        """What goes before the paths of OpenAI's API."""
        return self._prefix


class LMStudioSouth(OpenAISouth):
    """LM Studio, which tells more of its models in a list of its own."""

    def models_call(self) -> Call:
        """The call that lists the models."""
        return Call(method="GET", path="/api/v0/models")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return lmstudio_models.models(body)


def openai_reader(
    request: Request, content_type: str, limits: Limits, manner: Manner = MANNER, *, fim: bool = False
) -> Reader:
    """The reader of a chat or completion of any server that speaks them; ``fim``: fim/completions, told as chats."""
    chat = fim or openai_call.wire_operation(request) is Operation.CHAT
    if is_document(content_type, manner):
        return DocumentReader(limits, chat=chat)
    return StreamReader(limits, chat=chat, show_progress=openai_call.shows_progress(request, manner))


#: Samplers under the names of llama.cpp, which KoboldCpp reads as well.
SAMPLERS = {"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repeat_penalty"}

openai_north: Northbound = OpenAINorth()
openai_south: Southbound = OpenAISouth(Quirks())
#: llama.cpp's own translation of the Responses API leaves out fields that strict clients want, and it has no store.
llamacpp_south: Southbound = OpenAISouth(
    Quirks(progress=True, fim="infill", samplers=SAMPLERS, reasoning="reasoning_content", template=True), root=""
)
#: It refuses every other role, and ``suffix`` is none of the fields that it documents.
lmstudio_south: Southbound = LMStudioSouth(
    Quirks(
        fim="none",
        samplers={"top_k": "top_k", "repeat_penalty": "repeat_penalty"},
        system_role="system",
        responses=True,
    ),
    root="",
)
#: Its chat templates know the role ``system``; it refuses ``suffix``.
vllm_south: Southbound = OpenAISouth(
    Quirks(
        fim="none",
        samplers={"top_k": "top_k", "min_p": "min_p", "repeat_penalty": "repetition_penalty"},
        reasoning="reasoning",
        template=True,
        system_role="system",
        responses=True,
    )
)
