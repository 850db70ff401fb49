"""The generations of the configuration that are alive: how one is made, which one is the newest, when one is over."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from pathlib import Path as FilePath

import msgspec
import trio

from penstock.config.model import Config
from penstock.config.positions import Path
from penstock.config.secrets import resolve
from penstock.dialects.registry import SOUTHBOUND
from penstock.observe.log import logger
from penstock.observe.metrics import Metrics
from penstock.observe.observer import Observer
from penstock.policy.keys import Keys, build_keys
from penstock.policy.succession import heirs
from penstock.relay.backends import Backend, build_backends, take_effect
from penstock.relay.live import Live
from penstock.relay.outcome import Outcome
from penstock.server.generation import Generation, Intake
from penstock.server.state import Reloads, State


class Secrets(msgspec.Struct, frozen=True):
    """What a configuration's references lead to."""

    backends: dict[str, str]  #: API key by backend
    keys: Keys

    def rotated(self, earlier: Secrets) -> set[Path]:
        """The references that both have and that lead to something else than before."""
        digests, before = self.keys.digests, earlier.keys.digests
        backends = (name for name, key in self.backends.items() if earlier.backends.get(name, key) != key)
        keys = (name for name, digest in digests.items() if before.get(name, digest) != digest)
        return {*(("backends", name, "api_key") for name in backends), *(("keys", name, "key") for name in keys)}


def read_secrets(config: Config, environ: Mapping[str, str]) -> Secrets:
    """Fetch every key that the configuration names.  Raises ConfigError."""
    directory = environ.get("CREDENTIALS_DIRECTORY")
    credentials = FilePath(directory) if directory else None
    backends = {
        name: resolve(backend.api_key, environ, credentials).reveal()
        for name, backend in config.backends.items()
        if backend.api_key is not None
    }
    return Secrets(backends, build_keys(config.keys, lambda reference: resolve(reference, environ, credentials)))


class Generations:
    """``run`` it beside the listener.  Each generation is a task of its nursery, which ends when it is over."""

    def __init__(
        self,
        config: Config,
        environ: Mapping[str, str],
        hear: Callable[[Outcome], None] | None,
        reloads: Reloads | None,
    ) -> None:
        self.live = Live()
        self.metrics = Metrics()
        self.secrets = read_secrets(config, environ)
        self._hear = hear
        self._reloads = reloads
        first = self._make(config, self.secrets, None)
        self.alive = [first]
        self.intake = Intake(first)
        self.metrics.configured(first.state.number)
        self._nursery: trio.Nursery | None = None

    @property
    def newest(self) -> State:
        return self.intake.newest.state

    def make(self, config: Config, secrets: Secrets) -> Generation:
        """The next generation, which changes nothing before :meth:`succeed`; takes about 50 ms, in any thread."""
        return self._make(config, secrets, self.newest)

    def _make(self, config: Config, secrets: Secrets, earlier: State | None) -> Generation:
        same: dict[str, Backend] = {}
        if earlier is not None:
            found = heirs(earlier.config.backends, config.backends)
            same = {name: earlier.backends[before] for name, before in found.items()}
        state = State(
            config,
            build_backends(config, SOUTHBOUND, secrets.backends, same),
            Observer(self._hear, self.metrics),
            secrets.keys,
            live=self.live,
            number=1 if earlier is None else earlier.number + 1,
            reloads=self._reloads,
            newest=lambda: self.newest.config,
        )
        return Generation(state)

    def succeed(self, generation: Generation, secrets: Secrets) -> None:
        """Let it take the requests that come from now on."""
        assert self._nursery is not None
        state, earlier = generation.state, self.intake.newest
        state.catalogue.inherit(earlier.state.catalogue)
        state.observer.speak_anew()
        take_effect(state.config, state.backends)
        self.secrets = secrets
        self.alive.append(generation)
        self._nursery.start_soon(self._outlive, generation, name=f"generation {state.number}")
        self.intake.newest = generation
        earlier.supersede()

    def backends(self) -> list[Backend]:
        """Those of all generations, the newest last."""
        return [backend for generation in self.alive for backend in generation.state.backends.values()]

    def drain(self) -> None:
        """Take nothing new."""
        for generation in self.alive:
            generation.state.draining = True
            generation.state.retired.set()

    async def run(self) -> None:
        """Look after all of them, for ever."""
        async with trio.open_nursery() as self._nursery:
            self._nursery.start_soon(self._outlive, self.intake.newest, name="generation 1")

    def close(self) -> None:
        """Close what is kept for the next stream; the last one must be over, and have given its connection back."""
        for backend in self.backends():
            backend.transport.close_idle()

    async def _outlive(self, generation: Generation) -> None:
        """When it is over, close what only it kept."""
        await generation.over()
        self.alive.remove(generation)
        kept = {backend.transport for backend in self.backends()}
        for backend in generation.state.backends.values():
            if backend.transport not in kept:
                backend.transport.close_idle()
        logger().debug("generation is over", generation=generation.state.number)
