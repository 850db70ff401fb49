"""What all requests together may hold of bodies, which each of them may have for as long as its answer takes."""

from __future__ import annotations

from types import TracebackType

from penstock.errors import NoRoom


class Room:
    """One per daemon; ``held`` bytes are in use."""

    def __init__(self) -> None:
        self.held = 0


class Share:
    """What one request has of it, given back at the end of its block; ``most`` is what all may have (limits.bodies)."""

    def __init__(self, room: Room, most: int) -> None:
        self._room = room
        self._most = most
        self._size = 0

    def take(self, size: int) -> None:
        """So many bytes more.  Raises NoRoom."""
        if self._room.held + size > self._most:
            raise NoRoom(f"penstock holds as much of requests as limits.bodies allows ({self._most} bytes)")
        self._room.held += size
        self._size += size

    def give_back(self) -> None:
        """All of it; idempotent."""
        self._room.held -= self._size
        self._size = 0

    def __enter__(self) -> Share:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.give_back()
