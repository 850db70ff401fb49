"""Quart's view of one request, with what a stream needs: the body read within its limits, the work done in its nursery.

Quart sends the headers of a response before it enters the body: a client that leaves right then would leak the
backend's stream.  So a streaming route returns :class:`Work`, whose coroutine is run here, around handler and send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable
from quart import Request, Response
from quart_trio.asgi import TrioASGIHTTPConnection

from penstock.config.model import Limits
from penstock.errors import RequestError, SlowRequest, TooLarge
from penstock.server.connection import STATE_KEY, Connection
from penstock.server.sink import Sink

BODY_KEY = "penstock.body"
REFUSAL_KEY = "penstock.refusal"
#: The key of :class:`penstock.config.model.Limits` in the app's configuration.
LIMITS_KEY = "PENSTOCK_LIMITS"


class Work(Response):
    """An answer that is made while it is sent; ``run`` gets the client and returns when the answer is over."""

    def __init__(self, run: Callable[[Sink], Awaitable[object]]) -> None:
        super().__init__(b"")
        self.run = run


class HTTPConnection(TrioASGIHTTPConnection):
    """One request: body, dispatch, answer, in one task."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        state: dict[str, Any] = self.scope["state"]
        limits: Limits = self.app.config[LIMITS_KEY]
        try:
            body = await read_body(receive, self._announced(), limits)
        except RequestError as error:
            # raised again inside Quart, where the error handlers speak the caller's dialect
            state[REFUSAL_KEY] = error
            body = b""
        if body is None:
            return
        state[BODY_KEY] = body
        response = await self.app.handle_request(self._create_request_from_scope(send))
        if isinstance(response, Work):
            await response.run(Sink(self.scope, receive, send))
        else:
            assert isinstance(response, Response)
            await respond(response, state[STATE_KEY], send)

    def _announced(self) -> int:
        for name, value in self.scope["headers"]:
            if name == b"content-length":
                return int(value)
        return 0


async def respond(response: Response, connection: Connection, send: ASGISendCallable) -> None:
    """Send an answer that is all there, in one write."""
    connection.hold_head()
    await send(
        {
            "type": "http.response.start",
            "status": response.status_code,
            "headers": [(name.lower().encode("ascii"), value.encode("latin-1")) for name, value in response.headers],
        }
    )
    body = await response.get_data(as_text=False)
    await send({"type": "http.response.body", "body": body, "more_body": False})


async def read_body(receive: ASGIReceiveCallable, announced: int, limits: Limits) -> bytes | None:
    """The whole body, or None if the client left.  Raises TooLarge, SlowRequest."""
    too_large = TooLarge(f"the request body is larger than limits.body ({limits.body} bytes)")
    if announced > limits.body:
        raise too_large
    body = bytearray()
    with trio.move_on_after(limits.body_time):
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            body += message.get("body", b"")
            if len(body) > limits.body:
                raise too_large
            if not message.get("more_body", False):
                return bytes(body)
    raise SlowRequest(f"the request body did not arrive within limits.body_time ({limits.body_time:g} s)")


def body_of(request: Request) -> bytes:
    """The body of a request that came in through :class:`HTTPConnection`."""
    body = request.scope["state"][BODY_KEY]
    assert isinstance(body, bytes)
    return body


async def while_connected(sink: Sink, answer: Callable[[], Awaitable[tuple[int, bytes]]]) -> None:
    """Make a JSON answer that takes questions to backends, and drop it when the client leaves."""
    async with trio.open_nursery() as nursery:

        async def watch() -> None:
            await sink.gone()
            nursery.cancel_scope.cancel(reason="client_gone")

        nursery.start_soon(watch)
        status, body = await answer()
        await sink.start(status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))])
        sink.put(body)
        await sink.finish(WRITE)
        nursery.cancel_scope.cancel(reason="answered")


#: Seconds without an accepted byte for answers that are no streams.
WRITE = 30.0
