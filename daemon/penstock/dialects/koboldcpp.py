"""KoboldCpp, both roles: its native generate, and its OpenAI layer for what needs the model's chat template.

A backend is asked under a ``genkey`` of its own for every request, as a lost connection does not stop it everywhere: it
notices one when it writes a token, so not in the prompt and not in the queue.  The abort by that key is the call's
farewell.
"""

from __future__ import annotations

import secrets

import msgspec

from penstock.chat.models import Model
from penstock.chat.request import Operation, Request
from penstock.dialects import jsontext, koboldcpp_generate, openai_call, openai_models, refusal
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Writer, bearer
from penstock.dialects.koboldcpp_reader import GenerateReader
from penstock.dialects.koboldcpp_writer import GenerateStream, GenerateWhole, error_body
from penstock.dialects.openai import openai_reader
from penstock.dialects.openai_call import Quirks, wire_operation
from penstock.errors import BackendRefused, PenstockError

#: Parameters of both of its APIs are read from one dictionary, so its own names work beside OpenAI's.
_QUIRKS = Quirks(infill=False, extended=True)


class KoboldCppNorth:
    """KoboldCpp as a client's language; operations are ``stream`` and ``generate``."""

    name = "koboldcpp"

    def parse(self, operation: str, body: bytes, *, depth: int = 64) -> Request:
        """The body of a request -> the neutral request, with an empty ``model`` if it names none."""
        return koboldcpp_generate.parse(body, stream=operation == "stream", depth=depth)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        return GenerateStream() if request.stream else GenerateWhole()

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return error_body(error)


class KoboldCppSouth:
    """KoboldCpp as a backend's language."""

    name = "koboldcpp"
    root = ""

    def auth(self, key: str | None) -> list[tuple[str, str]]:
        """The password as a bearer token."""
        return bearer(key)

    def encode(self, request: Request, model: str) -> Call:
        """The neutral request -> a generation, or a chat of the OpenAI layer.  Raises BadRequest."""
        genkey = f"KCPP{secrets.token_hex(6)}"
        if wire_operation(request) is Operation.COMPLETION:
            call = koboldcpp_generate.encode(request, genkey)
        else:
            more: dict[str, object] = {"genkey": genkey}
            if request.sampling.repeat_penalty is not None:
                more["rep_pen"] = request.sampling.repeat_penalty
            call = openai_call.encode(request, model, _QUIRKS, more)
            call = msgspec.structs.replace(call, path=f"/v1{call.path}")
        abort = Call(path="/api/extra/abort", body=jsontext.encode({"genkey": genkey}))
        return msgspec.structs.replace(call, farewell=abort)

    def reader(self, request: Request, content_type: str, limits: Limits) -> Reader:
        """The reader of one answer."""
        if wire_operation(request) is Operation.COMPLETION:
            return GenerateReader(limits)
        return openai_reader(request, content_type, limits)

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return refusal.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the one model."""
        return Call(method="GET", path="/v1/models")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return openai_models.models(body)


koboldcpp_north: Northbound = KoboldCppNorth()
koboldcpp_south: Southbound = KoboldCppSouth()
