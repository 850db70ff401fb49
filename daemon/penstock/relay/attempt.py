"""One target asked once: slot, connection, head, pump.

The pump is one coroutine: backend's bytes → events → life cycle → client's bytes.  No generator and no channel on the
path.  It waits in one cancel scope whose deadline is looked at only when it expires; then the clocks say whether a
budget is spent, or the client needs a heartbeat and the wait goes on, which it can, since a cancelled read loses
nothing.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from math import inf
from typing import TypeVar

import trio

from penstock.chat.events import PULSE, Event, Failed, Usage
from penstock.chat.lifecycle import Step
from penstock.chat.request import Request
from penstock.dialects.base import Call, Reader
from penstock.dialects.refusal import leads_to
from penstock.dialects.whole import InPieces
from penstock.errors import BackendGarbled, BackendRefused, BackendTruncated, ConnectFailed, ConnectTimeout, StreamError
from penstock.policy.admission import Ticket
from penstock.relay.account import Account
from penstock.relay.backends import Backend
from penstock.relay.delivery import Delivery
from penstock.relay.exchange import Exchange
from penstock.relay.farewell import BUDGET, farewell
from penstock.relay.heads import Head
from penstock.relay.tally import counted

#: How much of an error answer is read, and for how long.
LARGEST_REFUSAL = 65536
REFUSAL_TIME = 5.0
#: How long a slot is kept for the last chunk of a finished body, so that the connection can be kept as well.
SETTLE = 0.02

T = TypeVar("T")


class Attempt:
    """``run`` returns when the client has got a complete answer, and raises a StreamError otherwise.

    ``completed`` is called in between, when the client has accepted all but the end of the body.  When it is over the
    connection is closed or back in the idle list, and the slot is free; ``closed_at`` says when, and ``failed_at`` when
    that was decided.
    """

    def __init__(
        self,
        request: Request,
        backend: Backend,
        call: Call,
        *,
        account: Account,
        delivery: Delivery,
        completed: Callable[[], None],
    ) -> None:
        self.failed_at: float | None = None
        self.closed_at: float | None = None
        self._request = request
        self._backend = backend
        self._call = call
        self._account = account
        self._clocks = account.clocks
        self._delivery = delivery
        self._completed = completed
        self._exchange: Exchange | None = None
        #: whether the backend may be at work for this request
        self._asked = False

    async def run(self) -> None:
        gate = self._backend.gate
        ticket = Ticket()
        try:
            gate.ask(ticket)
            if not ticket.granted:
                woken = trio.Event()
                ticket.on_grant = woken.set
                await self._beating(woken.wait)
            self._account.enter(Step.SLOT)
            try:
                accepted = await self._converse()
                if accepted:
                    await self._finish()
                    await self._settle()
            except StreamError:
                self.failed_at = trio.current_time()
                raise
            finally:
                if self._exchange is not None:
                    self._exchange.close()
                self.closed_at = trio.current_time()
                if self._call.farewell is not None and self._asked and self._account.life.finish is None:
                    # Shielded, since the stream that ends is cancelled as a rule.
                    with trio.move_on_after(BUDGET, shield=True):
                        await farewell(self._backend, self._call.farewell)
        finally:
            gate.leave(ticket)
        if not accepted:
            # A client that reads slowly does not keep the slot.
            await self._delivery.client.drain(self._clocks.timeouts.write)
            await self._finish()

    async def _finish(self) -> None:
        # From here on the client may leave: it has all of the answer.
        self._completed()
        await self._delivery.client.finish(self._clocks.timeouts.write)

    async def _converse(self) -> bool:
        """Ask, pump, end; returns whether the client has accepted all of the answer."""
        exchange, reader = await self._open()
        await self._pump(exchange, reader)
        if not reader.complete:
            raise BackendTruncated("the backend ended its answer without a terminal marker")
        counts = await self._counts()
        return self._delivery.put_last(counts + self._delivery.writer.end(self._account.timing()))

    async def _counts(self) -> bytes:
        """What is to be told of the counts, where the backend has to be asked for them."""
        life, tally = self._account.life, self._call.tally
        if tally is None or life.usage is not None:
            return b""
        # It is of the answer that ended last, which with several slots may be another stream's.
        usage = await counted(self._backend, tally) if self._backend.gate.slots == 1 else None
        if usage is not None:
            life.follow([usage])
        return self._delivery.writer.write([usage or Usage(completion_tokens=life.tokens)])

    async def _open(self) -> tuple[Exchange, Reader]:
        """Connect, send the request, wait for the answer's head; the reader for its body."""
        call = self._call
        outgoing = self._backend.transport.outgoing(call.method, call.path, call.body, call.headers)
        exchange = await self._connect(outgoing, fresh=False)
        self._account.enter(Step.CONNECTED)
        try:
            head = await self._ask(exchange)
        except ConnectFailed:
            # A kept connection may have been closed by the backend in the very moment of its reuse.
            if not exchange.reused or exchange.answered:
                raise
            exchange.close()
            exchange = await self._connect(outgoing, fresh=True)
            head = await self._ask(exchange)
        if not head.is_success:
            raise await self._refusal(exchange, head)
        self._delivery.status = head.status_code
        self._account.enter(Step.HEAD)
        content_type = head.headers.get("content-type", "")
        backend, manner = self._backend, self._backend.manner
        reader = backend.south.reader(self._request, content_type, backend.limits, manner)
        return exchange, InPieces(reader, manner.piece) if manner.whole else reader

    async def _connect(self, outgoing: bytes, *, fresh: bool) -> Exchange:
        """A kept connection, or a new one; only a new one where a kept one turned out to be dead."""
        transport = self._backend.transport
        if not fresh and (kept := transport.reuse(outgoing)) is not None:
            self._exchange = kept
            return kept
        budget = self._clocks.timeouts.connect
        with trio.move_on_after(budget):
            self._exchange = await transport.connect(outgoing)
            return self._exchange
        host, port = transport.base.host, transport.base.port
        raise ConnectTimeout(f"no connection to {host}:{port} within the connect budget of {budget:g} s")

    async def _ask(self, exchange: Exchange) -> Head:
        if not exchange.send_now():
            await self._beating(exchange.send)
        self._asked = True
        return await self._beating(exchange.head)

    async def _refusal(self, exchange: Exchange, head: Head) -> BackendRefused:
        """Read what the backend says instead of an answer."""
        self._asked = False
        body = bytearray()
        with trio.move_on_after(REFUSAL_TIME):
            try:
                while len(body) < LARGEST_REFUSAL and (data := await exchange.receive()):
                    body += data
            except (BackendTruncated, BackendGarbled):
                # the status says enough
                pass
        refused = self._backend.south.refusal(head.status_code, bytes(body))
        if 300 <= head.status_code < 400:
            where = leads_to(head.headers.get("location", ""))
            refused.message += where
            refused.logged += where
        wait = head.headers.get("retry-after", "")
        if wait.isdecimal() and len(wait) < 6:
            # in seconds; what is a date says no more than our own guess (RFC 9110 10.2.3)
            refused.retry_after = float(wait)
        return refused

    async def _pump(self, exchange: Exchange, reader: Reader) -> None:
        account, clocks, delivery = self._account, self._clocks, self._delivery
        life, client, writer = account.life, delivery.client, delivery.writer
        # What comes before the first content is held back: until then another target may take over.
        held: list[Event] = []
        while not reader.done:
            with trio.CancelScope(deadline=clocks.due()) as scope:
                while not reader.done:
                    try:
                        data = await exchange.receive()
                    except BackendTruncated:
                        if reader.complete:
                            return
                        raise
                    now = trio.current_time()
                    account.bytes_in += len(data)
                    phase, advanced, tokens = life.phase, life.advanced, life.tokens
                    events = life.follow(reader.receive(data) if data else reader.end())
                    clocks.heard(now)
                    if life.advanced != advanced:
                        clocks.progressed(now)
                        if life.tokens != tokens:
                            account.tokens_at(now)
                    if anew := life.phase is not phase:
                        account.entered(phase)
                    if not (life.tokens or life.finish):
                        # of signs of life there may be any number
                        held += [event for event in events if event is not PULSE]
                        out = b""
                    else:
                        out = writer.write([*held, *events] if held else events)
                        held.clear()
                    if out:
                        if not delivery.put(out):
                            # The deadline must not cut a frame in two, nor count against the backend.
                            scope.deadline = inf
                            await client.drain(clocks.timeouts.write)
                            now = trio.current_time()
                            clocks.held_up(now)
                            anew = True
                        clocks.sent(now)
                    # To move a deadline costs more than to find at an early one that nothing is due.
                    if anew and (due := clocks.due()) < scope.deadline:
                        scope.deadline = due
                    if life.failure is not None:
                        raise error_of(life.failure)
                    if not data:
                        return
            if scope.cancelled_caught:
                if clocks.lingered(trio.current_time()):
                    return
                await self._on_due()

    async def _beating(self, wait: Callable[[], Awaitable[T]]) -> T:
        """Wait for something that may be cancelled and waited for again, under the clocks."""
        while True:
            with trio.CancelScope(deadline=self._clocks.due()):
                return await wait()
            await self._on_due()

    async def _on_due(self) -> None:
        """Something is due: an error, or a heartbeat."""
        clocks = self._clocks
        now = trio.current_time()
        error = clocks.spent(now)
        if error is not None:
            raise error
        if now >= clocks.beat_at():
            await self._delivery.beat(clocks.timeouts.write)
            clocks.sent(trio.current_time())

    async def _settle(self) -> None:
        """Read the end of the body if it is about to come."""
        exchange = self._exchange
        if exchange is None or exchange.ended:
            return
        # A client that leaves as soon as it has all is no reason to drop a good connection.
        with trio.move_on_after(SETTLE, shield=True):
            try:
                while await exchange.receive():
                    pass
            except (BackendTruncated, BackendGarbled):
                # The answer was complete: how the connection ends is of no interest.
                pass


def error_of(failure: Failed) -> BackendRefused | BackendGarbled:
    """The error that ends a stream after this event."""
    if failure.garbled is not None:
        return BackendGarbled(failure.message, failure.garbled)
    return BackendRefused(
        failure.message,
        status=failure.status or 502,
        backend_code=failure.code,
        backend_type=failure.type,
    )
