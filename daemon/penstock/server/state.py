"""What the routes work with: one configuration's routes, backends and models, and those who listen to outcomes."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Protocol

import msgspec
import trio

from penstock.chat.reasons import Reason
from penstock.config.diff import Change
from penstock.config.model import Config
from penstock.errors import Draining
from penstock.policy.guard import GuardRules
from penstock.policy.keys import Key, Keys
from penstock.policy.routing import Router
from penstock.relay.backends import Backend
from penstock.relay.catalogue import Catalogue
from penstock.relay.live import Live
from penstock.relay.outcome import Outcome
from penstock.relay.stream import Pace, Plan

if TYPE_CHECKING:
    from penstock.observe.observer import Observer

#: The key of the state in Quart's configuration.
KEY = "PENSTOCK_STATE"


class Difference(msgspec.Struct, frozen=True):
    """What another reading of the configuration brought, or would bring."""

    generation: int  #: the one that serves new requests
    source: str  #: the file, or what stands for one
    changes: list[Change]


class Reloads(Protocol):
    """Whoever can read the configuration anew."""

    async def reload(self) -> Difference:
        """Put it in force.  Raises ConfigError, RestartNeeded, Draining, NoBackend; then the old one goes on."""

    async def rehearse(self) -> Difference:
        """Only say what would change.  Raises ConfigError, NoBackend."""


class State:
    """One per generation of the configuration; ``live`` are the streams of all, ``newest`` is the one in force."""

    def __init__(
        self,
        config: Config,
        backends: dict[str, Backend],
        observer: Observer,
        keys: Keys,
        *,
        live: Live | None = None,
        number: int = 1,
        reloads: Reloads | None = None,
        newest: Callable[[], Config] | None = None,
    ) -> None:
        self.number = number
        self.loaded = time.time()
        self.config = config
        self.keys = keys
        #: allows nobody until it is known where we listen
        self.guard = GuardRules()
        self.backends = backends
        self.observer = observer
        self.router = Router(config)
        self.catalogue = Catalogue(backends)
        self.live = Live() if live is None else live
        self.pace = Pace(grace=config.server.grace, heartbeat=config.server.heartbeat)
        self.reloads = reloads
        self._newest = newest or (lambda: config)
        self.draining = False
        #: set when what stays open shall begin nothing new: the daemon stops, or another generation has taken over
        self.retired = trio.Event()

    def refuse_while_draining(self) -> None:
        """Raises Draining when the daemon is about to stop."""
        if self.draining:
            raise Draining("penstock is shutting down")

    def may_ask(self, key: Key, model: str) -> bool:
        """Whether this model exists for the client that has the key."""
        return key.may_ask(model, self.router.class_of(model))

    def logs_content(self) -> bool:
        """Whether prompts and answers are logged now, of what began under this configuration."""
        return self.config.server.log_content and self._newest().server.log_content

    def report(self, outcome: Outcome) -> None:
        """A stream is over."""
        if outcome.backend is not None:
            self.backends[outcome.backend].health.note(outcome.reason, trio.current_time())
        self.observer.ended(outcome)

    def failed(self, stream: str, plan: Plan, reason: Reason, message: str) -> None:
        """A target failed and the next one is tried."""
        plan.backend.health.note(reason, trio.current_time())
        self.observer.fell_back(stream, plan, reason, message)

    @property
    def bug(self) -> Callable[[str, Exception], None]:
        return self.observer.bug
