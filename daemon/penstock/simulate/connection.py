"""One accepted connection: requests in, bytes out, and an eye on the peer all the time.

The socket is used without trio's wrapper: a send is tried at once and waits only when the kernel is full, which makes a
token cheap.  The peer's close is noticed while nothing is sent too, because :meth:`Connection.peer_leaves` reads on.
"""

from __future__ import annotations

import socket
import struct
from collections.abc import Callable

import h11
import msgspec
import trio

from penstock.simulate.records import ConnectionRecord, Records
from penstock.simulate.wire import message

_READ = 64 * 1024

#: Bytes that may arrive while an answer is going out: the next request, sent early.
_EARLY = 1024 * 1024

#: How long the rest of a refused request is read, so that the refusal is not lost in a reset; seconds.
_LINGER = 1.0

#: How often a socket that must not be read is asked for its state; seconds.
_GLANCE = 0.005

# Linux TCP states, the first byte of struct tcp_info (include/net/tcp_states.h)
_TCP_CLOSE, _TCP_CLOSE_WAIT = 7, 8


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """A request as it came."""

    method: str
    target: str
    headers: list[tuple[str, str]]  #: names in lower case
    body: bytes
    unread: bool = False  #: the body was left in the kernel on purpose
    close: bool = False  #: the client wants no further request on this connection
    http10: bool = False

    def header(self, name: str) -> str:
        return next((value for key, value in self.headers if key == name), "")


class Refused(Exception):
    """The bytes are no request that can be answered; ``status`` and the message say why."""

    def __init__(self, status: int, why: str) -> None:
        super().__init__(why)
        self.status = status


class Connection:
    """A socket and its record.  Owns neither: whoever accepted it closes it."""

    def __init__(self, sock: socket.socket, record: ConnectionRecord, records: Records, head: int, body: int) -> None:
        sock.setblocking(False)
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.sock = sock
        self.record = record
        self._records = records
        self._head_limit = head
        self._body_limit = body
        self._early = b""

    async def request(self, leaves_body: Callable[[h11.Request, bytes], bool]) -> Request | None:
        """The next request, or None when the peer has closed.  Raises Refused.

        ``leaves_body`` is asked with the head and what has come of the body whether the rest shall be left unread.
        """
        parser = h11.Connection(h11.SERVER, max_incomplete_event_size=self._head_limit)
        parser.receive_data(self._early or await self._receive())
        head: h11.Request | None = None
        body = bytearray()
        while True:
            try:
                event = parser.next_event()
            except h11.RemoteProtocolError as error:
                raise Refused(error.error_status_hint, str(error)) from None
            if isinstance(event, h11.Request):
                head = event
            elif isinstance(event, h11.Data):
                body += event.data
                if len(body) > self._body_limit:
                    raise Refused(413, f"the body is larger than {self._body_limit} bytes")
            elif isinstance(event, h11.EndOfMessage) and head is not None:
                self._early, _ = parser.trailing_data
                return _request(head, bytes(body))
            elif event is h11.NEED_DATA:
                if head and leaves_body(head, bytes(body)):
                    return _request(head, bytes(body), unread=True)
                if head and parser.they_are_waiting_for_100_continue:
                    await self.send(parser.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")
                parser.receive_data(await self._receive())
            else:
                return None

    async def send(self, data: bytes) -> bool:
        """Hand all of this to the kernel.  False: the peer is gone."""
        view = memoryview(data)
        while view:
            try:
                view = view[self.sock.send(view) :]
            except BlockingIOError:
                await trio.lowlevel.wait_writable(self.sock)
            except ConnectionError:
                self._records.peer_closed(self.record, "rst")
                return False
        return True

    async def peer_leaves(self, *, unread: bool) -> None:
        """Return the moment the peer's close arrives, which is noted; ``unread``: what it sends must not be read."""
        if unread:
            await self._glance()
            return
        while data := await self._receive():
            self._early += data
            if len(self._early) > _EARLY:
                self._records.peer_closed(self.record, "flood")
                return

    async def refuse(self, status: int, why: str) -> None:
        """Answer what is no request, and read on for a moment so that the answer arrives."""
        body = msgspec.json.encode({"error": {"message": why, "code": status}})
        await self.send(message(status, [("Content-Type", "application/json"), ("Connection", "close")], body))
        with trio.move_on_after(_LINGER):
            self.finish()
            while await self._receive():
                pass

    def finish(self) -> None:
        """Send the FIN."""
        try:
            self.sock.shutdown(socket.SHUT_WR)
        except OSError:
            # the peer was faster
            return

    def reset(self) -> None:
        """Make the coming close an RST."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    async def _receive(self) -> bytes:
        """The next bytes; none when the peer has closed, which is noted."""
        while True:
            await trio.lowlevel.wait_readable(self.sock)
            try:
                data = self.sock.recv(_READ)
            except BlockingIOError:
                continue
            except ConnectionError:
                self._records.peer_closed(self.record, "rst")
                return b""
            if not data:
                self._records.peer_closed(self.record, "fin")
            return data

    async def _glance(self) -> None:
        """Wait for the peer's close without reading: a FIN behind unread bytes wakes nobody, only the state tells."""
        while True:
            state = self.sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_INFO, 1)[0]
            if state in (_TCP_CLOSE, _TCP_CLOSE_WAIT):
                self._records.peer_closed(self.record, "fin" if state == _TCP_CLOSE_WAIT else "rst")
                return
            await trio.sleep(_GLANCE)


def _request(head: h11.Request, body: bytes, *, unread: bool = False) -> Request:
    headers = [(name.decode("latin-1"), value.decode("latin-1")) for name, value in head.headers]
    http10 = head.http_version != b"1.1"
    close = http10 or any(name == "connection" and "close" in value.lower() for name, value in headers)
    return Request(
        method=head.method.decode(),
        target=head.target.decode("latin-1"),
        headers=headers,
        body=body,
        unread=unread,
        close=close,
        http10=http10,
    )
