"""The log's lines on a descriptor: what cannot be written at once is lost, and counted.

A full disk, a closed pipe, or a terminal that was stopped costs lines: never a stream, and never time, for which all
streams would wait.
"""

from __future__ import annotations

import os
import select
from collections.abc import Callable

#: What a pipe takes in one piece once it is writable (pipe(7), PIPE_BUF).
PIECE = select.PIPE_BUF


class Lines:
    """Writes lines to ``fd``; ``tell`` makes the line that says how many were lost, once there is room again."""

    def __init__(self, fd: int, tell: Callable[[int], str]) -> None:
        self.lost = 0
        self.fd = fd
        self.tell = tell
        self._untold = 0
        #: whether a line was cut off in its middle
        self._torn = False
        self._room = select.poll()
        self._room.register(fd, select.POLLOUT)

    def send(self, line: str) -> None:
        """Never waits, never fails."""
        if self._untold and self._sent(self.tell(self._untold)):
            self._untold = 0
        if not self._sent(line):
            self.lost += 1
            self._untold += 1

    # structlog calls its logger by the name of the level
    debug = info = warning = error = critical = send

    def _sent(self, line: str) -> bool:
        data = ("\n" * self._torn + line + "\n").encode(errors="backslashreplace")
        left = data
        try:
            while left and self._room.poll(0):
                left = left[os.write(self.fd, left[:PIECE]) :]
        except OSError:
            # no space, or nobody reads
            pass
        if len(left) < len(data):
            self._torn = bool(left)
        return not left
