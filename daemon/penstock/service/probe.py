"""What kind of server answers at a backend's URL.

Asked for what only one of them tells, the great pretender first: KoboldCpp plays Ollama, llama.cpp and OpenAI.  Last
come the two languages that are known by their lists of models alone.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import msgspec

from penstock.config.model import BackendKind
from penstock.dialects.base import Call
from penstock.errors import ConnectFailed, ConnectTimeout, PenstockError
from penstock.relay.backends import Backend
from penstock.relay.fetch import fetch
from penstock.relay.transport import Transport

#: Seconds for one question.
PATIENCE = 2.0


class Kind(msgspec.Struct, frozen=True):
    """A server and how to know it: the paths to ask, and a test of each answer."""

    name: str
    kind: BackendKind
    asked: tuple[tuple[str, Callable[[bytes], bool]], ...]
    #: where the version is told, and under which key
    version: tuple[str, str] | None = None


def _has(word: bytes) -> Callable[[bytes], bool]:
    return lambda body: word in body


KINDS = (
    Kind("KoboldCpp", "koboldcpp", (("/api/extra/version", _has(b"KoboldCpp")),), ("/api/extra/version", "version")),
    Kind("Ollama", "ollama", (("/", _has(b"Ollama is running")),), ("/api/version", "version")),
    Kind("llama.cpp", "llamacpp", (("/props", _has(b"build_info")),), ("/props", "build_info")),
    Kind("vLLM", "vllm", (("/version", _has(b"version")), ("/v1/models", _has(b'"vllm"'))), ("/version", "version")),
    Kind("LM Studio", "lmstudio", (("/api/v0/models", _has(b'"data"')),)),
    Kind("LM Studio", "lmstudio", (("/api/v1/models", _has(b'"models"')),)),
    Kind("a server that speaks anthropic", "anthropic", (("/v1/models", _has(b'"has_more"')),)),
    Kind("a server that speaks openai", "openai", (("/v1/models", _has(b'"data"')),)),
)


class Found(msgspec.Struct, frozen=True):
    name: str
    kind: BackendKind
    version: str | None


async def probe(backend: Backend) -> Found | None:
    """What answers below the backend's root; None: nothing that is known.  Raises ConnectFailed, ConnectTimeout."""
    base = str(backend.transport.base)
    # the key goes where it goes with every request
    headers = backend.made.headers if backend.made is not None else ()
    root = Transport(base.removesuffix("/v1"), headers=headers, idle=0)
    asked = Backend(backend.name, backend.south, root, backend.gate, backend.limits)
    for kind in KINDS:
        answers = [test(await _ask(asked, path)) for path, test in kind.asked]
        if all(answers):
            version = await _version(asked, *kind.version) if kind.version else None
            return Found(kind.name, kind.kind, version)
    return None


async def _ask(backend: Backend, path: str) -> bytes:
    """The body of a 200, or nothing."""
    try:
        return await fetch(backend, Call(method="GET", path=path), budget=PATIENCE)
    except (ConnectFailed, ConnectTimeout):
        raise
    except PenstockError:
        return b""


async def _version(backend: Backend, path: str, key: str) -> str | None:
    try:
        told = json.loads(await _ask(backend, path))
    except ValueError:
        return None
    return str(told[key]) if isinstance(told, dict) and key in told else None
