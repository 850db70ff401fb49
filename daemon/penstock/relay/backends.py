"""The backends of one configuration at work: each with its language, its connections and its slots."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy

from penstock.config.model import Config
from penstock.dialects.base import Limits, Southbound
from penstock.policy.admission import Gate
from penstock.relay.transport import Transport

#: Short questions to one backend at a time.
QUESTIONS = 16


class Backend:
    """One backend: what the file says of it, and what is going on with it."""

    def __init__(self, name: str, south: Southbound, transport: Transport, gate: Gate, limits: Limits) -> None:
        self.name = name
        self.south = south
        self.transport = transport
        self.gate = gate
        self.limits = limits
        #: for short questions that start no generation, so that they are answered while all slots are in use
        self.questions = Gate(name, slots=QUESTIONS, queue=0)

    def speaking(self, south: Southbound, gate: Gate | None = None) -> Backend:
        """The same backend asked in another language, perhaps through another gate."""
        other = copy(self)
        other.south = south
        other.gate = gate or self.gate
        return other


def build_backends(config: Config, south_of: Mapping[str, Southbound], keys: Mapping[str, str]) -> dict[str, Backend]:
    """All backends of a configuration; ``south_of`` is by kind, ``keys`` holds the resolved API keys by backend."""
    limits = Limits(line=config.limits.line, answer=config.limits.answer)
    backends = {}
    for name, spec in config.backends.items():
        south = south_of[spec.kind]
        transport = Transport(
            base_url(spec.url, south.root), headers=south.auth(keys.get(name)), idle=config.limits.idle_connections
        )
        gate = Gate(name, slots=spec.slots, queue=config.limits.queue)
        backends[name] = Backend(name, south, transport, gate, limits)
    return backends


def base_url(url: str, root: str) -> str:
    """The URL below which a dialect's paths lie: a URL without a path of its own gets the dialect's root.

    Base URLs with and without ``/v1`` both work; Ollama's and llama.cpp's native paths never lie below one.
    """
    url = url.rstrip("/")
    has_path = "/" in url.partition("://")[2]
    if not root:
        return url.removesuffix("/v1") if url.endswith("/v1") else url.removesuffix("/api")
    return url if has_path else url + root
