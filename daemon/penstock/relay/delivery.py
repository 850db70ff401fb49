"""The client's side of one stream: the late commit of the status, the bytes, the heartbeats.

Until the first content, or until the grace is over, a failure keeps its real HTTP status.  After that the answer has
begun, and an error goes in-band, in the form that the client's dialect knows.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from typing import Protocol

from penstock.dialects.base import STREAM_HEADERS, Writer
from penstock.errors import PenstockError

Headers = list[tuple[str, str]]


class Client(Protocol):
    """The connection to the client, as the server gives it to the relay.

    Bytes are taken at once or not at all by ``put``, and waited for by ``drain`` only.  All raise ClientGone when the
    connection is lost, ``drain`` and ``finish`` also ClientStalled when no byte is accepted for ``write`` seconds.
    """

    def start(self, status: int, headers: Headers) -> None:
        """Set the head; it leaves with the first bytes.  Without a Content-Length the body is chunked."""

    def put(self, data: bytes) -> bool:
        """Hand over bytes of the body; False when some of them have to wait for the client to read."""

    async def drain(self, write: float) -> None:
        """Wait until the client has accepted all that was put."""

    async def finish(self, write: float) -> None:
        """End the body well-formed."""

    def cut(self) -> None:
        """Close the connection in mid-body, so that the client sees a transport error and not a short success."""

    def while_here(self, left: Callable[[], None]) -> AbstractContextManager[object]:
        """For work that is cancelled when the client has left: closed, reset or half-closed; ``left`` is called first.

        In a client that has left already, both happen at once.  The cancelled scope is this one, or one around it.
        """


class Delivery:
    """What one client gets."""

    #: of the attempt that is under way
    writer: Writer
    #: headers that name the stream and its target
    marks: Headers

    def __init__(self, client: Client) -> None:
        self.client = client
        #: of a good answer
        self.status = 200
        self.committed = False
        self.bytes_out = 0
        self.heartbeats = 0

    def commit(self, length: int | None = None) -> None:
        """Decide on the status of a good answer."""
        self.committed = True
        headers = [("Content-Type", self.writer.content_type), *self.marks]
        if self.writer.streaming:
            headers += STREAM_HEADERS
        if length is not None:
            headers.append(("Content-Length", str(length)))
        self.client.start(self.status, headers)

    def put(self, data: bytes) -> bool:
        """Hand over bytes, after the status; False when they have to wait."""
        if not self.committed:
            self.commit()
        self.bytes_out += len(data)
        return self.client.put(data)

    def put_last(self, data: bytes) -> bool:
        """Hand over the rest of a complete answer; a whole answer that nothing went before gets its length."""
        if not self.committed:
            self.commit(None if self.writer.streaming else len(data))
        self.bytes_out += len(data)
        return self.client.put(data) if data else True

    async def beat(self, write: float) -> None:
        """Give a sign of life, committing if need be."""
        self.heartbeats += 1
        if not self.put(self.writer.heartbeat()):
            await self.client.drain(write)

    async def fail(self, error: PenstockError, body: bytes, write: float) -> None:
        """End the answer with an error: ``body`` with its status if nothing went out, else in-band."""
        if not self.committed:
            self.committed = True
            self.client.start(error.status, [*error_headers(error), *self.marks, ("Content-Length", str(len(body)))])
            self.bytes_out += len(body)
            self.client.put(body)
            await self.client.finish(write)
            return
        data = self.writer.fail(error)
        self.bytes_out += len(data)
        if data and not self.client.put(data):
            await self.client.drain(write)
        if self.writer.clean_failure:
            await self.client.finish(write)
        else:
            self.client.cut()


def error_headers(error: PenstockError) -> Headers:
    """The headers of an answer that is an error."""
    headers = [("Content-Type", "application/json")]
    if error.retry_after is not None:
        headers.append(("Retry-After", str(max(1, round(error.retry_after)))))
    if error.should_retry is not None:
        headers.append(("x-should-retry", "true" if error.should_retry else "false"))
    return headers
