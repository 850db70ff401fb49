"""OpenAI's Responses API as a client's language, without the parts that need a store of responses."""

from __future__ import annotations

from penstock.chat.request import Operation, Request
from penstock.dialects import openai_errors, responses_request
from penstock.dialects.base import Identity, Northbound, Writer
from penstock.dialects.responses_writer import ResponseStream, ResponseWhole
from penstock.errors import BadRequest, PenstockError


class ResponsesNorth:
    """The one operation is ``chat``."""

    name = "responses"

    def parse(self, operation: str, body: bytes, *, depth: int = 64) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        if operation != Operation.CHAT:
            raise BadRequest("the Responses API knows responses only")
        return responses_request.parse(body, depth=depth)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer; no backend speaks this dialect here, so that nothing is passed through."""
        return (ResponseStream if request.stream else ResponseWhole)(request, identity)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status, of the same shape as in OpenAI's other APIs."""
        return openai_errors.body(error)


responses_north: Northbound = ResponsesNorth()
