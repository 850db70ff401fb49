"""``fim/completions`` as a client's language: a prompt and a suffix in, what stands between them out, told as a chat.

The path is Mistral's (Mistral API reference, "FIM"), whose clients read ``choices[0].delta.content``.  All else is a
completion in OpenAI's words, and goes to a backend that has the path as such, to completions with a suffix, to
llama.cpp's ``/infill`` or to Ollama's generate.
"""

from __future__ import annotations

from penstock.chat.request import Operation, Request
from penstock.config.model import SHAPE, Shape
from penstock.dialects import jsontext, openai_errors, openai_request
from penstock.dialects.base import Identity, Northbound, Writer
from penstock.dialects.openai_whole import ChatWhole
from penstock.dialects.openai_writer import ChatStream
from penstock.errors import PenstockError

#: Mistral's name of what OpenAI calls ``seed``.
_SEED = "random_seed"


class FimNorth:
    """The one operation is ``completion``."""

    name = "openai"

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """The body of a request -> the neutral request.  Raises BadRequest."""
        asked = jsontext.decode_request(body, shape=shape)
        if _SEED in asked:
            asked.setdefault("seed", asked.pop(_SEED))
        return openai_request.request(Operation.COMPLETION, asked)

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer; frames of completions are of another shape, so that none is passed on."""
        return (ChatStream if request.stream else ChatWhole)(request, identity, passthrough=False)

    def error(self, error: PenstockError) -> bytes:
        """The body of an answer with an error status."""
        return openai_errors.body(error)


fim_north: Northbound = FimNorth()
