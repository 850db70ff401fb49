"""The application's task for one request, and the queue in which the request's body comes to it."""

from __future__ import annotations

from collections import deque
from collections.abc import Awaitable, Callable

import trio
from hypercorn.config import Config
from hypercorn.trio.task_group import TaskGroup, _handle
from hypercorn.typing import AppWrapper, ASGIReceiveEvent, ASGISendEvent, Scope


class Inbox:
    """At most ``size`` messages of one request; more of them wait to be put.

    Trio's memory channels take a turn of the scheduler for every message, in and out.  Whoever puts here has just
    waited for the socket, and takes such a turn before it reads on.
    """

    def __init__(self, size: int) -> None:
        self._size = size
        self._messages: deque[ASGIReceiveEvent] = deque()
        #: of whoever waits for the other side
        self._changed: trio.Event | None = None

    async def put(self, message: ASGIReceiveEvent) -> None:
        """Add a message; for one task at a time."""
        while len(self._messages) >= self._size:
            await self._change()
        self._messages.append(message)
        self._tell()

    async def get(self) -> ASGIReceiveEvent:
        """The next message; for one task at a time."""
        while not self._messages:
            await self._change()
        message = self._messages.popleft()
        self._tell()
        return message

    async def _change(self) -> None:
        self._changed = trio.Event()
        await self._changed.wait()

    def _tell(self) -> None:
        if self._changed is not None:
            self._changed.set()
            self._changed = None


class Tasks(TaskGroup):
    """Hypercorn's tasks of one connection, each with an :class:`Inbox`."""

    async def spawn_app(
        self,
        app: AppWrapper,
        config: Config,
        scope: Scope,
        send: Callable[[ASGISendEvent | None], Awaitable[None]],
    ) -> Callable[[ASGIReceiveEvent], Awaitable[None]]:
        """Start the application on a request; returns how it gets the request's messages."""
        inbox = Inbox(config.max_app_queue_size)
        self.spawn(_handle, app, config, scope, inbox.get, send, trio.to_thread.run_sync, trio.from_thread.run)
        return inbox.put
