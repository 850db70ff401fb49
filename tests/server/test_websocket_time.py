"""What a WebSocket's client may take its time for: a message has a rate, a connection that nobody uses has an end."""

from __future__ import annotations

import pytest
import trio
from house import settle_in

from penstock.config.model import Limits
from penstock.server.arrival import HEAD_START, Arrival
from rawwebsocket import CLOSE, CONTINUATION, PING, TEXT, Socket, create, frame, header, opened

IDLE = 0.3


@pytest.mark.parametrize(("size", "due"), [(0, 5.0), (1, 5.01), (500, 10.0), (995, 14.95), (999_999, 30.0)])
def test_every_byte_buys_time_but_never_beyond_the_whole(size: int, due: float) -> None:
    arrival = Arrival("a message", Limits(body_rate=100, body_time=30.0), begun=1000.0)
    arrival.size = size
    assert arrival.due == 1000.0 + due
    late = "slower than limits.body_rate (100 bytes a second)" if due < 30 else "within limits.body_time (30 s)"
    assert late in arrival.why(arrival.due)
    assert HEAD_START == 5.0


@pytest.mark.parametrize("beside", [b"", frame(PING, b"x" * 100)], ids=["alone", "beside pings"])
async def test_a_message_that_trickles_is_too_slow(
    beside: bytes, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """Long before its time is over; pings are no part of it."""
    monkeypatch.setattr("penstock.server.arrival.HEAD_START", 0.2)
    house = await settle_in(nursery, limits={"body_rate": 2000, "pings": 10_000})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(frame(TEXT, b"{", fin=False))
            async with trio.open_nursery() as sending:
                sending.start_soon(trickle, socket, beside)
                closed = await close_frame(socket)
                sending.cancel_scope.cancel()
    assert closed == b"\x03\xf0a message came slower than limits.body_rate (2000 bytes a second)"


async def trickle(socket: Socket, beside: bytes) -> None:
    try:
        while True:
            await socket.send(frame(CONTINUATION, b"x", fin=False), beside)
            await trio.sleep(0.01)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass


async def test_a_message_that_is_fast_enough_is_heard(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    monkeypatch.setattr("penstock.server.arrival.HEAD_START", 0.1)
    house = await settle_in(nursery, limits={"body_rate": 1})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            for piece in (b'{"type": "', b"x" * 10, b'"}'):
                await socket.send(frame(CONTINUATION if b"{" not in piece else TEXT, piece, fin=b"}" in piece))
                await trio.sleep(0.1)
            assert (await socket.told())["type"] == "error"


async def test_what_comes_byte_by_byte_is_counted_once(nursery: trio.Nursery) -> None:
    """The header of a frame too: a limit holds for what was sent, not for how it was cut."""
    house = await settle_in(nursery, limits={"body": 1024, "fragments": 2, "pings": 2}, server={"heartbeat": 60.0})
    message = frame(TEXT, b"{" * 600, fin=False) + frame(CONTINUATION, b"{" * 424)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            for byte in frame(PING, b"a") + frame(PING, b"b") + message:
                await socket.send(bytes((byte,)))
            assert (await socket.told())["type"] == "token"
            await socket.send(header(TEXT, 1025))
            assert (await socket.closing()).code == 1009


async def test_a_connection_that_nobody_uses_is_closed(nursery: trio.Nursery) -> None:
    """However often its client pings."""
    house = await settle_in(nursery, limits={"websocket_idle": IDLE}, server={"heartbeat": 60.0})
    with trio.fail_after(20):
        async with opened(house.address) as socket, trio.open_nursery() as pinging:
            begun = trio.current_time()

            @pinging.start_soon
            async def _() -> None:
                while True:
                    await socket.send(frame(PING))
                    await trio.sleep(IDLE / 5)

            closed = await close_frame(socket)
            pinging.cancel_scope.cancel()
        assert trio.current_time() - begun >= IDLE
        await house.until(lambda: house.daemon._listener.connections == 0)
    assert closed == b"\x03\xe9not used for limits.websocket_idle (0.3 s): connect again"


async def close_frame(socket: Socket) -> bytes:
    """The next close frame, while somebody else sends."""
    while True:
        opcode, payload = await socket.frame()
        if opcode == CLOSE:
            return payload


async def test_chats_keep_it_open(nursery: trio.Nursery) -> None:
    """Also one that says nothing for long; when it is over, the time begins anew."""
    house = await settle_in(
        nursery,
        limits={"websocket_idle": IDLE},
        server={"heartbeat": 60.0, "grace": 60.0},
        timeouts={"first_token": 1.0},
    )
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", "sim:fault=mute"))
            (error,) = await socket.told_of("a")
            assert error["reason"] == "first_token_timeout"
            told = trio.current_time()
            closed = await socket.closing()
            assert trio.current_time() - told > IDLE / 2
    assert closed.code == 1001
