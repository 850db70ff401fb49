"""What the stand-in saw: every connection, every request, and when the peer left.

All times are seconds of CLOCK_MONOTONIC (``time.monotonic()``), the same clock in every process of a Linux machine, so
that a teardown can be timed from outside.  Everything is bounded: a ring of connections, an index of streams.
"""

from __future__ import annotations

import time
from collections import OrderedDict, deque
from collections.abc import Callable

import msgspec
import trio

#: Requests kept of one connection, and of one stream id.
_REQUESTS = 64


class RequestRecord(msgspec.Struct, kw_only=True):
    """One request and its answer."""

    id: str  #: from the header x-simulate-id, the script's id or the body's user; may be empty
    connection: int
    method: str
    path: str
    headers: list[tuple[str, str]]
    model: str = ""
    body: str = ""  #: the beginning of it
    body_bytes: int = 0
    parsed_at: float = 0.0
    slot_at: float | None = None  #: a slot was free and work began
    first_byte_at: float | None = None
    first_token_at: float | None = None
    last_byte_at: float | None = None
    ended_at: float | None = None
    tokens: int = 0  #: handed to the kernel, and those that a runaway made after the close
    bytes: int = 0
    #: ``done`` (all that the script has), ``peer_closed`` before that, ``stopped`` with the server
    end: str | None = None
    peer_closed_at: float | None = None
    peer_close: str | None = None  #: as in the connection
    tokens_at_close: int | None = None  #: tokens sent when the peer's close was seen


class ConnectionRecord(msgspec.Struct, kw_only=True):
    """One accepted connection."""

    number: int
    accepted_at: float
    peer_closed_at: float | None = None
    peer_close: str | None = None  #: ``fin``, ``rst``, or ``flood``: it sent too much while being answered
    closed_at: float | None = None  #: our own socket was closed
    requests: list[RequestRecord] = []


class Counters(msgspec.Struct, kw_only=True):
    """Totals since the start or the last reset; whoever reads the records is not counted."""

    accepted: int = 0
    closed: int = 0
    open: int = 0
    requests: int = 0  #: to paths that generate
    probes: int = 0  #: to all other paths
    running: int = 0  #: requests being answered now, waiting for a slot included
    queued: int = 0  #: of these, waiting for a slot
    done: int = 0
    cancelled_by_peer: int = 0  #: the peer closed before the script was done
    tokens: int = 0
    bytes: int = 0


class Records:
    """The books of one server."""

    def __init__(self, keep: int) -> None:
        self.counters = Counters()
        self.connections: deque[ConnectionRecord] = deque(maxlen=keep)
        self._streams: OrderedDict[str, deque[RequestRecord]] = OrderedDict()
        self._keep = keep
        self._serial = 0
        self._changed = trio.lowlevel.ParkingLot()

    def accepted(self) -> ConnectionRecord:
        self._serial += 1
        record = ConnectionRecord(number=self._serial, accepted_at=time.monotonic())
        self.connections.append(record)
        self.counters.accepted += 1
        self.counters.open += 1
        self._tell()
        return record

    def unaccept(self, record: ConnectionRecord) -> None:
        """This connection came to read the records and belongs in none."""
        if record in self.connections:
            self.connections.remove(record)
        self.counters.accepted -= 1
        self.counters.open -= 1

    def closed(self, record: ConnectionRecord) -> None:
        record.closed_at = time.monotonic()
        self.counters.closed += 1
        self.counters.open -= 1
        self._tell()

    def peer_closed(self, record: ConnectionRecord, how: str) -> None:
        if record.peer_closed_at is not None:
            return
        record.peer_closed_at, record.peer_close = time.monotonic(), how
        for request in record.requests[-1:]:
            request.peer_closed_at, request.peer_close = record.peer_closed_at, how
            request.tokens_at_close = request.tokens
            self.counters.cancelled_by_peer += request.end is None
        self._tell()

    def asked(self, connection: ConnectionRecord, request: RequestRecord) -> None:
        connection.requests.append(request)
        del connection.requests[:-_REQUESTS]
        self.counters.requests += 1
        self.counters.running += 1
        if request.id:
            self._streams.setdefault(request.id, deque(maxlen=_REQUESTS)).append(request)
            self._streams.move_to_end(request.id)
            if len(self._streams) > self._keep:
                self._streams.popitem(last=False)
        self._tell()

    def queued(self, waiting: int) -> None:
        """``waiting`` is +1 when a request begins to wait for a slot, -1 when it no longer does."""
        self.counters.queued += waiting
        self._tell()

    def sent(self, request: RequestRecord, size: int, tokens: int) -> None:
        now = time.monotonic()
        if size:
            request.last_byte_at = now
            if request.first_byte_at is None:
                request.first_byte_at = now
                self._tell()
        if tokens and request.first_token_at is None:
            request.first_token_at = now
            self._tell()
        request.tokens += tokens
        request.bytes += size
        self.counters.tokens += tokens
        self.counters.bytes += size

    def ended(self, request: RequestRecord, how: str) -> None:
        request.ended_at, request.end = time.monotonic(), how
        self.counters.running -= 1
        self.counters.done += how == "done"
        self._tell()

    def stream(self, name: str) -> list[RequestRecord]:
        """Every request with this id that is still known, newest last."""
        return list(self._streams.get(name, ()))

    def connection(self, number: int) -> ConnectionRecord | None:
        return next((record for record in reversed(self.connections) if record.number == number), None)

    def reset(self) -> None:
        """Forget everything but what is open or running now."""
        live = [record for record in self.connections if record.closed_at is None]
        self.connections.clear()
        self.connections.extend(live)
        self._streams.clear()
        counters = self.counters
        self.counters = Counters(open=counters.open, running=counters.running, queued=counters.queued)
        self._tell()

    async def until(self, state: Callable[[], bool]) -> None:
        """Wait until ``state()`` holds; it is asked again after every change but the sending of further tokens."""
        while not state():
            await self._changed.park()

    def _tell(self) -> None:
        self._changed.unpark_all()
