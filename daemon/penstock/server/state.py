"""What the routes work with: one configuration's routes, backends and models, and those who listen to outcomes."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

import trio

from penstock.chat.reasons import Reason
from penstock.config.model import Config
from penstock.errors import Draining
from penstock.policy.guard import GuardRules
from penstock.policy.health import Health
from penstock.policy.keys import Keys
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


class State:
    """One per daemon."""

    def __init__(self, config: Config, backends: dict[str, Backend], observer: Observer, keys: Keys) -> None:
        self.config = config
        self.keys = keys
        #: allows nobody until it is known where we listen
        self.guard = GuardRules()
        self.backends = backends
        self.observer = observer
        self.router = Router(config)
        self.catalogue = Catalogue(backends)
        self.health = Health()
        self.live = Live()
        self.pace = Pace(grace=config.server.grace, heartbeat=config.server.heartbeat)
        self.draining = False

    def refuse_while_draining(self) -> None:
        """Raises Draining when the daemon is about to stop."""
        if self.draining:
            raise Draining("penstock is shutting down")

    def report(self, outcome: Outcome) -> None:
        """A stream is over."""
        if outcome.backend is not None:
            self.health.note(outcome.backend, outcome.reason, trio.current_time())
        self.observer.ended(outcome)

    def failed(self, plan: Plan, reason: Reason, message: str) -> None:
        """A target failed and the next one is tried."""
        self.health.note(plan.backend.name, reason, trio.current_time())
        self.observer.fell_back(plan, reason, message)

    @property
    def bug(self) -> Callable[[str, Exception], None]:
        return self.observer.bug
