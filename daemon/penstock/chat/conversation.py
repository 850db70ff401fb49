"""A conversation that is kept for a client who says no more than its next message."""

from __future__ import annotations

from collections import deque

import msgspec


class Turn(msgspec.Struct, frozen=True):
    """A message and the whole answer to it."""

    message: str
    answer: str

    @property
    def size(self) -> int:
        """Bytes of its text."""
        return len(self.message.encode()) + len(self.answer.encode())


class Conversation:
    """Remembers the last turns as far as they fit into ``room`` bytes; what had no whole answer was never said."""

    def __init__(self, room: int) -> None:
        self._room = room
        self._turns: deque[Turn] = deque()
        self._size = 0
        self._message = ""

    def ask(self, message: str) -> list[dict[str, object]]:
        """The next message -> all that is to be answered, as messages with ``role`` and ``content``."""
        self._message = message
        said = [pair for turn in self._turns for pair in (("user", turn.message), ("assistant", turn.answer))]
        return [{"role": role, "content": text} for role, text in [*said, ("user", message)]]

    def answered(self, answer: str) -> None:
        """The whole answer to it."""
        turn = Turn(self._message, answer)
        self._turns.append(turn)
        self._size += turn.size
        while self._size > self._room:
            self._size -= self._turns.popleft().size
