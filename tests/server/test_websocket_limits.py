"""Every limit of a WebSocket, one below, at it and one above, and what no WebSocket is: the close says why."""

from __future__ import annotations

import random
from collections.abc import Callable

import pytest
import trio
from house import House, settle_in
from wsproto.connection import Connection, ConnectionType
from wsproto.events import Ping, TextMessage

from penstock.chat.reasons import Reason
from penstock.server import chats, frames
from penstock.server.frames import text_frame
from rawwebsocket import (
    BINARY,
    CLOSE,
    CONTINUATION,
    MASK,
    PING,
    PONG,
    TEXT,
    Socket,
    create,
    frame,
    header,
    opened,
    text,
)

BODY, FRAGMENTS, PINGS, CHATS = 2000, 5, 8, 3
ENDLESS = "sim:tokens=100000,rate=100"


async def a_house(nursery: trio.Nursery, **limits: object) -> House:
    small = {"body": BODY, "fragments": FRAGMENTS, "pings": PINGS, "chats": CHATS}
    return await settle_in(nursery, limits=small | limits, server={"heartbeat": 60.0})


async def goes_on(socket: Socket) -> None:
    """The socket answers, as one does with which nothing is wrong."""
    await socket.send(create("y", "sim:tokens=1"))
    *_, done = await socket.told_of("y")
    assert done["type"] == "done"


# --- sizes and counts ------------------------------------------------------------------------------------------------


def message(size: int) -> list[bytes]:
    """One frame."""
    return [frame(TEXT, b"{" * size)]


def in_two(size: int) -> list[bytes]:
    return [frame(TEXT, b"{" * 700, fin=False), frame(CONTINUATION, b"{" * (size - 700))]


def in_pieces(count: int) -> list[bytes]:
    rest = [frame(CONTINUATION, b"x", fin=n == count) for n in range(2, count + 1)]
    return [frame(TEXT, b"{", fin=count == 1), *rest]


def in_empty_pieces(count: int) -> list[bytes]:
    rest = [frame(CONTINUATION, b"", fin=n == count) for n in range(2, count + 1)]
    return [frame(TEXT, b"{", fin=count == 1), *rest]


def pings(count: int) -> list[bytes]:
    return [frame(PING, b"x")] * count


def pongs(count: int) -> list[bytes]:
    return [frame(PONG)] * count


LIMITS: dict[str, tuple[Callable[[int], list[bytes]], int, int, str]] = {
    "a message": (message, BODY, 1009, f"a message is larger than limits.body ({BODY} bytes)"),
    "a message in two frames": (in_two, BODY, 1009, f"a message is larger than limits.body ({BODY} bytes)"),
    "frames": (in_pieces, FRAGMENTS, 1009, f"a message has more frames than limits.fragments ({FRAGMENTS})"),
    "empty frames": (
        in_empty_pieces,
        FRAGMENTS,
        1009,
        f"a message has more frames than limits.fragments ({FRAGMENTS})",
    ),
    "pings": (pings, PINGS, 1008, f"more control frames in a second than limits.pings ({PINGS})"),
    "pongs": (pongs, PINGS, 1008, f"more control frames in a second than limits.pings ({PINGS})"),
}


@pytest.mark.parametrize("limit", LIMITS)
async def test_one_below_at_and_one_above(limit: str, nursery: trio.Nursery) -> None:
    make, most, code, why = LIMITS[limit]
    house = await a_house(nursery)
    with trio.fail_after(20):
        for count in (most - 1, most):
            async with opened(house.address) as socket:
                await socket.send(*make(count))
                await goes_on(socket)
        async with opened(house.address) as socket:
            await socket.send(*make(most + 1))
            closed = await socket.closing()
    assert (closed.code, closed.why) == (code, why)


async def test_a_frame_is_judged_by_its_header(nursery: trio.Nursery) -> None:
    """Its payload need not come first, nor is there room for it."""
    house = await a_house(nursery)
    with trio.fail_after(20):
        for length in (BODY + 1, 1 << 20, (1 << 63) - 1):
            async with opened(house.address) as socket:
                await socket.send(header(TEXT, length))
                assert (await socket.closing()).code == 1009


