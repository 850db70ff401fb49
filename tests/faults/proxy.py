"""A proxy of bytes that does to a connection what a bad network does: one listener, one upstream, some toxics."""

from __future__ import annotations

import random
import socket
import struct
from collections.abc import Iterable
from contextlib import suppress

import trio

from faults.toxics import Course, End, Step, Toxic

#: What is passed on at a time.
READ = 65536


class Proxy:
    """Passes on what comes, each connection under one of the toxics that there are at its begin, as the dice say.

    ``address`` is where, ``upstream`` the port behind it; ``passed`` counts the bytes of the answers, ``open`` the
    connections.
    """

    def __init__(self, upstream: int, *toxics: Toxic) -> None:
        self.upstream = upstream
        self.toxics = toxics
        self._dice = random.Random(repr(toxics))
        self.passed = 0
        self.connections = 0
        self.open = 0
        self.address = ""

    async def serve(self, *, task_status: trio.TaskStatus[Proxy] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve on a port of its own until cancelled; started with itself."""
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        self.address = f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
        task_status.started(self)
        await trio.serve_listeners(self._converse, [listener])

    async def _converse(self, near: trio.SocketStream) -> None:
        """One connection; it is over for both sides when the near side has closed, or an end came."""
        self.connections += 1
        self.open += 1
        try:
            async with near:
                try:
                    far = await trio.open_tcp_stream("127.0.0.1", self.upstream)
                except OSError:
                    reset(near)
                    return
                toxic = self._dice.choice(self.toxics)
                async with far, trio.open_nursery() as both:
                    both.start_soon(self._pump, near, far, both.cancel_scope, toxic, True)
                    both.start_soon(self._pump, far, near, both.cancel_scope, toxic, False)
        finally:
            self.open -= 1

    async def _pump(
        self, source: trio.SocketStream, sink: trio.SocketStream, both: trio.CancelScope, toxic: Toxic, upward: bool
    ) -> None:
        course = Course(toxic if toxic.upward == upward else Toxic(), self._dice)
        near = source if upward else sink
        try:
            end = await go(course.opened(), sink)
            while end is None and (data := await source.receive_some(READ)):
                self.passed += 0 if upward else len(data)
                end = await go(course.take(data), sink)
            if end is not None:
                await finish(end, near)
                # Open still: until the near side leaves, which the direction upward hears of.
                if not upward:
                    await trio.sleep_forever()
                while await source.receive_some(READ):
                    pass
        except (trio.BrokenResourceError, trio.ClosedResourceError):
            # What resets one side resets the other.
            reset(near)
        both.cancel(reason="one side has ended")


async def go(steps: Iterable[Step], sink: trio.SocketStream) -> End | None:
    """Take the steps; returns the end if it came to one."""
    for step in steps:
        match step:
            case bytes():
                await sink.send_all(step)
            case float():
                await trio.sleep(step)
            case _:
                return step
    return None


async def finish(end: End, near: trio.SocketStream) -> None:
    """End the near side so.  Raises ClosedResourceError where nothing of it is open any more."""
    match end:
        case "reset":
            reset(near)
        case "close":
            near.socket.close()
        case "half-close":
            with suppress(OSError):
                # it may have left already
                near.socket.shutdown(socket.SHUT_WR)
            return
        case "silence":
            return
    raise trio.ClosedResourceError


def reset(stream: trio.SocketStream) -> None:
    """Close with RST, if it is not closed yet."""
    with suppress(OSError):
        stream.socket.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    stream.socket.close()
