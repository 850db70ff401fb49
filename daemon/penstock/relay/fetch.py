"""Short questions to a backend that are no streams: its models, one model's details."""

from __future__ import annotations

import httpx
import trio

from penstock.dialects.base import Call
from penstock.errors import BackendGarbled, ConnectTimeout
from penstock.relay.backends import Backend

#: Clients wait three to five seconds for a list of models.
BUDGET = 3.0
LARGEST_ANSWER = 16 * 1024 * 1024


async def fetch(backend: Backend, call: Call, *, budget: float = BUDGET) -> bytes:
    """Ask, and return the body of a 200.

    Raises BackendRefused for another status, ConnectFailed, ConnectTimeout, BackendGarbled or BackendTruncated.
    """
    transport = backend.transport
    with trio.move_on_after(budget):
        response = await transport.handle_async_request(
            transport.request(call.method, call.path, call.body, call.headers)
        )
        try:
            assert isinstance(response.stream, httpx.AsyncByteStream)
            body = bytearray()
            async for data in response.stream:
                body += data
                if len(body) > LARGEST_ANSWER:
                    raise BackendGarbled(f"backend '{backend.name}' answers {call.path} without end", "http")
        finally:
            await response.aclose()
        if response.status_code != 200:
            raise backend.south.refusal(response.status_code, bytes(body))
        return bytes(body)
    raise ConnectTimeout(f"backend '{backend.name}' did not answer {call.path} within {budget:g} s")
