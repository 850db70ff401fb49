"""Frames of a WebSocket: what a client may send, and how a message is sent to it.

What comes is judged by the header of each frame, before its payload is here.  wsproto asks its extensions about every
header; this one extends nothing: it is never offered, and only says no.
"""

from __future__ import annotations

from collections.abc import Callable

from wsproto.extensions import Extension
from wsproto.frame_protocol import CloseReason, FrameDecoder, FrameProtocol, Opcode, RsvBits

from penstock.config.model import Limits
from penstock.errors import NoRoom
from penstock.server.arrival import Arrival
from penstock.server.room import Share

NO_BITS = RsvBits(False, False, False)
#: A ping without words (RFC 6455 5.5.2).
PING = b"\x89\0"


def text_frame(text: bytes) -> bytes:
    """A message in one frame, as servers send it (RFC 6455 5.2); wsproto takes eight times as long, for each token."""
    size = len(text)
    if size < 126:
        return b"\x81%c%b" % (size, text)
    if size < 1 << 16:
        return b"\x81\x7e%b%b" % (size.to_bytes(2), text)
    return b"\x81\x7f%b%b" % (size.to_bytes(8), text)


class Bounds(Extension):
    """``why`` says what was refused; ``message`` is the one on its way."""

    name = "penstock-bounds"

    def __init__(self, limits: Limits, now: Callable[[], float], share: Share) -> None:
        self.why: str | None = None
        self.message: Arrival | None = None
        self._limits = limits
        self._now = now
        self._share = share
        #: whether the frame at hand is a control frame
        self._controls = False
        self._frames = 0
        self._second = now()
        self._pings = 0

    def enabled(self) -> bool:
        """Always."""
        return True

    def offer(self) -> bool | str:
        """Never."""
        return False

    def frame_inbound_header(
        self, proto: FrameDecoder | FrameProtocol, opcode: Opcode, rsv: RsvBits, payload_length: int
    ) -> CloseReason | RsvBits:
        """Whether this frame may come, and else the code that closes the connection (RFC 6455 7.4.1).

        wsproto asks again about a header that comes in pieces, so what is counted is counted when the frame is whole.
        """
        self._controls = opcode.iscontrol()
        if self._controls:
            return self._control()
        if opcode is Opcode.BINARY:
            return self._no(CloseReason.UNSUPPORTED_DATA, "penstock takes text only")
        limits = self._limits
        if self.message is None:
            self.message, self._frames = Arrival("a message", limits, self._now()), 0
        if self.message.size + payload_length > limits.body:
            return self._no(CloseReason.MESSAGE_TOO_BIG, f"a message is larger than limits.body ({limits.body} bytes)")
        if self._frames >= limits.fragments:
            return self._no(
                CloseReason.MESSAGE_TOO_BIG, f"a message has more frames than limits.fragments ({limits.fragments})"
            )
        return NO_BITS

    def frame_inbound_payload_data(self, proto: FrameDecoder | FrameProtocol, data: bytes) -> bytes | CloseReason:
        """A piece of a frame, as it is, where there is room for it."""
        if self.message is not None and not self._controls:
            self.message.size += len(data)
            try:
                self._share.take(len(data))
            except NoRoom as error:
                return self._no(CloseReason.TRY_AGAIN_LATER, error.message)
        return data

    def frame_inbound_complete(self, proto: FrameDecoder | FrameProtocol, fin: bool) -> None:
        """Nothing to add."""
        if self._controls:
            self._pings += 1
        else:
            self._frames += 1

    def message_is_here(self) -> None:
        """All of the message has come, and is somebody else's."""
        self.message = None
        self._share.give_back()

    def _control(self) -> CloseReason | RsvBits:
        now = self._now()
        if now - self._second >= 1:
            self._second, self._pings = now, 0
        if self._pings >= self._limits.pings:
            why = f"more control frames in a second than limits.pings ({self._limits.pings})"
            return self._no(CloseReason.POLICY_VIOLATION, why)
        return NO_BITS

    def _no(self, code: CloseReason, why: str) -> CloseReason:
        self.why = why
        return code
