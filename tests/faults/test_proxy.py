"""The proxy does to a connection what its toxic says, and nothing else."""

from __future__ import annotations

import random
import time
from contextlib import suppress
from functools import partial

import msgspec
import pytest
import trio

from faults.proxy import Proxy
from faults.toxics import Course, Step, Toxic

TEXT = bytes(range(256)) * 8


@pytest.mark.parametrize(
    ("toxic", "pieces", "steps"),
    [
        (Toxic(), [b"abc", b"de"], [b"abc", b"de"]),
        (Toxic(slices=2), [b"abcde"], [b"ab", b"cd", b"e"]),
        (Toxic(latency=0.5, slices=2), [b"abc"], [0.5, b"ab", 0.5, b"c"]),
        (Toxic(bandwidth=10), [b"abc"], [0.3, b"abc"]),
        (Toxic(end="reset"), [b"abc"], ["reset"]),
        (Toxic(end="close", after=2), [b"abc"], [b"ab", "close"]),
        (Toxic(end="close", after=3), [b"abc", b"d"], [b"abc", "close"]),
        (Toxic(end="close", mark=b"cd", after=1), [b"abc", b"def"], [b"abc", b"de", "close"]),
        (Toxic(end="silence", mark=b"x"), [b"abc"], [b"abc"]),
        (Toxic(end="half-close", after=9), [b"abc"], [b"abc"]),
    ],
)
def test_the_steps_of_a_toxic(toxic: Toxic, pieces: list[bytes], steps: list[Step]) -> None:
    course = Course(toxic, random.Random(0))
    taken = list(course.opened())
    for piece in pieces:
        taken += [] if taken and isinstance(taken[-1], str) else course.take(piece)
    assert taken == steps


def test_jitter_is_never_more_than_it_says() -> None:
    course = Course(Toxic(latency=1.0, jitter=2.0, slices=1), random.Random(0))
    waits = [step for step in course.take(TEXT) if isinstance(step, float)]
    assert 1.0 <= min(waits) < 1.1 and 2.9 < max(waits) <= 3.0


@pytest.mark.parametrize("upward", [False, True], ids=["answer", "request"])
@pytest.mark.parametrize(
    ("toxic", "got", "end"),
    [
        (Toxic(), TEXT, "fin"),
        (Toxic(slices=100, latency=0.001, jitter=0.001), TEXT, "fin"),
        (Toxic(bandwidth=20_000), TEXT, "fin"),
        (Toxic(end="close", after=100), TEXT[:100], "fin"),
        (Toxic(end="half-close", mark=TEXT[:200]), TEXT[:200], "fin"),
        (Toxic(end="reset", after=100), TEXT[:100], "rst"),
        (Toxic(end="silence", after=100), TEXT[:100], "open"),
    ],
)
async def test_over_real_sockets(toxic: Toxic, got: bytes, end: str, upward: bool, nursery: trio.Nursery) -> None:
    """An echo behind it; what ends the request ends the connection for whoever asks."""
    if upward:
        toxic = msgspec.structs.replace(toxic, upward=True)
    heard = bytearray()
    over = trio.Event()

    async def echo(stream: trio.SocketStream) -> None:
        with suppress(trio.BrokenResourceError):
            async with stream:
                while len(heard) < len(TEXT) and (data := await stream.receive_some()):
                    heard.extend(data)
                    await stream.send_all(data)
        over.set()

    (listener,) = await nursery.start(partial(trio.serve_tcp, echo, 0, host="127.0.0.1"))
    proxy = await nursery.start(Proxy(listener.socket.getsockname()[1], toxic).serve)
    host, _, port = proxy.address.removeprefix("http://").partition(":")
    began = time.monotonic()
    stream = await trio.open_tcp_stream(host, int(port))
    came = bytearray()
    with trio.fail_after(20):
        async with stream:
            await stream.send_all(TEXT)
            try:
                with trio.move_on_after(0.3 if end == "open" else 20) as patience:
                    async for data in stream:
                        came += data
                seen = "open" if patience.cancelled_caught else "fin"
            except trio.BrokenResourceError:
                seen = "rst"
        await over.wait()
        while proxy.open:
            await trio.sleep(0.001)
    assert seen == end
    if upward:
        assert bytes(heard) == got
        assert got.startswith(bytes(came))
    else:
        # a reset may overtake what was sent before it
        assert bytes(came) == got or (end == "rst" and got.startswith(came))
    if toxic.bandwidth:
        assert time.monotonic() - began > len(TEXT) / toxic.bandwidth
