"""One configuration at work, as an application of its own: what a request meets first it meets to its end.

A request stays with the generation that was the newest when its head was read.  So it cannot be admitted by the keys of
one configuration and routed by another; and when the last request of an old generation is over, nobody needs it.
"""

from __future__ import annotations

from collections.abc import Callable

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, Scope

from penstock.server.app import create_app
from penstock.server.state import State


class Generation:
    """A state and its application, with the number of requests that are at work in it."""

    def __init__(self, state: State) -> None:
        self.state = state
        self.app = create_app(state)
        self.requests = 0
        self._superseded = False
        self._over = trio.Event()

    def supersede(self) -> None:
        """Another one takes the new requests."""
        self.state.retired.set()
        self._superseded = True
        self.notice()

    def notice(self) -> None:
        """A request has left, or none will come any more."""
        if self._superseded and not self.requests:
            self._over.set()

    async def over(self) -> None:
        """Return when it is superseded and its last request has left."""
        await self._over.wait()


class Intake:
    """Hypercorn's way in: to whatever generation is the newest at that moment."""

    def __init__(self, newest: Generation) -> None:
        self.newest = newest

    async def __call__(
        self,
        scope: Scope,
        receive: ASGIReceiveCallable,
        send: ASGISendCallable,
        sync_spawn: Callable[..., object],
        call_soon: Callable[..., object],
    ) -> None:
        generation = self.newest
        generation.requests += 1
        try:
            await generation.app(scope, receive, send)
        finally:
            generation.requests -= 1
            generation.notice()
