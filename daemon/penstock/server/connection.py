"""One client connection: reads that never stop, writes that are bounded, a close that closes.

Takes the place of Hypercorn's ``TCPServer``, which sends in a shielded scope without a deadline: there one client that
stops reading holds its handler, its backend stream and the whole shutdown for ever.  Hypercorn keeps heads, ends and
keep-alive; the frames of a streamed body go straight to the socket (:meth:`Connection.put`).
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Callable

import h11
import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.events import Closed, Event, RawData, Updated
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper, ConnectionState
from hypercorn.utils import parse_socket_addr

from penstock.config.model import Limits
from penstock.errors import ClientGone, ClientStalled, RequestError
from penstock.server.http1 import Headers, Http1
from penstock.server.inbox import Tasks
from penstock.server.room import Room

READ_SIZE = 65536
#: How long a connection that we end may go on sending what nobody reads.  Closing at once would reset it, and a
#: reset can destroy the answer that is still on its way.
LINGER = 1.0
#: The key of the connection in the ASGI scope's ``state``.
STATE_KEY = "penstock.connection"


def nothing() -> None:
    """For those who need not be told."""


class Connection:
    """``run`` it in its own task; it returns when the connection is closed and nothing of it is left.

    ``write`` seconds without an accepted byte end it, for answers that carry no budget of their own.  ``refused`` hears
    of what came that is no request, ``closed`` of the end.  ``room`` is what bodies may take.
    """

    def __init__(
        self,
        app: AppWrapper,
        config: HypercornConfig,
        context: WorkerContext,
        sock: socket.socket,
        *,
        limits: Limits,
        write: float,
        room: Room,
        refused: Callable[[RequestError], None],
        closed: Callable[[Connection], None],
    ) -> None:
        self._app = app
        self._config = config
        self._context = context
        self._sock = sock
        self._limits = limits
        self._idle = limits.header_time
        self._write = write
        self.room = room
        self._refused = refused
        self._on_closed = closed
        self._closed = False
        self._lingering = False
        self._in_request = False
        #: a head that waits for the first bytes of its body
        self._held = b""
        #: bytes that the client has not accepted yet
        self._pending = memoryview(b"")
        self._reading = trio.CancelScope()
        self._left = False
        self._while_here = trio.CancelScope()
        self._on_left: Callable[[], None] = nothing
        #: set when HTTP is over, where somebody waits for that
        self._upgraded: trio.Event | None = None

    async def run(self) -> None:
        try:
            client = parse_socket_addr(self._sock.family, self._sock.getpeername())
            server = parse_socket_addr(self._sock.family, self._sock.getsockname())
            async with Tasks() as tasks:
                state = ConnectionState({STATE_KEY: self})
                self._protocol = Http1(
                    self._app, self._config, self._context, tasks, state, False, client, server, self._send
                )
                self._protocol.on_request = self._begin_request
                self._protocol.on_refused = self._refused
                self._protocol.limits = self._limits
                await self._read()
                if self._upgraded is None:
                    self._left = True
                    self._on_left()
                    self._while_here.cancel(reason="client_gone")
                await self._protocol.handle(Closed())
                if self._upgraded is not None:
                    self._upgraded.set()
        except OSError:
            # getpeername of a client that has already left
            pass
        except Exception:
            # a bug, and no reason to end anybody else's connection
            await self._config.log.exception("a bug in penstock ended a client's connection")
        finally:
            self.close()
            self._on_closed(self)

    # reading

    async def _read(self) -> None:
        self._reading.deadline = trio.current_time() + self._idle
        with self._reading:
            await self._read_on()
        late = self._reading.cancelled_caught and trio.current_time() >= self._reading.deadline
        if late and not self._lingering and await self._protocol.refuse_late():
            with trio.move_on_after(LINGER):
                await self._read_on()

    async def _read_on(self) -> None:
        # A new connection's first request is here as a rule; later each read waits, so that nobody holds the loop.
        waits = False
        while data := await self.receive(waits=waits):
            waits = True
            if not self._lingering:
                await self._protocol.handle(RawData(data))

    async def receive(self, *, waits: bool = True) -> bytes:
        """The next bytes; b"" when the client has left.  For one task at a time; a cancelled call loses nothing.

        A half-close means leaving: no client here half-closes and goes on reading.
        """
        while not self._closed:
            try:
                if waits:
                    await trio.lowlevel.wait_readable(self._sock)
                waits = True
                return self._sock.recv(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, trio.ClosedResourceError):
                break
        return b""

    async def upgrade(self, headers: list[tuple[bytes, bytes]]) -> bytes:
        """Answer 101 and leave HTTP: from here on the caller reads, by :meth:`receive`, and closes.

        Returns what came early of the other protocol.  Raises ClientGone.
        """
        if self._left:
            raise ClientGone("the client has closed the connection")
        self._upgraded = trio.Event()
        self._reading.cancel(reason="upgraded")
        await self._upgraded.wait()
        http = self._protocol.connection
        while http.their_state is h11.SEND_BODY:
            # the end of a request that has no body
            http.next_event()
        self.put(http.send(h11.InformationalResponse(status_code=101, headers=headers)) or b"")
        return http.trailing_data[0]

    @property
    def is_waiting(self) -> bool:
        """Whether the client has not accepted all that was put."""
        return bool(self._pending)

    def _begin_request(self) -> None:
        self._in_request = True
        self._reading.deadline = float("inf")

    def drain(self) -> None:
        """The daemon stops: an idle connection goes now, a busy one after its answer."""
        if not self._in_request:
            self._reading.cancel(reason="draining")

    @property
    def has_whole_request(self) -> bool:
        """Whether the running request's body is all here."""
        return self._protocol.connection.their_state is h11.DONE

    def invite(self) -> None:
        """Let the body come of a client that waits to be told so (RFC 9110 10.1.1)."""
        http = self._protocol.connection
        if http.they_are_waiting_for_100_continue:
            with contextlib.suppress(ClientGone):
                self.put(http.send(h11.InformationalResponse(status_code=100, headers=[])) or b"")

    def while_here(self) -> trio.CancelScope:
        """A scope for one request, of which nobody but this client has anything: cancelled when the client leaves."""
        self._while_here = trio.CancelScope()
        if self._left:
            self._while_here.cancel(reason="client_gone")
        return self._while_here

    def on_left(self, left: Callable[[], None]) -> None:
        """Call this when the client leaves during the running request, right before the request is cancelled."""
        self._on_left = left
        if self._left:
            left()

    # writing

    def start(self, status: int, headers: Headers) -> None:
        """Set the head of an answer; it leaves with the first bytes of its body, in one write.  Raises ClientGone."""
        self._held = self._protocol.head(status, headers)

    def put(self, data: bytes) -> bool:
        """Write what the socket takes now; False when something had to be left for :meth:`flush`.

        Raises ClientGone.
        """
        if self._held:
            data = self._held + data
            self._held = b""
        if self._pending:
            self._pending = memoryview(bytes(self._pending) + data)
            return False
        if self._closed or self._lingering:
            raise ClientGone("the client has closed the connection")
        try:
            sent = self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError as error:
            raise ClientGone("the client has closed the connection") from error
        if sent == len(data):
            return True
        self._pending = memoryview(data)[sent:]
        return False

    def counted(self, data: bytes) -> bytes:
        """Bytes of a body whose length was announced, as they go out.  Raises ClientGone."""
        return self._protocol.counted(data)

    async def finish(self) -> None:
        """End the answer, and be ready for the next request.  Raises ClientGone."""
        await self._protocol.end()

    async def flush(self, write: float) -> None:
        """Wait until everything is accepted.  Raises ClientGone, or ClientStalled after ``write`` seconds of nothing.

        A cancelled call leaves the rest pending; it can be called again.
        """
        while self._pending:
            if self._closed:
                raise ClientGone("the client has closed the connection")
            try:
                with trio.move_on_after(write) as budget:
                    await trio.lowlevel.wait_writable(self._sock)
                if budget.cancelled_caught:
                    raise ClientStalled(f"the client accepted no byte for {write:g} s (write budget)")
                sent = self._sock.send(self._pending)
            except (BlockingIOError, InterruptedError):
                continue
            except (OSError, trio.ClosedResourceError) as error:
                raise ClientGone("the client has closed the connection") from error
            self._pending = self._pending[sent:]

    async def _send(self, event: Event) -> None:
        """Hypercorn's way out."""
        if type(event) is RawData:
            # Hypercorn ends a counted body with an empty piece of data.
            if not event.data and not self._held:
                return
            try:
                if not self.put(event.data):
                    await self.flush(self._write)
            except (ClientGone, ClientStalled):
                self.close()
        elif type(event) is Closed:
            # What is still pending is of a client that does not read, and somebody may wait for it in flush.
            if self._held:
                await self._send(RawData(b""))
            self.linger()
            await self._protocol.handle(Closed())
        elif type(event) is Updated and event.idle:
            self._in_request = False
            self._on_left = nothing
            self._reading.deadline = trio.current_time() + self._idle
            if self._context.terminated.is_set():
                self.drain()

    def linger(self) -> None:
        """End our side, and let the reader wait a moment for the client to end its own."""
        if not self._closed and not self._lingering:
            self._lingering = True
            self._reading.deadline = trio.current_time() + LINGER
            with contextlib.suppress(OSError):
                self._sock.shutdown(socket.SHUT_WR)

    def reset(self) -> None:
        """Close in mid-answer: the client sees a body without its end."""
        self._held = b""
        self.close()

    def close(self) -> None:
        """Close now, without waiting; idempotent.  Wakes the reader and whoever waits in :meth:`flush`."""
        if not self._closed:
            self._closed = True
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()
