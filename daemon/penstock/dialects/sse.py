"""Server-sent events as backends send them: bytes in, frames out (WHATWG HTML, 9.2.6 "Interpreting an event stream").

Whole blocks of plain frames (``data: …`` and a blank line, LF only) or of named ones (``event: …`` before it) are cut
with a few passes over all of the bytes at once; anything else goes line by line.  All ways give the same frames,
however the bytes are cut, and none looks at a byte twice.

Beyond the standard, because servers do it: the last frame may lack its blank line; a line of bare JSON is a frame; the
field ``error`` carries the data of an error frame (llama.cpp before September 2025).
"""

from __future__ import annotations

from itertools import takewhile

import msgspec

from penstock.dialects.jsontext import is_utf8
from penstock.errors import BackendGarbled

_BOM = b"\xef\xbb\xbf"


class Frame(msgspec.Struct, frozen=True, gc=False):
    """One event of the stream."""

    data: bytes
    #: the frame as it came, when it is exactly one ``data: `` line in UTF-8 and a blank line; else None
    raw: bytes | None = None
    name: str = ""  #: of the ``event`` field


class Comment(msgspec.Struct, frozen=True, gc=False):
    """A sign of life: a comment, or a frame without data."""


COMMENT = Comment()


def plain_frame(data: bytes) -> Frame:
    """A frame of one ``data: `` line."""
    return Frame(data, b"data: %b\n\n" % data)


class Decoder:
    """``limit`` is the most that one frame may hold, in bytes; :meth:`check` raises BackendGarbled beyond it."""

    def __init__(self, limit: int) -> None:
        self._limit = limit
        self._broken: BackendGarbled | None = None
        self._held: list[bytes] = []  # a line that has not ended, as it came
        self._held_size = 0
        self._after_cr = False
        self._first = True
        self._data: list[bytes] = []  # the lines of a frame that has not ended
        self._size = 0
        self._name = ""
        self._plain = True  # no other line but comments and one `data: ` so far

    def receive(self, data: bytes) -> list[Frame | Comment]:
        """Take the next bytes, cut anywhere."""
        plain, frames = self.split(data)
        return [*map(plain_frame, plain), *frames] if plain else frames

    def split(self, data: bytes) -> tuple[list[bytes], list[Frame | Comment]]:
        """The same, with the plain frames at the front as their data only: for who can do without a value for each."""
        plain: list[bytes] = []
        frames: list[Frame | Comment] = []
        try:
            if self._after_cr and data:
                self._after_cr = False
                data = data.removeprefix(b"\n")
            if 0x0A not in data and 0x0D not in data:
                self._hold(data, frames)
                return plain, frames
            if self._held:
                self._held.append(data)
                data = b"".join(self._held)
                self._held.clear()
                self._held_size = 0
            if not self._data and self._plain:
                if data.startswith(b"data: "):
                    data = self._bulk(data, plain)
                elif data.startswith(b"event: "):
                    data = self._named(data, frames)
            if data:
                self._lines(data, frames)
        except BackendGarbled as error:
            self._broken = error
        return plain, frames

    def check(self) -> None:
        """Raise what was wrong behind the frames that came out so far."""
        if self._broken is not None:
            raise self._broken

    def end(self) -> list[Frame | Comment]:
        """The stream ended: the frame whose blank line is missing, if there is one."""
        frames: list[Frame | Comment] = []
        if self._held:
            self._line(b"".join(self._held), False, frames)
            self._held.clear()
        self._flush(frames)
        return frames

    def _bulk(self, data: bytes, plain: list[bytes]) -> bytes:
        """Collect the data of the plain frames at the front, when nothing but plain frames is there; what is left."""
        cut = data.rfind(b"\n\n")
        if cut < 0:
            return data
        block = data[6:cut]
        parts = block.split(b"\n\ndata: ")
        if block.count(b"\n") != 2 * len(parts) - 2 or 0x0D in block or not is_utf8(block):
            return data
        self._first = False
        most = self._limit - 6
        if cut > self._limit and max(map(len, parts)) > most:
            plain += takewhile(lambda part: len(part) <= most, parts)
            raise self._too_long()
        plain += parts
        return data[cut + 2 :]

    def _named(self, data: bytes, frames: list[Frame | Comment]) -> bytes:
        """Collect frames of an ``event: `` and a ``data: `` line, when nothing else is there; what is left."""
        cut = data.rfind(b"\n\n")
        if not 0 <= cut <= self._limit:
            return data
        block = data[7:cut]
        parts = block.split(b"\n\nevent: ")
        if block.count(b"\n") != 3 * len(parts) - 2 or 0x0D in block:
            return data
        found: list[Frame] = []
        for part in parts:
            name, between, said = part.partition(b"\ndata: ")
            if not between:
                return data
            found.append(Frame(said, None, name.decode("utf-8", "replace")))
        self._first = False
        frames += found
        return data[cut + 2 :]

    def _lines(self, data: bytes, frames: list[Frame | Comment]) -> None:
        self._after_cr = data.endswith(b"\r")
        lines = data.splitlines(keepends=True)
        rest = b"" if lines[-1].endswith((b"\n", b"\r")) else lines.pop()
        for line in lines:
            if line.endswith(b"\r\n"):
                self._line(line[:-2], False, frames)
            else:
                self._line(line[:-1], line.endswith(b"\n"), frames)
        self._hold(rest, frames)

    def _line(self, line: bytes, plain: bool, frames: list[Frame | Comment]) -> None:
        """One line without its end; ``plain``: the end was a single LF."""
        if self._first:
            self._first = False
            line = line.removeprefix(_BOM)
        if not line:
            self._plain &= plain
            self._dispatch(frames)
            return
        if line.startswith(b"{"):
            self._flush(frames)
            self._check(len(line))
            frames.append(Frame(line))
            return
        field, _, value = line.partition(b":")
        value = value.removeprefix(b" ")
        match field:
            case b"data" | b"error":
                self._plain &= plain and not self._data and line.startswith(b"data: ")
                self._data.append(value)
                self._size += len(line)
                self._check(self._size)
                if field == b"error":
                    self._name = "error"
                return
            case b"":
                self._check(self._size + len(line))
                frames.append(COMMENT)
                return
            case b"event":
                self._name = value.decode("utf-8", "replace")
                self._plain = False
            case _:
                self._plain = False
        self._check(self._size + len(line))

    def _flush(self, frames: list[Frame | Comment]) -> None:
        """End the frame that lacks its blank line."""
        if self._data:
            self._plain = False
            self._dispatch(frames)

    def _dispatch(self, frames: list[Frame | Comment]) -> None:
        if self._data:
            data = b"\n".join(self._data)
            raw = b"data: " + data + b"\n\n" if self._plain and is_utf8(data) else None
            frames.append(Frame(data, raw, self._name))
        elif self._name:
            frames.append(COMMENT)
        self._data.clear()
        self._size = 0
        self._name = ""
        self._plain = True

    def _hold(self, data: bytes, frames: list[Frame | Comment]) -> None:
        if data:
            self._held.append(data)
            self._held_size += len(data)
            if self._held[0].startswith(b"{"):
                # A line of JSON ends the frame before it.
                self._flush(frames)
            self._check(self._size + self._held_size)

    def _check(self, size: int) -> None:
        if size > self._limit:
            raise self._too_long()

    def _too_long(self) -> BackendGarbled:
        return BackendGarbled(f"the backend sent one event of more than {self._limit} bytes (limits.line)", "parse")
