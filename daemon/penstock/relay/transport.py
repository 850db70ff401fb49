"""The transport to one backend: connections, a small idle list, and httpx's transport interface over both.

httpx's own pool loses slots for ever under cancellation and reports a cancelled read as a clean end on the next one.
Here one connection belongs to one stream; only one whose answer was read to its well-formed end is kept, and it is
looked at before it is used again.  No redirects, no environment proxies, no cookies, no compression.
"""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from functools import lru_cache

import httpx

import penstock
from penstock.errors import ConnectFailed, Exhausted
from penstock.relay.exchange import Exchange
from penstock.relay.heads import request_head, with_body
from penstock.relay.link import Link, LinkBroken, SocketLink, connect, exhausted, reason_of
from penstock.relay.tls import client_context, secured

USER_AGENT = f"penstock/{penstock.__version__}"

Headers = Sequence[tuple[str, str]]

#: Ready heads of requests that are kept: a dialect has a handful, and a client may ask for more.
MOST_HEADS = 64

#: How long an unused connection is worth keeping; seconds.  After that a router between, or a backend that was switched
#: off, may have forgotten it without a word, and a request on it would be answered by nobody.
KEPT = 55.0

#: How a connection is made; tests put memory streams here.
Dial = Callable[[], Awaitable[Link]]


def awake_or_not() -> float:
    """Seconds that count while the machine sleeps, too: the other end's clock goes on."""
    return time.clock_gettime(time.CLOCK_BOOTTIME)


class Transport(httpx.AsyncBaseTransport):
    """All connections to one backend.  ``idle`` of them at most are kept between streams."""

    def __init__(
        self,
        base: str,
        *,
        headers: Headers = (),
        idle: int = 4,
        dial: Dial | None = None,
        clock: Callable[[], float] = awake_or_not,
    ) -> None:
        self.base = httpx.URL(base.rstrip("/"))
        self._idle_limit = idle
        #: each with the time at which it is too old
        self._idle: list[tuple[Link, float]] = []
        self._clock = clock
        self._open = 0
        self._head = lru_cache(MOST_HEADS)(self._make_head)
        self._headers = httpx.Headers(
            [
                ("Content-Type", "application/json"),
                ("Accept", "*/*"),
                # what comes compressed cannot be split into tokens as it arrives
                ("Accept-Encoding", "identity"),
                ("User-Agent", USER_AGENT),
                *headers,
            ]
        )
        self._tls = client_context() if self.base.scheme == "https" else None
        self._dial = dial or self._dial_network

    @property
    def idle(self) -> int:
        """Connections that wait for another stream."""
        return len(self._idle)

    @property
    def open(self) -> int:
        """Connections that belong to a stream."""
        return self._open

    def request(self, method: str, path: str, content: bytes = b"", headers: Headers = ()) -> httpx.Request:
        """A request to a path below the base.

        ``headers`` are of this request alone and replace those of the same name.
        """
        sent = self._headers
        if headers:
            sent = sent.copy()
            sent.update(headers)
        return httpx.Request(method, f"{self.base}{path}", headers=sent, content=content)

    def outgoing(self, method: str, path: str, content: bytes = b"", headers: Headers = ()) -> bytes:
        """The same request as it goes out."""
        return with_body(self._head(method, path, tuple(headers)), method, content)

    def _make_head(self, method: str, path: str, headers: Headers) -> bytes:
        return request_head(self.request(method, path, headers=headers))

    def reuse(self, outgoing: bytes) -> Exchange | None:
        """A kept connection for this request, the request not yet written; None where there is none."""
        while self._idle:
            link, too_old = self._idle.pop()
            if self._clock() < too_old and not link.stale():
                return self._begin(link, outgoing, reused=True)
            link.close()
        return None

    async def connect(self, outgoing: bytes) -> Exchange:
        """A new connection for this request, the request not yet written.  Raises ConnectFailed."""
        return self._begin(await self._dial(), outgoing, reused=False)

    def _begin(self, link: Link, outgoing: bytes, *, reused: bool) -> Exchange:
        self._open += 1
        return Exchange(link, outgoing, self._closed, reused=reused)

    def _closed(self, exchange: Exchange) -> None:
        self._open -= 1
        if exchange.reusable and len(self._idle) < self._idle_limit:
            self._idle.append((exchange.release(), self._clock() + KEPT))

    def close_idle(self) -> None:
        """Close what no stream uses."""
        while self._idle:
            self._idle.pop()[0].close()

    async def _dial_network(self) -> Link:
        host, scheme = self.base.host, self.base.scheme
        port = self.base.port or (443 if scheme == "https" else 80)
        try:
            sock = await connect(host, port)
        except OSError as error:
            if exhausted(error):
                raise Exhausted(
                    f"penstock has no file descriptor left to connect to {host}:{port}: allow it more "
                    "(LimitNOFILE in its unit, or ulimit -n), or lower limits.connections"
                ) from error
            raise ConnectFailed(f"cannot connect to {host}:{port}: {reason_of(error)}") from error
        if self._tls is None:
            return SocketLink(sock)
        try:
            return await secured(sock, self._tls, host)
        except LinkBroken as error:
            raise ConnectFailed(f"no TLS with {host}:{port}: {error}") from error

    # httpx's interface

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        """Connect, send, and wait for the head; the answer's stream owns the connection."""
        outgoing = with_body(request_head(request), request.method, request.content)
        exchange = self.reuse(outgoing) or await self.connect(outgoing)
        answered = False
        try:
            await exchange.send()
            head = await exchange.head()
            answered = True
            return httpx.Response(head.status_code, headers=head.headers, stream=exchange)
        finally:
            if not answered:
                exchange.close()

    async def aclose(self) -> None:
        self.close_idle()
