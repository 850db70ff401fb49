"""What is there to proxy when nobody has written a file: the local servers that answer on their usual ports."""

from __future__ import annotations

import msgspec
import trio

from penstock.config.model import Backend, BackendKind, Config
from penstock.dialects.base import Call, Limits
from penstock.dialects.registry import SOUTHBOUND
from penstock.errors import PenstockError
from penstock.policy.admission import Gate
from penstock.relay.backends import Backend as RunningBackend
from penstock.relay.fetch import fetch
from penstock.relay.transport import Transport

#: A server that runs on this machine answers at once.
PATIENCE = 1.0


class Candidate(msgspec.Struct, frozen=True, kw_only=True):
    """A server by its usual port.  ``probe`` is a path and a word that only its answer holds."""

    name: str
    kind: BackendKind
    url: str
    path: str
    word: bytes


#: KoboldCpp is asked by a path of its own, since it also plays Ollama and llama.cpp.
CANDIDATES = (
    Candidate(name="ollama", kind="ollama", url="http://127.0.0.1:11434", path="/api/version", word=b'"version"'),
    Candidate(name="llamacpp", kind="llamacpp", url="http://127.0.0.1:8080", path="/props", word=b"build_info"),
    Candidate(name="lmstudio", kind="lmstudio", url="http://127.0.0.1:1234", path="/api/v0/models", word=b'"data"'),
    Candidate(
        name="koboldcpp", kind="koboldcpp", url="http://127.0.0.1:5001", path="/api/extra/version", word=b"KoboldCpp"
    ),
    Candidate(name="vllm", kind="vllm", url="http://127.0.0.1:8000", path="/v1/models", word=b'"vllm"'),
)


async def discover(candidates: tuple[Candidate, ...] = CANDIDATES) -> Config:
    """A configuration of whatever answers; without backends when nothing does."""
    found: dict[str, Candidate] = {}

    async def ask(candidate: Candidate) -> None:
        if await answers(candidate):
            found[candidate.name] = candidate

    async with trio.open_nursery() as nursery:
        for candidate in candidates:
            nursery.start_soon(ask, candidate)
    names = [candidate.name for candidate in candidates if candidate.name in found]
    return Config(backends={name: Backend(kind=found[name].kind, url=found[name].url) for name in names})


async def answers(candidate: Candidate) -> bool:
    """Whether this server runs there."""
    south = SOUTHBOUND[candidate.kind]
    gate = Gate(candidate.name, slots=1, queue=0)
    transport = Transport(candidate.url, idle=0)
    backend = RunningBackend(candidate.name, south, transport, gate, Limits())
    try:
        body = await fetch(backend, Call(method="GET", path=candidate.path), budget=PATIENCE)
    except PenstockError:
        return False
    return candidate.word in body
