"""Clients that go on asking while something is done to the daemon, and count what they were not given."""

from __future__ import annotations

import trio

from rawhttp import call, connected


class Crowd:
    """Clients that ask for short streams one after the other, each over a new connection."""

    def __init__(self, address: str) -> None:
        self._address = address
        self.served = 0
        self.faults: list[str] = []

    async def ask(self) -> None:
        while True:
            try:
                async with connected(self._address) as client:
                    await client.send(call("sim:tokens=3", "Connection: close"))
                    answer = await client.rest()
            except OSError as error:
                self.faults.append(repr(error))
                continue
            if answer.startswith(b"HTTP/1.1 200 ") and b"[DONE]" in answer:
                self.served += 1
            else:
                self.faults.append(repr(answer))

    async def some_more(self) -> None:
        """Wait until a few more were served."""
        goal = self.served + 20
        while self.served < goal:
            await trio.sleep(0.01)
