"""The client as the relay sees it: heads through Hypercorn, the frames of a body straight to the connection."""

from __future__ import annotations

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope

from penstock.relay.delivery import Headers
from penstock.server.connection import STATE_KEY, Connection


class Sink:
    """One answer to one client; implements :class:`penstock.relay.delivery.Client`.

    Frames of a chunked body are made here and leave Hypercorn's h11 in its sending state; the empty last body message
    then writes the end.  Only a body of known length goes through h11, which counts it.  HTTP/1.0 clients get bytes
    without frames, and a closed connection as their end.
    """

    def __init__(self, scope: HTTPScope, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        connection = scope["state"][STATE_KEY]
        assert isinstance(connection, Connection)
        self._connection = connection
        self._http_1_1 = scope["http_version"] == "1.1"
        self._bodiless = scope["method"] == "HEAD"
        self._receive = receive
        self._send = send
        self._counted = False

    async def start(self, status: int, headers: Headers) -> None:
        self._counted = any(name == "Content-Length" for name, _ in headers)
        self._connection.hold_head()
        await self._send(
            {
                "type": "http.response.start",
                "status": status,
                "headers": [(name.lower().encode("ascii"), value.encode("ascii")) for name, value in headers],
            }
        )

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
        await self._send({"type": "http.response.body", "body": b"", "more_body": False})

    def cut(self) -> None:
        self._connection.reset()

    def while_here(self) -> trio.CancelScope:
        """See :meth:`Connection.while_here`."""
        return self._connection.while_here()

    async def gone(self) -> None:
        while (await self._receive())["type"] != "http.disconnect":
            pass
