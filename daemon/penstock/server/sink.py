"""The client as the relay and the routes see it: one answer, on its way to the connection."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from hypercorn.typing import HTTPScope

from penstock.relay.delivery import Headers
from penstock.server.connection import STATE_KEY, Connection


class Sink:
    """One answer to one client; implements :class:`penstock.relay.delivery.Client`.

    Frames of a chunked body are made here and leave h11 in its sending state, so that it then writes the end.  Only a
    body of known length goes through h11, which counts it.  HTTP/1.0 clients get bytes without frames, and a closed
    connection as their end.  ``more`` are headers of every answer to this request.
    """

    def __init__(self, scope: HTTPScope, more: Sequence[tuple[bytes, bytes]] = ()) -> None:
        connection = scope["state"][STATE_KEY]
        assert isinstance(connection, Connection)
        self._connection = connection
        self._http_1_1 = scope["http_version"] == "1.1"
        self._bodiless = scope["method"] == "HEAD"
        self._more = more
        self._counted = False

    def start(self, status: int, headers: Headers) -> None:
        fields = [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in headers]
        self._counted = any(name == b"content-length" for name, _ in fields)
        self._connection.start(status, [*fields, *self._more])

    def put(self, data: bytes) -> bool:
        if self._bodiless:
            return True
        if self._counted:
            data = self._connection.counted(data)
        elif self._http_1_1:
            data = b"%x\r\n%b\r\n" % (len(data), data)
        return self._connection.put(data)

    async def drain(self, write: float) -> None:
        await self._connection.flush(write)

    async def finish(self, write: float) -> None:
        await self._connection.flush(write)
        await self._connection.finish()

    def cut(self) -> None:
        self._connection.reset()

    def while_here(self, left: Callable[[], None]) -> AbstractContextManager[object]:
        """The scope is there: all of the request runs in it."""
        self._connection.on_left(left)
        return nullcontext()
