"""Who gets a slot of a backend, who waits, who is refused: one :class:`Gate` per backend.

The decisions are made here without waiting; the one waiting point is in the relay, which is woken by ``on_grant``.
First come, first served: a ticket that waits is granted in the moment a slot is given back, never later.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable

from penstock.errors import QueueFull


class Ticket:
    """One stream's claim on one slot.  ``granted`` turns true at most once."""

    __slots__ = ("granted", "on_grant")

    def __init__(self, on_grant: Callable[[], None] | None = None) -> None:
        self.granted = False
        self.on_grant = on_grant

    def grant(self) -> None:
        self.granted = True
        if self.on_grant is not None:
            self.on_grant()


class Gate:
    """The slots of one backend and the bounded queue before them."""

    def __init__(self, backend: str, *, slots: int, queue: int) -> None:
        self.backend = backend
        self.slots = slots
        self.queue = queue
        self._inside: set[Ticket] = set()
        self._waiting: OrderedDict[Ticket, None] = OrderedDict()

    @property
    def busy(self) -> int:
        """Slots in use."""
        return len(self._inside)

    @property
    def waiting(self) -> int:
        """Streams in the queue."""
        return len(self._waiting)

    def ask(self, ticket: Ticket) -> None:
        """Grant the ticket now, or put it at the end of the queue.  Raises QueueFull."""
        if len(self._inside) < self.slots and not self._waiting:
            self._inside.add(ticket)
            ticket.grant()
        elif len(self._waiting) < self.queue:
            self._waiting[ticket] = None
        else:
            raise QueueFull(
                f"backend '{self.backend}' has all {self.slots} slots in use and {len(self._waiting)} streams waiting; "
                "try again, or raise limits.queue"
            )

    def leave(self, ticket: Ticket) -> None:
        """Give back a slot or a place in the queue; harmless for a ticket that has neither."""
        if ticket in self._inside:
            self._inside.remove(ticket)
            self._let_in()
        else:
            self._waiting.pop(ticket, None)

    def become(self, backend: str, *, slots: int, queue: int) -> None:
        """Another name and other numbers from now on.  Who is inside stays there, and who waits keeps its place."""
        self.backend, self.slots, self.queue = backend, slots, queue
        self._let_in()

    def _let_in(self) -> None:
        while self._waiting and len(self._inside) < self.slots:
            following, _ = self._waiting.popitem(last=False)
            self._inside.add(following)
            following.grant()
