"""The backends of one configuration at work: each with its language, its connections and its slots."""

from __future__ import annotations

from collections.abc import Mapping
from copy import copy
from types import MappingProxyType
from typing import NamedTuple

from penstock.config.model import MANNER, Config, Manner
from penstock.dialects.base import Limits, Southbound
from penstock.policy.admission import Gate
from penstock.policy.health import Health
from penstock.relay.transport import Headers, Transport

#: Short questions to one backend at a time.
QUESTIONS = 16
#: No backends at all.
NONE: Mapping[str, Backend] = MappingProxyType({})


class Backend:
    """One backend: what the file says of it, and what is going on with it.

    Its language, its limits and its name are of one configuration.  Slots, queue and health are of the server, and so
    are shared with every other configuration that names the same one.
    """

    def __init__(
        self,
        name: str,
        south: Southbound,
        transport: Transport,
        gate: Gate,
        limits: Limits,
        manner: Manner = MANNER,
    ) -> None:
        self.name = name
        self.south = south
        self.transport = transport
        self.gate = gate
        self.limits = limits
        self.manner = manner
        #: for short questions that start no generation, so that they are answered while all slots are in use
        self.questions = Gate(name, slots=QUESTIONS, queue=0)
        self.health = Health()
        #: how its connections are made, for whoever asks whether they would be made so again
        self.made: Made | None = None

    def succeed(self, earlier: Backend) -> None:
        """Be the same server as this one, which another configuration has."""
        self.gate, self.questions, self.health = earlier.gate, earlier.questions, earlier.health

    def speaking(self, south: Southbound, gate: Gate | None = None) -> Backend:
        """The same backend asked in another language, perhaps through another gate."""
        other = copy(self)
        other.south = south
        other.gate = gate or self.gate
        return other


class Made(NamedTuple):
    """What a transport is made of: the URL, the headers of every request, the connections that are kept."""

    url: str
    headers: Headers
    idle: int


def build_backends(
    config: Config,
    south_of: Mapping[str, Southbound],
    keys: Mapping[str, str],
    earlier: Mapping[str, Backend] = NONE,
) -> dict[str, Backend]:
    """All backends of a configuration; ``south_of`` is by kind, ``keys`` holds the resolved API keys by backend.

    ``earlier`` are those of the configuration before that are the same servers, by the name that they have now.  They
    are not changed; :func:`take_effect` gives their gates the new numbers.
    """
    limits = Limits(line=config.limits.line, answer=config.limits.answer)
    backends = {}
    for name, spec in config.backends.items():
        south = south_of[spec.kind]
        made = Made(base_url(spec.url, south.root), south.auth(keys.get(name)), config.limits.idle_connections)
        before = earlier.get(name)
        if before is not None and before.made == made:
            transport = before.transport
        else:
            transport = Transport(made.url, headers=made.headers, idle=made.idle)
        gate = Gate(name, slots=spec.slots, queue=config.limits.queue)
        backends[name] = backend = Backend(name, south, transport, gate, limits, spec)
        backend.made = made
        if before is not None:
            backend.succeed(before)
    return backends


def take_effect(config: Config, backends: Mapping[str, Backend]) -> None:
    """From now on the slots and the queue of these backends are as this configuration says."""
    for name, spec in config.backends.items():
        backends[name].gate.become(name, slots=spec.slots, queue=config.limits.queue)


def base_url(url: str, root: str) -> str:
    """The URL below which a dialect's paths lie: a URL without a path of its own gets the dialect's root.

    Base URLs with and without ``/v1`` both work; Ollama's and llama.cpp's native paths never lie below one.
    """
    url = url.rstrip("/")
    has_path = "/" in url.partition("://")[2]
    if not root:
        return url.removesuffix("/v1") if url.endswith("/v1") else url.removesuffix("/api")
    return url if has_path else url + root
