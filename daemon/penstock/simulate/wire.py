"""One answer's HTTP, written by hand so that it can be wrong exactly where it should be (RFC 9112 section 7.1)."""

from __future__ import annotations

import http.client
import itertools
import zlib
from collections.abc import Iterable, Sequence

Headers = Iterable[tuple[str, str]]


def message(status: int, headers: Headers, body: bytes, *, head_only: bool = False) -> bytes:
    """A complete answer with a length."""
    head = _head("1.1", status, [*headers, ("Content-Length", str(len(body)))])
    return head if head_only else head + body


class Wire:
    """The framing of one body: chunked, delimited by the close (``http10``) or of a known length; gzip on demand."""

    def __init__(self, *, http10: bool = False, gzip: bool = False) -> None:
        self.http10 = http10
        #: set before the head is made; a compressed body has none
        self.length: int | None = None
        # 31: gzip container, largest window
        self._gzip = zlib.compressobj(wbits=31) if gzip else None

    @property
    def bare(self) -> bool:
        """Whether frames go out without chunk framing."""
        return self.http10 or self.length is not None

    def head(self, status: int, headers: Headers) -> bytes:
        framing = [("Connection", "close")] if self.http10 else []
        if self.length is not None:
            framing.append(("Content-Length", str(self.length)))
        elif not self.http10:
            framing.append(("Transfer-Encoding", "chunked"))
        if self._gzip:
            framing.append(("Content-Encoding", "gzip"))
        return _head("1.0" if self.http10 else "1.1", status, [*headers, *framing])

    def frame(self, data: bytes) -> bytes:
        """One frame, a chunk of its own as servers write it."""
        if self._gzip:
            data = self._gzip.compress(data) + self._gzip.flush(zlib.Z_SYNC_FLUSH)
        return self._chunk(data)

    def run(self, parts: Sequence[bytes], texts: Sequence[bytes]) -> bytes:
        """Frames that differ in their text only, which stands between the parts; texts never get shorter on the way."""
        if self._gzip or len(parts) != 2:
            return b"".join([self.frame(text.join(parts)) for text in texts])
        if len(texts[0]) != len(texts[-1]):
            return b"".join([self.run(parts, list(equal)) for _, equal in itertools.groupby(texts, len)])
        head, tail = parts
        if not self.bare:
            # equal sizes: what stands between two texts is the same everywhere, and join does the work
            head = b"%x\r\n" % (len(head) + len(texts[0]) + len(tail)) + head
            tail = tail + b"\r\n"
        return head + (tail + head).join(texts) + tail

    def end(self) -> bytes:
        """The clean end of the body; nothing when the close is the end."""
        rest = self._chunk(self._gzip.flush()) if self._gzip else b""
        return rest if self.bare else rest + b"0\r\n\r\n"

    def _chunk(self, data: bytes) -> bytes:
        return data if self.bare else b"%x\r\n%b\r\n" % (len(data), data)


def _head(version: str, status: int, headers: Headers) -> bytes:
    reason = http.client.responses.get(status, "Simulated")
    lines = [f"HTTP/{version} {status} {reason}", *(f"{name}: {value}" for name, value in headers)]
    return "\r\n".join([*lines, "", ""]).encode("latin-1", "replace")
