"""Names to addresses, each name in threads of its own: one whose servers do not answer holds up no other.

The C library's lookup blocks and cannot be cancelled; trio lets go of its thread, which then still counts against a
limit that by default all names share.
"""

from __future__ import annotations

import socket
from typing import Any

import trio

#: Lookups of one name at a time; more wait, as long as their connect budget lets them.
AT_ONCE = 4


class Lookups(trio.abc.HostnameResolver):
    """For ``trio.socket.set_custom_hostname_resolver``.  Names come from the configuration, so they are few."""

    def __init__(self) -> None:
        self._limits: dict[bytes | None, trio.CapacityLimiter] = {}

    async def getaddrinfo(
        self,
        host: bytes | None,
        port: bytes | str | int | None,
        family: int = 0,
        type: int = 0,  # noqa: A002
        proto: int = 0,
        flags: int = 0,
    ) -> list[Any]:
        limiter = self._limits.setdefault(host, trio.CapacityLimiter(AT_ONCE))
        return await trio.to_thread.run_sync(
            socket.getaddrinfo, host, port, family, type, proto, flags, limiter=limiter, abandon_on_cancel=True
        )

    async def getnameinfo(self, sockaddr: tuple[str, int] | tuple[str, int, int, int], flags: int) -> tuple[str, str]:
        return await trio.to_thread.run_sync(socket.getnameinfo, sockaddr, flags, abandon_on_cancel=True)
