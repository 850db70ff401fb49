"""Undoing chunked transfer coding (RFC 9112 section 7.1) in bulk: all chunks of one read come out as one piece.

h11 gives one event per chunk, at ten times the cost, and what is read together should be written together.
"""

from __future__ import annotations

from penstock.errors import BackendGarbled

#: A chunk-size line longer than this is an attack or a different protocol.
LONGEST_SIZE_LINE = 256
LARGEST_TRAILERS = 16384
_HEX = frozenset(b"0123456789abcdefABCDEF")


class Unchunker:
    """Bytes of a chunked body in, payload out.  ``ended`` turns true with the last chunk; ``rest`` is what followed.

    ``broken`` is the error when the body is no chunked coding: to be raised once the payload before it is delivered.
    """

    __slots__ = ("_buffer", "_left", "_trailer_bytes", "_trailers", "broken", "ended", "rest")

    def __init__(self) -> None:
        self.broken: BackendGarbled | None = None
        self.ended = False
        self.rest = b""
        #: an incomplete size line
        self._buffer = b""
        #: payload bytes still to come of the running chunk, plus 2 for its line end; 0 between chunks
        self._left = 0
        self._trailers = False
        self._trailer_bytes = 0

    def receive(self, data: bytes) -> bytes:
        """The payload in these bytes."""
        pieces: list[bytes] = []
        try:
            self._unchunk(data, pieces)
        except BackendGarbled as error:
            self.broken = self.broken or error
        return b"".join(pieces)

    def _unchunk(self, data: bytes, pieces: list[bytes]) -> None:
        """Collect the payload.  Raises BackendGarbled (layer "http")."""
        if self._buffer:
            data = self._buffer + data
            self._buffer = b""
        at = 0
        size = len(data)
        left = self._left
        while at < size and not self.ended:
            if not left and not self._trailers:
                # Whole chunks, one after the other: nearly all of every stream.
                while at < size:
                    feed = data.find(b"\n", at, at + 16)
                    length = _SIZES.get(data[at:feed], 0) if feed > 0 else 0
                    end = feed + 1 + length
                    if not length or data[end : end + 2] != b"\r\n":
                        break
                    pieces.append(data[feed + 1 : end])
                    at = end + 2
                if at == size:
                    break
            if self._trailers:
                at = self._skip_trailers(data, at)
                continue
            if left:
                end = at + left
                if end <= size:
                    if left > 2:
                        pieces.append(data[at : end - 2])
                    if (left == 1 and data[at] != 10) or (left >= 2 and data[end - 2 : end] != b"\r\n"):
                        raise garbled("a chunk does not end where its size says")
                    at = end
                    left = 0
                    continue
                payload = min(size - at, left - 2)
                if payload > 0:
                    pieces.append(data[at : at + payload])
                    left -= payload
                    at += payload
                if at < size:
                    # only the CR of the chunk's line end is here
                    if data[at] != 13:
                        raise garbled("a chunk does not end where its size says")
                    left -= 1
                    at += 1
                continue
            line_end = data.find(b"\r\n", at, at + LONGEST_SIZE_LINE)
            if line_end < 0:
                if size - at >= LONGEST_SIZE_LINE:
                    raise garbled("a chunk size line has no end")
                self._buffer = data[at:]
                break
            left = _size_of(data[at:line_end])
            at = line_end + 2
            if left == 0:
                self._trailers = True
            else:
                left += 2
        self._left = left
        if self.ended:
            self.rest = data[at:]

    def _skip_trailers(self, data: bytes, at: int) -> int:
        """Past the trailer section, which is dropped (RFC 9110 6.5: trailers never merge into headers)."""
        if data.startswith(b"\r\n", at):
            self.ended = True
            return at + 2
        end = data.find(b"\r\n", at)
        if self._trailer_bytes + (end if end >= 0 else len(data)) - at > LARGEST_TRAILERS:
            raise garbled("the trailers of a chunked body have no end")
        if end >= 0:
            self._trailer_bytes += end + 2 - at
            return end + 2
        self._buffer = data[at:]
        return len(data)


#: Size lines that were read before, with their CR: a stream's chunks have few different sizes.
_SIZES: dict[bytes, int] = {}
_MOST_SIZES = 4096


def _size_of(line: bytes) -> int:
    digits = line.partition(b";")[0].rstrip(b" \t")
    # int() would also take "+5", "5_0" and " 5", each of which some parser reads as something else.
    if not digits or len(digits) > 15 or not _HEX.issuperset(digits):
        raise garbled("not a chunk size", line[:40])
    size = int(digits, 16)
    if len(_SIZES) < _MOST_SIZES:
        _SIZES[line + b"\r"] = size
    return size


def garbled(what: str, got: bytes | None = None) -> BackendGarbled:
    """The error for what is no HTTP; ``got`` is what the backend sent instead."""
    said = f"the backend's answer is not HTTP/1.1: {what}"
    return BackendGarbled(said if got is None else f"{said}: {got!r}", "http", said)
