"""KoboldCpp, both roles: its native generate, and its OpenAI layer for what needs the model's chat template.

A backend is asked under a ``genkey`` of its own for every request, as a lost connection does not stop it everywhere: it
notices one when it writes a token, so not in the prompt and not in the queue.  The abort by that key is the call's
farewell.
"""

from __future__ import annotations

import secrets

import msgspec

from penstock.chat.events import Usage
from penstock.chat.models import Model
from penstock.chat.request import Operation, Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import jsontext, koboldcpp_generate, openai_call, openai_models, refusal
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Tally, Writer, bearer
from penstock.dialects.koboldcpp_reader import GenerateReader
from penstock.dialects.koboldcpp_writer import GenerateStream, GenerateWhole, error_body
from penstock.dialects.openai import SAMPLERS, openai_reader
from penstock.dialects.openai_call import Quirks, wire_operation
from penstock.dialects.reader import is_document
from penstock.errors import BackendRefused, PenstockError

#: Parameters of both of its APIs are read from one dictionary, so its own names work beside OpenAI's.
_QUIRKS = Quirks(fim="none", samplers=SAMPLERS, reasoning="reasoning_content", template=True)


class KoboldCppNorth:
    """KoboldCpp as a client's language; operations are ``stream`` and ``generate``."""

    name = "koboldcpp"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request, with an empty ``model`` if it names none."""
        return koboldcpp_generate.parse(body, stream=operation == "stream", shape=shape)

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

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The neutral request -> a generation, or a chat of the OpenAI layer.  Raises BadRequest."""
        genkey = f"KCPP{secrets.token_hex(6)}"
        if wire_operation(request) is Operation.COMPLETION:
            call = koboldcpp_generate.encode(request, genkey, manner)
        else:
            more: dict[str, object] = {"genkey": genkey}
            if request.sampling.repeat_penalty is not None:
                more["rep_pen"] = request.sampling.repeat_penalty
            call = openai_call.encode(request, model, _QUIRKS.adjusted(manner), manner, more)
            call = msgspec.structs.replace(call, path=f"/v1{call.path}")
        abort = Call(path="/api/extra/abort", body=jsontext.encode({"genkey": genkey}))
        return msgspec.structs.replace(call, farewell=abort, tally=_PERF if _wants_counts(request, manner) else None)

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer."""
        if wire_operation(request) is Operation.COMPLETION:
            return GenerateReader(limits, document=is_document(content_type, manner))
        return openai_reader(request, content_type, limits, manner)

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return refusal.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the one model."""
        return Call(method="GET", path="/v1/models")

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return openai_models.models(body)


def _wants_counts(request: Request, manner: Manner) -> bool:
    """Whether the client's language has a place for counts that the backend's answer has not."""
    if manner.whole:
        return False
    return not request.stream or (request.include_usage and request.dialect != "koboldcpp")


def _last_counts(body: bytes) -> Usage | None:
    """The answer to ``/api/extra/perf``, which is about the generation that ended last."""
    try:
        told = jsontext.decode(body)
    except ValueError:
        return None
    match told:
        case {"last_input_count": int() as prompt, "last_token_count": int() as completion} if (
            min(prompt, completion) >= 0
        ):
            return Usage(prompt, completion)
    return None


_PERF = Tally(call=Call(method="GET", path="/api/extra/perf"), read=_last_counts)

koboldcpp_north: Northbound = KoboldCppNorth()
koboldcpp_south: Southbound = KoboldCppSouth()
