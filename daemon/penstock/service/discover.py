"""What is there to proxy when nobody has written a file: the servers that answer on this machine's usual ports."""

from __future__ import annotations

import trio

from penstock.config.model import Backend, BackendKind, Config
from penstock.dialects.registry import SOUTHBOUND
from penstock.errors import PenstockError
from penstock.relay.backends import build_backends
from penstock.service.probe import probe

#: Where servers listen when nobody says otherwise: Ollama, llama.cpp, LM Studio, KoboldCpp, vLLM.  Which one it is
#: tells the answer, since other servers use these ports, too.
CANDIDATES = tuple(f"http://127.0.0.1:{port}" for port in (11434, 8080, 1234, 5001, 8000))


async def discover(candidates: tuple[str, ...] = CANDIDATES) -> Config:
    """A configuration of whatever answers, each named after its kind; without backends when nothing does."""
    found: dict[str, BackendKind] = {}

    async def ask(url: str) -> None:
        kind = await kind_of(url)
        if kind is not None:
            found[url] = kind

    async with trio.open_nursery() as nursery:
        for url in candidates:
            nursery.start_soon(ask, url)
    backends: dict[str, Backend] = {}
    for url in candidates:
        if url in found:
            kind = found[url]
            name = kind if kind not in backends else f"{kind}-{url.rpartition(':')[2]}"
            backends[name] = Backend(kind=kind, url=url)
    return Config(backends=backends)


async def kind_of(url: str) -> BackendKind | None:
    """The kind of the server that answers at a URL; None: nothing that is known answers."""
    config = Config(backends={url: Backend(kind="openai", url=url)})
    try:
        told = await probe(build_backends(config, SOUTHBOUND, {})[url])
    except PenstockError:
        return None
    return told.kind if told is not None else None
