"""HTTP/1.1 towards the client: Hypercorn's protocol class with its measured holes closed.

* Bytes after a request (a stray line end, a pipelined request) made it stop reading, and so blind to the client's
  leaving.  Here reading goes on; what came early is dropped with the connection when the running answer is over.
* Clear-text HTTP/2, by preface or by ``Upgrade: h2c``, cannot be switched off there.  Here it is refused.
* After an answer that says so it did not close the connection.  Here it does.
* Heads that two readers could read in two ways went through.  Here they do not (:mod:`penstock.server.framing`).
* A client that asked whether its body may come was told yes, whoever it was.  Here the guard is asked first.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from contextlib import suppress
from email.utils import formatdate
from functools import lru_cache
from time import time

import h11
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.protocol.events import Body, EndBody, Request, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol
from hypercorn.protocol.http_stream import ASGIHTTPState, HTTPStream
from hypercorn.typing import H11SendableEvent

from penstock.config.model import Limits
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import BadRequest, ClientGone, RequestError, SlowRequest
from penstock.server.framing import checked

Headers = list[tuple[bytes, bytes]]

#: The fields of an answer that decide where its body ends, and whether the connection does too; in lower case.
FRAMING = frozenset({b"content-length", b"transfer-encoding", b"connection"})
END = h11.EndOfMessage()
_TOKEN = re.compile(rb"[-!#$%&'*+.^_`|~0-9a-z]+")
_VALUE = re.compile(rb"(?:[^\x00\s]+(?:[ \t]+[^\x00\s]+)*)?")

#: How a client begins that believes the address to be https:// (RFC 8446 5.1).
TLS = b"\x16\x03"
#: What a chunk may take beside its payload, and as much again as that, before it counts: its size and two line ends.
#: Extensions may be of any length, mean nothing to anybody, and are thrown away (RFC 9112 7.1.1).
CHUNK = 16
#: Bytes that may come while an answer runs before the connection is closed for them.
MOST_EARLY = 65536


class Http1(H11Protocol):
    """One client connection's protocol.

    ``on_request`` is called when a request's head is here, ``on_refused`` with what makes it none.
    """

    on_request: Callable[[], None]
    on_refused: Callable[[RequestError], None]
    limits: Limits
    #: the bytes of a head that is not yet whole
    _head = b""
    #: bytes of a body beyond what its payload may take for the framing of its chunks
    _framing = 0

    async def handle(self, event: Event) -> None:
        if isinstance(event, RawData) and self.connection.their_state is h11.IDLE:
            # Some clients send a line end after a body, which h11 would take for a request (RFC 9112 2.2).
            data = event.data if self._head else event.data.lstrip(b"\r\n")
            if not data:
                return
            self._head += data
            event = RawData(data)
        elif isinstance(event, RawData) and self.connection.their_state is h11.SEND_BODY:
            self._framing += len(event.data)
        await super().handle(event)

    def head(self, status: int, headers: Headers) -> bytes:
        """The head of the running request's answer, as it goes out.  Raises ClientGone.

        h11 writes the status line and the fields that frame the body; the others, of which it has no opinion, follow.
        """
        if not isinstance(self.stream, HTTPStream):
            raise ClientGone("the client has closed the connection")
        self.stream.state = ASGIHTTPState.RESPONSE
        framing = tuple(field for field in headers if field[0] in FRAMING)
        if (
            self.context.terminated.is_set()
            or self._has_early()
            # The client wanted to go on in another protocol.  h11 documents the state, and left it out of __all__.
            or self.connection.their_state is h11.MIGHT_SWITCH_PROTOCOL  # type: ignore[attr-defined]
        ):
            framing += ((b"connection", b"close"),)
        others = b"".join([line(*field) for field in headers if field[0] not in FRAMING])
        head = self._written(response(status, framing))
        return b"%b%b%b\r\n" % (head.removesuffix(b"\r\n"), others, line(b"date", date(int(time()))))

    def counted(self, data: bytes) -> bytes:
        """Bytes of a body whose length was announced, as they go out.  Raises ClientGone."""
        return self._written(h11.Data(data=data))

    async def end(self) -> None:
        """End the body, write what that takes, and be ready for the next request.  Raises ClientGone."""
        await self.send(RawData(self._written(END)))
        await self._maybe_recycle()

    def _written(self, event: H11SendableEvent) -> bytes:
        try:
            return self.connection.send(event) or b""
        except h11.LocalProtocolError:
            if self.connection.their_state is not h11.ERROR:
                raise
            raise ClientGone("the client sent what is no HTTP, and was told so") from None

    async def _handle_events(self) -> None:
        while True:
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                await self._refuse(self._misread(error))
                return
            # h11's events have no subclasses, and to ask an abstract class is slow.
            if type(event) is h11.Request:
                if not await self._begin(event):
                    return
            elif event is h11.PAUSED:
                await self._hold_early()
                return
            elif type(event) is h11.Data and self.stream is not None:
                self._framing -= 2 * len(event.data) + CHUNK
                await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
            elif type(event) is h11.EndOfMessage and self.stream is not None:
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
                if not self.connection.trailing_data[0]:
                    return
            else:
                in_body = event is h11.NEED_DATA and self.connection.their_state is h11.SEND_BODY
                if in_body and self._framing > self.limits.headers:
                    await self._refuse(self._too_framed())
                return

    async def _create_stream(self, request: h11.Request) -> None:
        """Every request is one of HTTP; a WebSocket begins when the application says so, and not before the guard."""
        self.stream = HTTPStream(
            self.app,
            self.config,
            self.context,
            self.task_group,
            self.ssl,
            self.client,
            self.server,
            self.stream_send,
            STREAM_ID,
        )
        await self.stream.handle(
            Request(
                stream_id=STREAM_ID,
                headers=list(request.headers),
                http_version=request.http_version.decode("ascii"),
                method=request.method.decode("ascii").upper(),
                raw_path=request.target,
                state=self.connection_state,
            )
        )

    async def _begin(self, request: h11.Request) -> bool:
        rest, _ = self.connection.trailing_data
        head, self._head, self._framing = self._head[: len(self._head) - len(rest)], b"", len(rest)
        try:
            self._measure(request, head)
            request = checked(request, head)
        except BadRequest as error:
            await self._refuse(error, bodiless=request.method == b"HEAD")
            return False
        self.on_request()
        await self._create_stream(request)
        return True

    def _measure(self, request: h11.Request, head: bytes) -> None:
        """Raises BadRequest for what is too much: 414 (RFC 9110 15.5.15), 431 (RFC 6585 5)."""
        limits = self.limits
        # h11 minds only what is not yet whole, so one read more may have passed.
        if len(head) > limits.headers:
            raise self._too_large()
        if len(request.target) > limits.url:
            raise refused(414, f"the target of the request is larger than limits.url ({limits.url} bytes)")
        if len(request.headers) > limits.header_count:
            raise refused(431, f"the request has more headers than limits.header_count ({limits.header_count})")

    def _misread(self, error: h11.RemoteProtocolError) -> BadRequest:
        if error.error_status_hint == 431:
            return self._too_large()
        if self._head.startswith(TLS):
            return refused(400, "this is TLS, and penstock speaks none: its address begins with http://")
        # h11 shows the line, and a key may stand in it.
        what, _, _ = str(error).partition(": bytearray")
        return refused(error.error_status_hint, f"this is no HTTP request: {what}")

    def _too_large(self) -> BadRequest:
        return refused(431, f"the head of the request is larger than limits.headers ({self.limits.headers} bytes)")

    def _too_framed(self) -> BadRequest:
        most = self.limits.headers
        return BadRequest(f"what stands between the chunks of the body is more than limits.headers ({most} bytes)")

    async def refuse_late(self) -> bool:
        """The time of a head is over: whether one had begun, and so was refused."""
        if not self._head:
            return False
        limit = self.limits.header_time
        await self._refuse(
            SlowRequest(f"the head of the request did not arrive within limits.header_time ({limit:g} s)")
        )
        return True

    async def _refuse(self, error: RequestError, *, bodiless: bool = False) -> None:
        """Answer what is no request for any route, in the shape that most clients read, and close."""
        self.on_refused(error)
        if self.connection.our_state in (h11.IDLE, h11.SEND_RESPONSE):
            body = NORTHBOUND["openai"].error(error)
            headers = [
                (b"content-type", b"application/json"),
                (b"content-length", b"%d" % len(body)),
                (b"connection", b"close"),
            ]
            await self._send_h11_event(h11.Response(status_code=error.status, headers=headers))
            if not bodiless:
                await self._send_h11_event(h11.Data(data=body))
            await self._send_h11_event(END)
        await self.send(Closed())

    async def _hold_early(self) -> None:
        waiting, _ = self.connection.trailing_data
        if len(waiting) > MOST_EARLY:
            self.on_refused(BadRequest(f"more than {MOST_EARLY} bytes came after a request while its answer ran"))
            await self.send(Closed())

    def _has_early(self) -> bool:
        """Whether the client sent more than the running request; line ends do not count."""
        waiting, _ = self.connection.trailing_data
        return self.connection.their_state is h11.DONE and bool(waiting.strip(b"\r\n"))

    async def _maybe_recycle(self) -> None:
        """The answer is over: be ready for the next request, or close.

        Ready before anything else may run: the client has all of the answer, and its next request can be here at once.
        """
        stream, self.stream = self.stream, None
        connection = self.connection
        if connection.our_state is h11.DONE and connection.their_state is h11.SEND_BODY:
            # An announced body is whole with its last byte; its end may still wait for the reader.
            with suppress(h11.RemoteProtocolError):
                connection.next_event()
        if (
            connection.our_state is not h11.DONE
            or connection.their_state is not h11.DONE
            or self._has_early()
            or self.context.terminated.is_set()
        ):
            await self.send(Closed())
        else:
            if connection.trailing_data[0]:
                # only line ends, which h11 would take for a request
                self.connection = h11.Connection(
                    h11.SERVER, max_incomplete_event_size=self.config.h11_max_incomplete_size
                )
            else:
                connection.start_next_cycle()
            await self.send(Updated(idle=True))
        if stream is not None:
            await stream.handle(StreamClosed(stream_id=STREAM_ID))


@lru_cache(maxsize=256)
def response(status: int, framing: tuple[tuple[bytes, bytes], ...]) -> h11.Response:
    """What h11 is told of an answer.  Raises h11.LocalProtocolError."""
    return h11.Response(status_code=status, headers=list(framing))


@lru_cache(maxsize=256)
def line(name: bytes, value: bytes) -> bytes:
    """A field of a head, its name in lower case (RFC 9110 5.1 and 5.5).  Raises ValueError."""
    if not (_TOKEN.fullmatch(name) and _VALUE.fullmatch(value)):
        raise ValueError(f"this may not stand in a header: {name!r}: {value!r}")
    return b"%b: %b\r\n" % (name, value)


@lru_cache(maxsize=1)
def date(second: int) -> bytes:
    """Seconds since 1970 -> the field Date of all answers of that second (RFC 9110 6.6.1)."""
    return formatdate(second, usegmt=True).encode("ascii")


def refused(status: int, message: str) -> BadRequest:
    """The error with a status of its own."""
    error = BadRequest(message)
    error.status = status
    return error
