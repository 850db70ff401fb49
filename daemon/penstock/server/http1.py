"""HTTP/1.1 towards the client: Hypercorn's protocol class with its measured holes closed.

* Bytes after a request (a stray line end, a pipelined request) made it stop reading, and so blind to the client's
  leaving.  Here reading goes on; what came early is dropped with the connection when the running answer is over.
* Clear-text HTTP/2, by preface or by ``Upgrade: h2c``, cannot be switched off there.  Here it is refused.
* After an answer that says so it did not close the connection.  Here it does.
"""

from __future__ import annotations

from collections.abc import Callable

import h11
from hypercorn.events import Closed, Updated
from hypercorn.protocol.events import Body, Data, EndBody, StreamClosed
from hypercorn.protocol.h11 import STREAM_ID, H11Protocol, H11WSConnection

#: Bytes that may come while an answer runs before the connection is closed for them.
MOST_EARLY = 65536


class Http1(H11Protocol):
    """One client connection's protocol.

    ``early``: the client sent more than the running request.  ``on_request`` is called when a request's head is here.
    """

    early = False
    on_request: Callable[[], None]

    async def _handle_events(self) -> None:
        while True:
            if self.connection.they_are_waiting_for_100_continue:
                await self._send_h11_event(h11.InformationalResponse(status_code=100, headers=[]))
            try:
                event = self.connection.next_event()
            except h11.RemoteProtocolError as error:
                if self.connection.our_state in {h11.IDLE, h11.SEND_RESPONSE}:
                    await self._send_error_response(error.error_status_hint)
                await self.send(Closed())
                return
            if isinstance(event, h11.Request):
                if not await self._begin(event):
                    return
            elif event is h11.PAUSED:
                await self._hold_early()
                return
            elif isinstance(event, h11.ConnectionClosed) or event is h11.NEED_DATA or self.stream is None:
                return
            elif isinstance(event, h11.Data):
                await self.stream.handle(Body(stream_id=STREAM_ID, data=bytes(event.data)))
            elif isinstance(event, h11.EndOfMessage):
                await self.stream.handle(EndBody(stream_id=STREAM_ID))
            elif isinstance(event, Data):
                await self.stream.handle(event)

    async def _begin(self, request: h11.Request) -> bool:
        if request.http_version not in (b"1.1", b"1.0") or upgrades_to_h2(request):
            await self._send_error_response(400)
            await self.send(Closed())
            return False
        self.on_request()
        await self._create_stream(request)
        return True

    async def _hold_early(self) -> None:
        waiting, _ = self.connection.trailing_data
        if isinstance(self.connection, H11WSConnection):
            return
        # Some clients send a line end after a body; h11 skips it before the next request.
        self.early = bool(waiting.strip(b"\r\n"))
        if len(waiting) > MOST_EARLY:
            await self.send(Closed())

    async def _maybe_recycle(self) -> None:
        """The answer is over: be ready for the next request, or close.

        Ready before anything else may run: the client has all of the answer, and its next request can be here at once.
        """
        stream, self.stream = self.stream, None
        connection = self.connection
        ready = (
            connection.our_state is h11.DONE
            and connection.their_state is h11.DONE
            and not self.early
            and not self.context.terminated.is_set()
        )
        if ready:
            connection.start_next_cycle()
            await self.send(Updated(idle=True))
        else:
            await self.send(Closed())
        if stream is not None:
            await stream.handle(StreamClosed(stream_id=STREAM_ID))


def upgrades_to_h2(request: h11.Request) -> bool:
    """Whether the client wants to leave HTTP/1.1 for HTTP/2 (RFC 9113 has removed this way of doing so)."""
    for name, value in request.headers:
        if name == b"upgrade" and any(token.strip().lower() == b"h2c" for token in value.split(b",")):
            return True
    return False
