"""Anthropic's Messages API, both roles (Anthropic API, "Messages")."""

from __future__ import annotations

from penstock.chat.models import Model
from penstock.chat.request import Operation, Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import anthropic_call, anthropic_errors, anthropic_request, openai_models, refusal
from penstock.dialects.anthropic_reader import MessageReader
from penstock.dialects.anthropic_whole import MessageWhole
from penstock.dialects.anthropic_writer import MessageStream
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Writer
from penstock.dialects.reader import is_document
from penstock.errors import BackendRefused, BadRequest, PenstockError

#: The one version that all servers and clients know.
VERSION = "2023-06-01"


class AnthropicNorth:
    """Anthropic's as a client's language; the one operation is ``chat``."""

    name = "anthropic"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        if operation != Operation.CHAT:
            raise BadRequest("Anthropic's dialect knows messages only")
        return anthropic_request.parse(body, shape=shape)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        return (MessageStream if request.stream else MessageWhole)(request, identity, passthrough=passthrough)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return anthropic_errors.body(error)


class AnthropicSouth:
    """Anthropic's as a backend's language."""

    name = "anthropic"
    root = "/v1"

    def auth(self, key: str | None) -> list[tuple[str, str]]:
        """The version always; the key in a header of its own."""
        version = [("anthropic-version", VERSION)]
        return [*version, ("x-api-key", key)] if key else version

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The neutral request -> a call of messages.  Raises BadRequest."""
        return anthropic_call.encode(request, model, manner)

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer; ``content_type`` tells a stream from one JSON text."""
        framed = request.dialect == self.name
        return MessageReader(limits, document=is_document(content_type, manner), framed=framed)

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return refusal.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the models, all on one page."""
        return Call(method="GET", path="/models?limit=1000")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it, of OpenAI's shape as far as it is read.  Raises BackendGarbled."""
        return openai_models.models(body)


anthropic_north: Northbound = AnthropicNorth()
anthropic_south: Southbound = AnthropicSouth()
