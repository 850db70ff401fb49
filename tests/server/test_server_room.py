"""What all requests together may hold of bodies: taken as they come, held while they are answered, then given back."""

from __future__ import annotations

import pytest
import trio
from house import House, settle_in

from asking import POSTED
from penstock.errors import NoRoom
from penstock.server.room import Room, Share
from rawhttp import CHAT, HOST, answered, ask, call, connected, post
from rawwebsocket import CONTINUATION, TEXT, create, frame, opened

ENDLESS = "sim:tokens=100000,rate=100"
MOST = 4000


def test_a_share_is_given_back_once() -> None:
    room = Room()
    with Share(room, 10) as one, Share(room, 10) as other:
        one.take(4)
        other.take(6)
        with pytest.raises(NoRoom, match=r"limits\.bodies allows \(10 bytes\)"):
            one.take(1)
        assert room.held == 10
        one.give_back()
        one.give_back()
        assert room.held == 6
    assert room.held == 0


async def a_house(nursery: trio.Nursery) -> tuple[House, Room]:
    house = await settle_in(nursery, limits={"bodies": MOST})
    return house, house.daemon._listener.room


@pytest.mark.parametrize(("beyond", "status"), [(-1, 200), (0, 200), (1, 503)])
async def test_bodies(beyond: int, status: int, nursery: trio.Nursery) -> None:
    """One that runs has its part; the next may have the rest."""
    house, room = await a_house(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as running:
            await running.send(call(ENDLESS))
            await running.until(b" t1")
            assert 0 < room.held < MOST / 2
            for north, language in POSTED.items():
                body = language.asked().ljust(MOST - room.held + beyond)
                got, headers, told = await answered(house.address, post(language.path, body))
                assert got == status, north
                if status == 503:
                    assert b"limits.bodies allows (4000 bytes)" in told
                    assert (headers["retry-after"], headers["connection"]) == ("2", "close")
            running.leave("rst")
        await house.nothing_left()
        await house.until(lambda: room.held == 0)


async def test_every_end_gives_it_back(nursery: trio.Nursery) -> None:
    house, room = await a_house(nursery)
    head = f"POST {CHAT} HTTP/1.1\r\n{HOST}\r\nContent-Length: 3000\r\n\r\n".encode()
    with trio.fail_after(20):
        for request, status in (
            (call("sim:tokens=1"), 200),
            (call("sim:tokens=1", stream=False), 200),
            (call("sim:status=500"), 500),
            (post(CHAT, b"{" * 2000), 400),
            (post("/nowhere", b"{}" * 500), 404),
            (post(CHAT, b"x" * 5000), 503),
        ):
            assert (await answered(house.address, request))[0] == status
            await house.until(lambda: room.held == 0)
        for way in ("fin", "rst"):
            client = await ask(house.address, head + b"x" * 2000)
            await house.until(lambda: room.held == 2000)
            client.leave(way)
            await house.until(lambda: room.held == 0)


# --- WebSockets ------------------------------------------------------------------------------------------------------


async def test_messages_and_chats_have_their_part(nursery: trio.Nursery) -> None:
    house, room = await a_house(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as one, opened(house.address) as other:
            await one.send(create("a", ENDLESS))
            await one.told()
            chat = room.held
            assert 0 < chat < 300
            await other.send(frame(TEXT, b"x" * 2000, fin=False))
            await house.until(lambda: room.held == chat + 2000)
            # one message too many ends its socket, and no other
            await one.send(create("b", "sim:tokens=1", message="x" * 2000))
            closed = await one.closing()
            assert closed.code == 1013
            assert closed.why == f"penstock holds as much of requests as limits.bodies allows ({MOST} bytes)"
            await house.until(lambda: room.held == 2000)
            await other.send(frame(CONTINUATION, b"x" * 2000))
            assert (await other.told_of("text"))[-1]["type"] == "done"
            await house.until(lambda: room.held == 0)
