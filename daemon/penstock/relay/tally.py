"""The counts of an answer, asked for after it, where a backend does not tell them in it."""

from __future__ import annotations

from penstock.chat.events import Usage
from penstock.dialects.base import Tally
from penstock.errors import PenstockError
from penstock.relay.backends import Backend
from penstock.relay.fetch import fetch

#: Seconds; the client has all of the answer but its end, and waits.
BUDGET = 0.5


async def counted(backend: Backend, tally: Tally) -> Usage | None:
    """The counts, or None where the backend does not say them in time."""
    try:
        return tally.read(await fetch(backend, tally.call, budget=BUDGET))
    except PenstockError:
        return None
