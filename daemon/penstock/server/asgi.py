"""Quart's view of one request, with what a stream needs: the body read within its limits, the work done in its task.

Quart sends the headers of a response before it enters the body: a client that leaves right then would leak the
backend's stream.  So a streaming route returns :class:`Work`, whose coroutine is run here, around handler and send.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from contextlib import nullcontext, suppress
from functools import cached_property
from typing import Any

import trio
from hypercorn.typing import ASGIReceiveCallable, ASGISendCallable, HTTPScope
from quart import Request, Response
from quart.wrappers.base import BaseRequestWebsocket
from quart_trio.asgi import TrioASGIHTTPConnection
from werkzeug.datastructures import Headers

from penstock.config.model import Limits
from penstock.errors import ClientError, RequestError, SlowRequest, TooLarge, UnsupportedMedia
from penstock.policy import guard
from penstock.policy.guard import FILE_TYPES
from penstock.server import guarding
from penstock.server.arrival import Arrival
from penstock.server.connection import STATE_KEY, Connection
from penstock.server.room import Share
from penstock.server.sink import Sink
from penstock.server.state import KEY, State

BODY_KEY = "penstock.body"
REFUSAL_KEY = "penstock.refusal"
#: Seconds without an accepted byte for answers that are no streams.
WRITE = 30.0
#: The key of :class:`penstock.config.model.Limits` in the app's configuration.
LIMITS_KEY = "PENSTOCK_LIMITS"


class Work(Response):
    """An answer that is made while it is sent; ``run`` gets the client and returns when the answer is over."""

    def __init__(self, run: Callable[[Sink], Awaitable[object]]) -> None:
        # Without a head or a body, which are the stream's, there is nothing for the base to make.
        self.run = run


class Asked(Request):
    """A request as the routes see it: its head.  Its body is not Quart's to read: see :func:`body_of`."""

    def __init__(self, scope: HTTPScope) -> None:
        BaseRequestWebsocket.__init__(
            self,
            scope["method"],
            scope["scheme"],
            scope["path"],
            scope["query_string"],
            Headers(),
            scope["root_path"],
            scope["http_version"],
            scope,
        )
        # made when somebody asks for them
        del self.headers

    @cached_property
    def headers(self) -> Headers:  # type: ignore[override]
        return Headers([(name.decode("latin-1"), value.decode("latin-1")) for name, value in self.scope["headers"]])


class HTTPConnection(TrioASGIHTTPConnection):
    """One request: body, dispatch, answer, in one task."""

    async def __call__(self, receive: ASGIReceiveCallable, send: ASGISendCallable) -> None:
        connection: Connection = self.scope["state"][STATE_KEY]
        limits: Limits = self.app.config[LIMITS_KEY]
        with Share(connection.room, limits.bodies) as share:
            await self._serve(receive, connection, limits, share)

    async def _serve(self, receive: ASGIReceiveCallable, connection: Connection, limits: Limits, share: Share) -> None:
        state: dict[str, Any] = self.scope["state"]
        daemon: State = self.app.config[KEY]
        asked = guarding.look(self.scope)
        sink = Sink(self.scope, guard.cors(daemon.guard, asked))
        try:
            guarding.admit(daemon.guard, daemon.keys, asked, self.scope)
            announced = self._announced()
            if announced is None or 0 < announced <= limits.body:
                connection.invite()
            body = await read_body(receive, announced, limits, share, is_here=connection.has_whole_request)
        except RequestError as error:
            # raised again inside Quart, where the error handlers speak the caller's dialect
            state[REFUSAL_KEY] = error
            share.give_back()
            body = b""
        if body is None:
            return
        state[BODY_KEY] = body
        # Also a route may have to ask backends, before it knows what to do.
        with connection.while_here() as scope:
            response = await self.app.handle_request(Asked(self.scope))
            if isinstance(response, Work):
                await response.run(sink)
                return
        if scope.cancelled_caught:
            return
        assert isinstance(response, Response)
        body = await response.get_data(as_text=False)
        if REFUSAL_KEY not in state:
            await respond(sink, response.status_code, list(response.headers), body)
            return
        # The client may still be sending, and reads the answer only if somebody takes what it sends.
        response.headers["Connection"] = "close"
        async with trio.open_nursery() as nursery:
            nursery.start_soon(disconnected, receive)
            await respond(sink, response.status_code, list(response.headers), body)

    def _announced(self) -> int | None:
        """The length of the body; None when only its end tells."""
        for name, value in self.scope["headers"]:
            if name == b"content-length":
                return int(value)
            if name == b"transfer-encoding":
                return None
        return 0


async def respond(sink: Sink, status: int, headers: list[tuple[str, str]], body: bytes) -> None:
    """Send an answer that is all there, in one write, unless the client has left."""
    with suppress(ClientError):
        sink.start(status, headers)
        if body:
            sink.put(body)
        await sink.finish(WRITE)


async def read_body(
    receive: ASGIReceiveCallable, announced: int | None, limits: Limits, share: Share, *, is_here: bool
) -> bytes | None:
    """The whole body, or None if the client left; ``is_here``: no byte of it is to come.

    Raises TooLarge, SlowRequest, NoRoom.
    """
    if announced == 0:
        return b""
    too_large = TooLarge(f"the request body is larger than limits.body ({limits.body} bytes)")
    if announced is not None and announced > limits.body:
        raise too_large
    body = bytearray()
    arrival = Arrival("the request body", limits, trio.current_time())
    # What is here already needs no clock.
    with nullcontext() if is_here else trio.CancelScope(deadline=arrival.due) as clock:
        while True:
            message = await receive()
            if message["type"] != "http.request":
                return None
            piece = message.get("body", b"")
            body += piece
            if len(body) > limits.body:
                raise too_large
            share.take(len(piece))
            if clock is not None:
                arrival.size = len(body)
                clock.deadline = arrival.due
            # The message that only says that this was all is left for whoever waits for the client to leave.
            if len(body) == announced or not message.get("more_body", False):
                return bytes(body)
    raise SlowRequest(arrival.why(trio.current_time()))


async def disconnected(receive: ASGIReceiveCallable) -> None:
    """Take and drop what the client sends, until it has left or the answer is over."""
    while (await receive())["type"] != "http.disconnect":
        pass


def body_of(request: Request) -> bytes:
    """The body of a request that came in through :class:`HTTPConnection`; to be taken once."""
    body = request.scope["state"].pop(BODY_KEY)
    assert isinstance(body, bytes)
    return body


def json_of(request: Request) -> bytes:
    """The same, of a request to a path that takes nothing but JSON.  Raises UnsupportedMedia for a file."""
    content_type = next((value for name, value in request.scope["headers"] if name == b"content-type"), b"")
    media_type = content_type.partition(b";")[0].strip().lower().decode("latin-1")
    if media_type in FILE_TYPES:
        raise UnsupportedMedia(f"the body is '{media_type}'; send it as application/json")
    return body_of(request)


async def while_connected(sink: Sink, answer: Callable[[], Awaitable[tuple[int, bytes]]]) -> None:
    """Make a JSON answer that takes questions to backends."""
    status, body = await answer()
    await respond(sink, status, [("Content-Type", "application/json"), ("Content-Length", str(len(body)))], body)
