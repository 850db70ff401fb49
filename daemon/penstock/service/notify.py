"""What the service manager is told (sd_notify(3)): one datagram, and nothing that it does can hold us up."""

from __future__ import annotations

import socket
import weakref
from collections.abc import Mapping


class Notifier:
    """Speaks to the socket that ``$NOTIFY_SOCKET`` names: a path, or ``@`` and an abstract name.

    Without one it says nothing.  What a full or absent socket did not take goes with the next message, so that a lost
    READY=1 does not leave the manager waiting.  Its own socket is open from the begin on: a daemon that is out of file
    descriptors must not look to the watchdog like one that hangs.
    """

    def __init__(self, address: str | None) -> None:
        self._address: str | None = None
        if address and address[0] in "/@":
            self._address = "\0" + address[1:] if address[0] == "@" else address
            self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
            weakref.finalize(self, self._sock.close)
        self._owed: dict[str, str] = {}

    @classmethod
    def of(cls, environ: Mapping[str, str]) -> Notifier:
        return cls(environ.get("NOTIFY_SOCKET"))

    @property
    def is_heard(self) -> bool:
        """Whether there is a service manager."""
        return self._address is not None

    def tell(self, state: Mapping[str, str | int]) -> None:
        """Send assignments such as READY=1 and STATUS=…; never waits, never fails."""
        if self._address is None:
            return
        self._owed |= {name: str(value).replace("\n", " ") for name, value in state.items()}
        text = "\n".join(f"{name}={value}" for name, value in self._owed.items())
        try:
            self._sock.sendto(text.encode(), self._address)
        except OSError:
            return
        self._owed.clear()
