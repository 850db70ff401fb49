"""One WebSocket after its handshake: messages in, lines out as messages, pings, and an end that says why.

wsproto reads the frames.  Whoever sends does so at once or waits his turn; what has to wait for the client to read is
sent by one task at a time.  Not a byte is read while the answer to the last message waits.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress
from io import StringIO
from math import inf

import trio
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionState, ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage
from wsproto.frame_protocol import CloseReason

from penstock.config.model import Config
from penstock.errors import BadRequest, ClientError, ClientGone, ClientStalled
from penstock.server.connection import LINGER, Connection
from penstock.server.frames import PING, Bounds, text_frame
from penstock.server.room import Share


class WebSocket:
    """``listen``, then ``take_leave``; everything else may be called in between, from any task."""

    def __init__(self, connection: Connection, config: Config) -> None:
        #: what the client did that ended it
        self.fault: BadRequest | None = None
        self._connection = connection
        self._limits = config.limits
        self._heartbeat = config.server.heartbeat
        self._write = config.timeouts.write
        self._share = self.share()
        self._bounds = Bounds(config.limits, trio.current_time, self._share)
        self._protocol = Protocol(ConnectionType.SERVER, [self._bounds])
        self._message = StringIO()
        self._writing = trio.Lock()
        self._stalled: ClientStalled | None = None
        self._listening = trio.CancelScope()
        self._heard_at = trio.current_time()
        #: when something was last asked or told
        self._used_at = self._heard_at
        #: since when the client owes us a sign of life
        self._pinged_at: float | None = None
        #: whether nothing that comes can be understood any more: wsproto reads no further than to a fault
        self._deaf = False

    def share(self) -> Share:
        """Room for what somebody keeps of a message."""
        return Share(self._connection.room, self._limits.bodies)

    # reading

    async def listen(self, early: bytes, heard: Callable[[str], None], at_work: Callable[[], bool]) -> None:
        """Hand on each message until the client leaves, or until :meth:`close`; ``early`` came with the handshake.

        While it is ``at_work`` it is not idle, however little is said.
        """
        data = early
        with self._listening, self._share, suppress(ClientError):
            while True:
                if data:
                    await self._take(data, heard)
                with trio.move_on_at(self._due()):
                    data = await self._connection.receive()
                    if not data:
                        return
                    self._heard_at, self._pinged_at = trio.current_time(), None
                    continue
                data = b""
                self._on_due(at_work)

    async def _take(self, data: bytes, heard: Callable[[str], None]) -> None:
        self._protocol.receive_data(data)
        for event in self._protocol.events():
            match event:
                case TextMessage():
                    self._message.write(event.data)
                    if event.message_finished:
                        self._bounds.message_is_here()
                        self._used_at = trio.current_time()
                        text, self._message = self._message.getvalue(), StringIO()
                        heard(text)
                case Ping():
                    self._put(self._protocol.send(event.response()))
                case CloseConnection():
                    self._closed_by(event)
                case _:
                    pass
            # However many messages came in one read, others have their turn, and each answer waits for its reader.
            await self.drain(self._write)

    def _closed_by(self, event: CloseConnection) -> None:
        """The client closes, or has sent what no client may."""
        if self._protocol.state is not ConnectionState.REMOTE_CLOSING:
            self._deaf = True
            no_text = event.code == CloseReason.INVALID_FRAME_PAYLOAD_DATA
            why = "a message is not UTF-8" if no_text else f"this is no WebSocket: {event.reason}"
            self._fault(CloseReason(event.code), self._bounds.why or why)
            return
        with suppress(ClientGone):
            self._connection.put(self._protocol.send(event.response()))
        self._listening.cancel(reason="closed by the client")

    # time

    def _due(self) -> float:
        """When something is to be done if nothing comes."""
        message = self._bounds.message
        owed = self._heard_at + self._heartbeat if self._pinged_at is None else self._pinged_at + self._limits.pong_time
        return min(owed, self._used_at + self._limits.websocket_idle, inf if message is None else message.due)

    def _on_due(self, at_work: Callable[[], bool]) -> None:
        now, limits, message = trio.current_time(), self._limits, self._bounds.message
        if message is not None and now >= message.due:
            self._fault(CloseReason.POLICY_VIOLATION, message.why(now))
        elif now >= self._used_at + limits.websocket_idle:
            if at_work():
                self._used_at = now
            else:
                why = f"not used for limits.websocket_idle ({limits.websocket_idle:g} s): connect again"
                self.close(CloseReason.GOING_AWAY, why)
        elif self._pinged_at is None:
            self._put(self._ping())
        elif now < self._pinged_at + limits.pong_time:
            # a chat's heartbeat was the first to ping
            pass
        elif self._connection.is_waiting:
            # It cannot have seen the ping yet; the write budget decides.
            self._pinged_at = now
        else:
            why = f"no sign of life within limits.pong_time ({limits.pong_time:g} s)"
            self._fault(CloseReason.POLICY_VIOLATION, why)

    # writing

    def say(self, lines: bytes) -> bool:
        """Send a message for each line, a ping for an empty one; False when some have to wait.  Raises ClientGone."""
        self._used_at = trio.current_time()
        return self._put(b"".join([text_frame(line) if line else self._ping() for line in lines.splitlines()]))

    async def drain(self, write: float) -> None:
        """Wait until all has been accepted.  Raises ClientGone, or ClientStalled after ``write`` seconds of nothing."""
        async with self._writing:
            if self._stalled is not None:
                raise self._stalled
            try:
                await self._connection.flush(write)
            except ClientStalled as error:
                self._stalled = error
                raise

    def _ping(self) -> bytes:
        if self._pinged_at is None:
            self._pinged_at = trio.current_time()
        return PING

    def _put(self, frames: bytes) -> bool:
        if self._protocol.state is not ConnectionState.OPEN:
            raise ClientGone("the WebSocket is closed")
        return self._connection.put(frames)

    # leaving

    def close(self, code: CloseReason, why: str) -> None:
        """Say why, and end :meth:`listen`; the first reason stays."""
        if self._protocol.state is ConnectionState.OPEN:
            with suppress(ClientGone):
                self._connection.put(self._protocol.send(CloseConnection(code, why)))
            self._listening.cancel(reason=why)

    def _fault(self, code: CloseReason, why: str) -> None:
        """Close for something that the client did or failed to do."""
        self.fault = BadRequest(f"closed with {code.value}: {why}")
        self.close(code, why)

    def cut(self) -> None:
        """Close without a word."""
        self._connection.reset()

    async def take_leave(self) -> None:
        """Give what was said last a moment to arrive, and the client one to answer it, then close."""
        with trio.move_on_after(LINGER), suppress(ClientError):
            await self.drain(LINGER)
            while not self._deaf and self._protocol.state is ConnectionState.LOCAL_CLOSING:
                data = await self._connection.receive()
                self._protocol.receive_data(data or None)
                self._deaf = any(isinstance(event, CloseConnection) for event in self._protocol.events())
            # A reset could destroy what is on its way, so what still comes is taken, and dropped.
            self._connection.linger()
            while await self._connection.receive():
                pass
        self._connection.close()
