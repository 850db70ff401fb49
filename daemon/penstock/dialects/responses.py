"""OpenAI's Responses API: a client's language, and that of the backends which have it themselves.

Where the backend has it, everything goes through: references to what the server keeps, tools that it runs, events that
nobody here knows.  Everywhere else a response is asked for as a chat, and what needs a store is refused.
"""

from __future__ import annotations

from penstock.chat.request import Operation, Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import jsontext, openai_errors, passthrough, responses_request
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Writer
from penstock.dialects.beside import Beside
from penstock.dialects.openai import OpenAISouth
from penstock.dialects.reader import is_document
from penstock.dialects.responses_passed import ResponsePassed, ResponsePassedWhole
from penstock.dialects.responses_reader import ResponseReader
from penstock.dialects.responses_writer import ResponseStream, ResponseWhole
from penstock.errors import BadRequest, PenstockError

#: What makes a server work on without its client.
_DETACHED = ("background", "stream_id")


class ResponsesNorth:
    """The one operation is ``chat``."""

    name = "responses"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        if operation != Operation.CHAT:
            raise BadRequest("the Responses API knows responses only")
        return responses_request.parse(body, shape=shape)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer; ``passthrough``: from a server that has the Responses API itself."""
        if passthrough:
            return (ResponsePassed if request.stream else ResponsePassedWhole)(request, identity)
        return (ResponseStream if request.stream else ResponseWhole)(request, identity)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status, of the same shape as in OpenAI's other APIs."""
        return openai_errors.body(error)


class ResponsesSouth(Beside):
    """The Responses API of a server that has it beside its chats."""

    def __init__(self, south: OpenAISouth) -> None:
        super().__init__(south)
        self.name = "responses"
        self._prefix = south.prefix

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The client's own body -> a call of responses, without what would outlive this client's connection."""
        body, dropped = passthrough.allowed(request.body)
        dropped += [name for name in _DETACHED if body.pop(name, None)]
        body |= {"model": model, "stream": not manner.whole}
        return Call(path=f"{self._prefix}/responses", body=jsontext.encode(body), dropped=tuple(dropped))

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer."""
        return ResponseReader(limits, document=is_document(content_type, manner))


def south_for(request: Request, south: Southbound, manner: Manner) -> Southbound:
    """How this backend is asked for a response.  Raises BadRequest for what only a server with a store can answer.

    A backend that gets no more than penstock understands is asked for a chat, and so is one that answers in one piece.
    """
    if isinstance(south, OpenAISouth) and south.responds(manner) and manner.passthrough and not manner.whole:
        return ResponsesSouth(south)
    if request.stored:
        name = request.stored[0]
        text = f"'{name}' needs a store of responses, and this model's backend keeps none: send all of 'input'"
        raise BadRequest(text, param=name)
    return south


responses_north: Northbound = ResponsesNorth()
