"""A client connection whose answer comes over a WebSocket (RFC 6455); its frames, too, are found by their marks."""

from __future__ import annotations

import struct

from .client import Client

#: The mask of RFC 6455 5.3 that changes nothing.
_MASK = bytes(4)
_TEXT, _MASKED, _LONG = 0x81, 0x80, 126


class WebSocketClient(Client):
    """See :class:`~.client.Client`; one chat."""

    welcome = b"HTTP/1.1 101 "
    cut = b"}"

    def request(self, *, stream: bool) -> bytes:
        """The handshake, and without waiting for its answer what it is for."""
        handshake = (
            f"GET {self.encoding.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nUpgrade: websocket\r\n"
            "Connection: Upgrade\r\nSec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\nSec-WebSocket-Version: 13\r\n\r\n"
        ).encode()
        said = self.asked(type="chat.create", id="bench").encode()
        return handshake + struct.pack("!BBH", _TEXT, _MASKED | _LONG, len(said)) + _MASK + said

    def is_over(self) -> bool:
        """Whether the last message of the chat is here; the connection stays."""
        return self.encoding.terminal in self.tail and self.tail.endswith(b"}")
