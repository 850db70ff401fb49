"""One request and its answer on one link (HTTP/1.1).

Every wait may be cancelled and called again: nothing is lost, so one task can wait, send a heartbeat and go on
waiting.  The answer's body is an ``httpx.AsyncByteStream`` for whoever wants one; the relay calls ``receive``.
"""

from __future__ import annotations

from collections.abc import Callable

import httpx

from penstock.errors import BackendGarbled, BackendTruncated, ConnectFailed
from penstock.relay.heads import Head, end_of_head, read_head
from penstock.relay.link import Link, LinkBroken
from penstock.relay.unchunk import Unchunker, garbled

#: Interim answers (100, 103) before the real one.
MOST_INTERIM = 8


class Exchange(httpx.AsyncByteStream):
    """Owns the link from the moment the request is written until it is closed or given back whole."""

    def __init__(self, link: Link, request: bytes, on_close: Callable[[Exchange], None], *, reused: bool) -> None:
        self._link = link
        self._on_close = on_close
        self._outgoing = memoryview(request)
        self._unchunker: Unchunker | None = None
        #: payload bytes still to come by Content-Length; None: chunked, or until the link closes
        self._length: int | None = None
        #: what of the head has come, then the payload that came in the same read
        self._early = b""
        #: whether the body came to its well-formed end
        self.ended = False
        self._keep = False
        self._closed = False
        #: whether the link had served another request before
        self.reused = reused
        #: whether the backend has sent a byte for this request
        self.answered = False

    def send_now(self) -> bool:
        """Write what the backend takes of the request without waiting; whether that was all."""
        try:
            self._outgoing = self._outgoing[self._link.send_now(self._outgoing) :]
        except LinkBroken:
            self._outgoing = memoryview(b"")
        return not self._outgoing

    async def send(self) -> None:
        """Write the request; a call after a cancelled one goes on where that stopped.

        A connection that breaks here is reported by :meth:`head`: a server that refuses a body early answers and
        closes, and its answer says more than the broken pipe.
        """
        try:
            while self._outgoing:
                sent = await self._link.send_some(self._outgoing)
                self._outgoing = self._outgoing[sent:]
        except LinkBroken:
            self._outgoing = memoryview(b"")

    async def head(self) -> Head:
        """The head of the answer.  Raises ConnectFailed (lost before the answer), BackendGarbled (not HTTP)."""
        interim = searched = 0
        while True:
            end = end_of_head(self._early, searched)
            if end is not None:
                head, self._early = read_head(self._early[:end]), self._early[end:]
                if head.status_code >= 200:
                    return self._open_body(head)
                interim, searched = interim + 1, 0
                if interim > MOST_INTERIM or head.status_code == 101:
                    raise BackendGarbled("the backend keeps sending interim answers", "http")
                continue
            searched = len(self._early)
            try:
                data = await self._link.receive()
            except LinkBroken as error:
                raise ConnectFailed(f"the connection to the backend broke before it answered: {error}") from error
            if not data:
                if self._early:
                    raise garbled("it ends in its head")
                raise ConnectFailed("the backend closed the connection before it answered")
            self.answered = True
            self._early += data

    def _open_body(self, head: Head) -> Head:
        fields = head.headers
        self._length = head.length
        if head.chunked:
            self._unchunker = Unchunker()
        if self._unchunker is not None and self._length is not None:
            raise BackendGarbled("the backend sent both Content-Length and Transfer-Encoding", "http")
        if (coding := fields.get("content-encoding", "identity")) != "identity":
            unasked = f"the backend answered in a Content-Encoding that nobody asked for: {coding[:40]}"
            raise BackendGarbled(unasked, "http")
        self.ended = self._length == 0 or head.status_code in (204, 304)
        close = head.version != "1.1" or "close" in fields.get("connection", "").lower()
        self._keep = not close and (self._unchunker is not None or self._length is not None)
        return head

    async def receive(self) -> bytes:
        """The next payload bytes, never empty before the end; ``b""`` at a well-formed end of the body.

        Raises BackendTruncated when the connection ended first, BackendGarbled for a body that is not HTTP.
        """
        while not self.ended:
            if self._unchunker is not None and self._unchunker.broken is not None:
                raise self._unchunker.broken
            if self._early:
                data, self._early = self._early, b""
            else:
                try:
                    data = await self._link.receive()
                except LinkBroken as error:
                    raise BackendTruncated(f"the connection to the backend broke in mid-answer: {error}") from error
                if not data:
                    self._keep = False
                    if self._unchunker is not None or self._length is not None:
                        raise BackendTruncated("the backend closed the connection in mid-answer")
                    self.ended = True
                    break
            payload = self._payload(data)
            if payload:
                return payload
        return b""

    def _payload(self, data: bytes) -> bytes:
        if self._unchunker is not None:
            payload = self._unchunker.receive(data)
            if self._unchunker.ended:
                self.ended = True
                self._keep = self._keep and not self._unchunker.rest
            return payload
        if self._length is not None:
            payload = data[: self._length]
            self._length -= len(payload)
            if not self._length:
                self.ended = True
                self._keep = self._keep and len(payload) == len(data)
            return payload
        return data

    @property
    def reusable(self) -> bool:
        """Whether the body was read to its well-formed end and the connection may carry another request."""
        return self.ended and self._keep and not self._closed

    def release(self) -> Link:
        """Take the link out of a reusable exchange."""
        assert self.reusable
        self._closed = True
        return self._link

    def close(self) -> None:
        """Give the link back if it is clean, close it now if it is not.  Never waits; idempotent."""
        if not self._closed:
            self._on_close(self)
            if not self._closed:
                self._closed = True
                self._link.close()

    # httpx's interface

    def __aiter__(self) -> Exchange:
        return self

    async def __anext__(self) -> bytes:
        data = await self.receive()
        if not data:
            raise StopAsyncIteration
        return data

    async def aclose(self) -> None:
        self.close()
