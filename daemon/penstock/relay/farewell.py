"""What some backends must be told besides the close of a connection: that nobody wants their answer any more."""

from __future__ import annotations

from penstock.dialects.base import Call
from penstock.errors import PenstockError
from penstock.relay.backends import Backend

#: Seconds for all of it; the backend's slot is kept as long, since it may still be at work.
BUDGET = 1.0


async def farewell(backend: Backend, call: Call) -> None:
    """Send the call over a connection of its own and wait for its answer's head, whatever it is."""
    transport = backend.transport
    try:
        exchange = await transport.connect(transport.outgoing(call.method, call.path, call.body))
        try:
            await exchange.send()
            await exchange.head()
        finally:
            exchange.close()
    except PenstockError:
        # A backend that cannot be reached generates nothing, or stops by the close alone.
        pass
