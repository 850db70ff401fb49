"""What KoboldCpp tells of itself, as its clients ask for it (koboldcpp.py, ``do_GET`` and ``do_POST``)."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec

from penstock.dialects.jsontext import encode
from penstock.errors import BackendGarbled

#: Of the KoboldAI API whose routes lie under ``/api/v1``.
API_VERSION = "1.2.5"
#: Clients switch streaming, checks and aborts on by it; the release this dialect was written after.
VERSION = "1.104"
#: For a model whose backend does not tell its context.
CONTEXT = 8192
#: What a model's own tokens come to in English prose; an estimate for backends that cannot count.
CHARACTERS_PER_TOKEN = 4

_FLAGS = (
    "txt2img",
    "vision",
    "audio",
    "transcribe",
    "multiplayer",
    "websearch",
    "tts",
    "embeddings",
    "savedata",
    "admin",
    "guidance",
)


class _Tokens(msgspec.Struct, frozen=True):
    tokens: list[int]


def result(text: str) -> bytes:
    """``{"result": text}``."""
    return encode({"result": text})


def value(number: int) -> bytes:
    """``{"value": number}``."""
    return encode({"value": number})


def model(name: str) -> bytes:
    """The model, in the form in which clients take a name apart."""
    return result(f"koboldcpp/{name.removeprefix('koboldcpp/')}")


def version(*, protected: bool) -> bytes:
    """Who answers, and what it cannot do; ``protected``: it wants a key."""
    flags: Mapping[str, object] = dict.fromkeys(_FLAGS, False)
    return encode({"result": "KoboldCpp", "version": VERSION, "protected": protected, **flags})


def perf(*, queue: int, idle: bool) -> bytes:
    """How busy it is; the times and counts of the last generation belong to one backend, and are not told."""
    return encode({"queue": queue, "idle": int(idle)})


def token_count(tokenized: bytes) -> bytes:
    """The answer of llama.cpp's ``/tokenize`` -> the tokens, and how many they are.  Raises BackendGarbled."""
    try:
        ids = msgspec.json.decode(tokenized, type=_Tokens).tokens
    except (msgspec.DecodeError, UnicodeDecodeError) as error:
        raise BackendGarbled(f"the backend's tokens cannot be read: {error}", "schema") from None
    return encode({"value": len(ids), "ids": ids})


def estimate(text: str) -> bytes:
    """About so many tokens, nobody knows which."""
    return encode({"value": -(-len(text) // CHARACTERS_PER_TOKEN), "ids": []})


def so_far(text: str) -> bytes:
    """The answer to a check."""
    return encode({"results": [{"text": text}]})


def aborted(*, found: bool) -> bytes:
    """The answer to an abort; both words are text."""
    word = "true" if found else "false"
    return encode({"success": word, "done": word})
