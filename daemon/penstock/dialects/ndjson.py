"""Newline-delimited JSON as bytes: one JSON text a line, LF at its end.

Knows no dialect.  A line is handed on as it came, but for carriage returns, which some servers put before the LF: white
space to a JSON parser, the end of a line to some clients.
"""

from __future__ import annotations

from io import BytesIO
from itertools import takewhile

from penstock.dialects import jsontext
from penstock.errors import BackendGarbled


class Lines:
    """Cuts a body into lines: bytes in, whole lines out.  Every byte is looked at a fixed number of times."""

    def __init__(self, limit: int) -> None:
        """``limit``: the longest line that is accepted, in bytes."""
        self._limit = limit
        self._broken: BackendGarbled | None = None
        self._rest = bytearray()

    def receive(self, data: bytes) -> list[bytes]:
        """Take the next bytes, cut anywhere -> the lines they complete, LF included; blank ones are left out.

        A line beyond the limit is the end of them, whether or not its own end is there; :meth:`check` tells.
        """
        if 0x0D in data:
            data = data.replace(b"\r", b"")
        if self._rest:
            self._rest += data
            if 0x0A not in data:
                self._measure(len(self._rest))
                return []
            data = bytes(self._rest)
            self._rest.clear()
        lines = BytesIO(data).readlines()
        if lines and not lines[-1].endswith(b"\n"):
            self._rest += lines.pop()
            self._measure(len(self._rest))
        if len(data) > self._limit and (longest := max(map(len, lines), default=0)) > self._limit:
            self._measure(longest)
            lines = list(takewhile(lambda line: len(line) <= self._limit, lines))
        return [line for line in lines if not line.isspace()]

    def end(self) -> list[bytes]:
        """The body ended -> its last line, if it had no LF; it gets one."""
        rest = bytes(self._rest)
        self._rest.clear()
        return [rest + b"\n"] if rest.strip() else []

    def check(self) -> None:
        """Raise what was wrong behind the lines that came out so far."""
        if self._broken is not None:
            raise self._broken

    def _measure(self, size: int) -> None:
        if size > self._limit:
            self._broken = BackendGarbled(
                f"the backend sent a line longer than {self._limit} bytes (limits.line)", "parse"
            )


def line(value: object) -> bytes:
    """Plain data -> one line, LF included."""
    return jsontext.escape(jsontext.encode(value)) + b"\n"