@pytest.mark.parametrize("count", [CHATS - 1, CHATS, CHATS + 1])
async def test_chats_at_a_time(count: int, nursery: trio.Nursery) -> None:
    house = await a_house(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(*(create(f"c{n}", ENDLESS) for n in range(count)))
            if count > CHATS:
                (refused,) = await socket.told_of(f"c{CHATS}")
                assert (refused["reason"], refused["status"]) == ("too_many_chats", 429)
                assert refused["error"] == f"this WebSocket has as many chats as limits.chats allows ({CHATS})"
            running = min(count, CHATS)
            await house.until(lambda: house.simulation.records.counters.running == running)
            socket.leave("fin")
            await house.nothing_left()


async def test_a_websocket_is_a_connection(nursery: trio.Nursery) -> None:
    house = await a_house(nursery, connections=2)
    with trio.fail_after(20):
        async with opened(house.address), opened(house.address) as socket:
            with pytest.raises(AssertionError, match=r"limits\.connections"):
                async with opened(house.address):
                    pass
            socket.leave("fin")
            await house.until(lambda: house.daemon._listener.connections == 1)
            async with opened(house.address) as another:
                await goes_on(another)


@pytest.mark.parametrize("size", [0, 1, 125, 126, 65535, 65536, 1 << 20])
def test_a_message_of_any_size_is_one_frame(size: int) -> None:
    """As wsproto reads it on the other side."""
    client = Connection(ConnectionType.CLIENT)
    client.receive_data(text_frame(b"x" * size) + frames.PING)
    *pieces, ping = client.events()
    assert "".join(piece.data for piece in pieces if isinstance(piece, TextMessage)) == "x" * size
    assert isinstance(pieces[-1], TextMessage) and pieces[-1].message_finished
    assert ping == Ping()


async def test_a_bug_in_what_reads_commands(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only this socket ends, and says so (RFC 6455 7.4.1)."""
    house = await a_house(nursery)
    bugs: list[str] = []
    monkeypatch.setattr(house.daemon.state.observer, "bug", lambda where, error: bugs.append(f"{where}: {error}"))

    def broken(*_: object, **__: object) -> None:
        raise RuntimeError("canary")

    with trio.fail_after(20):
        async with opened(house.address) as socket, opened(house.address) as another:
            await socket.send(create("x", ENDLESS))
            await house.until(lambda: house.simulation.records.counters.running == 1)
            with monkeypatch.context() as patch:
                patch.setattr(chats, "read", broken)
                await socket.send(text("{}"))
                closed = await socket.closing()
            assert (closed.code, closed.why) == (1011, "a bug in penstock; its log has the details")
            assert bugs == ["WebSocket /api/ws/chat: canary"]
            await house.nothing_left()
            await goes_on(another)


# --- time ------------------------------------------------------------------------------------------------------------


async def test_a_message_has_its_time(nursery: trio.Nursery) -> None:
    """However lively it trickles; and what came in time has it anew."""
    house = await a_house(nursery, body_time=0.3)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(frame(TEXT, b"{}", fin=False))
            await socket.send(frame(CONTINUATION, b""))
            assert (await socket.told())["type"] == "error"
            begun = trio.current_time()
            await socket.send(header(TEXT, 1000))
            async with trio.open_nursery() as trickle:

                @trickle.start_soon
                async def _() -> None:
                    while True:
                        await socket.send(MASK)
                        await trio.sleep(0.01)

                opcode, payload = await socket.frame()
                trickle.cancel_scope.cancel()
    assert (opcode, int.from_bytes(payload[:2])) == (CLOSE, 1008)
    assert payload[2:] == b"a message did not arrive within limits.body_time (0.3 s)"
    assert 0.25 < trio.current_time() - begun < 10


async def test_a_client_that_gives_no_sign_of_life_is_left(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, server={"heartbeat": 0.1}, limits={"pong_time": 0.3})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", "sim:fault=mute"))
            closed = await socket.closing()
            outcome = await house.outcomes.receive()
            await house.nothing_left()
    assert (closed.code, closed.why) == (1008, "no sign of life within limits.pong_time (0.3 s)")
    assert outcome.reason is Reason.CLIENT_GONE


async def test_an_idle_socket_stays_while_its_client_answers(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, server={"heartbeat": 0.05}, limits={"pong_time": 0.6, "header_time": 0.1})
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            for _ in range(15):
                opcode, payload = await socket.frame()
                assert opcode == PING
                await socket.send(frame(PONG, payload))
            await goes_on(socket)


async def test_a_ping_is_answered_with_its_own_words(nursery: trio.Nursery) -> None:
    house = await a_house(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            # also amid the frames of a message
            await socket.send(frame(TEXT, b"{", fin=False), frame(PING, b"x" * 125), frame(CONTINUATION, b"}"))
            assert await socket.frame() == (PONG, b"x" * 125)
            assert (await socket.told())["type"] == "error"


# --- what is no WebSocket (RFC 6455) ---------------------------------------------------------------------------------

WRONG: dict[str, tuple[bytes, int]] = {
    "5.1 an unmasked frame": (frame(TEXT, b"hi", masked=False), 1002),
    "5.2 a reserved bit": (frame(TEXT, b"hi", rsv=2), 1002),
    "5.2 the bit of permessage-deflate": (frame(TEXT, b"hi", rsv=4), 1002),
    "5.2 a reserved opcode": (frame(3, b"hi"), 1002),
    "5.2 a reserved control opcode": (frame(11), 1002),
    "5.2 a length in more bytes than it needs": (b"\x81\xfe\x00\x02" + b"\0" * 6, 1002),
    "5.4 a continuation of nothing": (frame(CONTINUATION, b"hi"), 1002),
    "5.4 a message in the midst of another": (frame(TEXT, b"hi", fin=False) + text("ho"), 1002),
    "5.5 a control frame in pieces": (frame(PING, fin=False), 1002),
    "5.5 a long control frame": (frame(PING, b"x" * 126), 1002),
    "5.5.1 half a close code": (frame(CLOSE, b"\x03"), 1002),
    "7.4 a close code that nobody sends": (frame(CLOSE, (1006).to_bytes(2)), 1002),
    "5.6 a binary frame": (frame(BINARY, b"hi"), 1003),
    "8.1 no UTF-8": (frame(TEXT, b"\xff\xfe"), 1007),
    "8.1 half a character": (frame(TEXT, "é".encode()[:1]), 1007),
    "8.1 half a surrogate pair": (frame(TEXT, b"\xed\xa0\x80"), 1007),
}


async def test_what_is_no_websocket_is_closed_with_its_code(nursery: trio.Nursery) -> None:
    house = await a_house(nursery)
    with trio.fail_after(20):
        for case, (sent, code) in WRONG.items():
            async with opened(house.address) as socket:
                await socket.send(sent)
                closed = await socket.closing()
                assert closed.code == code, case
                reasons = {
                    1002: "this is no WebSocket: ",
                    1003: "penstock takes text only",
                    1007: "a message is not UTF-8",
                }
                assert closed.why.startswith(reasons[code]), case
        await house.until(lambda: house.daemon._listener.connections == 0)
    assert house.simulation.records.counters.accepted == 0


async def test_text_is_checked_across_frames(nursery: trio.Nursery) -> None:
    """A character may lie in two of them."""
    house = await a_house(nursery)
    data = '{"id": "é🚰"}'.encode()
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            for cut in range(len(data) + 1):
                await socket.send(frame(TEXT, data[:cut], fin=False), frame(CONTINUATION, data[cut:]))
                assert (await socket.told())["id"] == "é🚰"
            for byte in text('{"id": "é🚰"}'):
                await socket.send(bytes((byte,)))
            assert (await socket.told())["id"] == "é🚰"


async def test_a_fault_ends_the_chats_that_run(nursery: trio.Nursery) -> None:
    house = await a_house(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(create("a", ENDLESS), create("b", "sim:fault=mute"))
            await house.until(lambda: house.simulation.records.counters.running == 2)
            await socket.send(frame(BINARY, b"hi"))
            assert (await socket.closing()).code == 1003
            reasons = {(await house.outcomes.receive()).reason for _ in range(2)}
            await house.nothing_left()
    assert reasons == {Reason.CLIENT_GONE}


async def test_who_does_not_answer_the_close_is_left_all_the_same(nursery: trio.Nursery) -> None:
    """And what he goes on sending is kept nowhere."""
    house = await a_house(nursery)
    with trio.fail_after(20):
        async with opened(house.address) as socket:
            await socket.send(frame(BINARY, b"hi"))
            try:
                while True:
                    await socket.send(b"x" * 65536)
            except trio.BrokenResourceError:
                pass
            await house.until(lambda: house.daemon._listener.connections == 0)


async def test_any_bytes_end_in_a_close_or_an_answer(nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]) -> None:
    """Noise, and frames whose headers are good and whose rest is noise; nothing is left, and nothing is a bug."""
    house = await a_house(nursery)
    chance = random.Random(6455)
    with trio.fail_after(30):
        for number in range(60):
            noise = chance.randbytes(chance.randrange(1, 400))
            opcode = chance.choice((CONTINUATION, TEXT, TEXT, BINARY, CLOSE, PING, PONG))
            size = chance.choice((0, 1, 5, 125, len(noise)))
            async with opened(house.address) as socket:
                await socket.send(noise if number % 3 == 0 else header(opcode, size) + noise)
                await socket.client.stream.send_eof()
                await socket.client.sees_the_close()
        await house.until(lambda: house.daemon._listener.connections == 0)
        await house.nothing_left()
    log = capsys.readouterr()
    assert "bug" not in log.out and "Error" not in log.out and log.err == ""
