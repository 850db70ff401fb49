"""The way to a WebSocket: the guard and the keys first, then the handshake of RFC 6455 4.2, then nothing of HTTP."""

from __future__ import annotations

import json

import pytest
import trio
from house import House, settle_in

from penstock.config.model import Key
from penstock.config.secrets import Reference
from penstock.errors import BadRequest, UpgradeRequired
from penstock.server.handshake import accept, is_handshake
from rawhttp import answered, connected, get
from rawwebsocket import ACCEPT, KEY, PATH, UPGRADE, Socket, create, opened

ENDLESS = "sim:tokens=100000,rate=100"
GOOD = [
    (b"connection", b"keep-alive, Upgrade"),
    (b"upgrade", b"WebSocket"),
    (b"sec-websocket-version", b"13"),
    (b"sec-websocket-key", KEY.encode()),
]


def changed(name: bytes, *values: bytes) -> list[tuple[bytes, bytes]]:
    """A good handshake with these values of one header."""
    return [pair for pair in GOOD if pair[0] != name] + [(name, value) for value in values]


def test_a_handshake_is_answered() -> None:
    """The key and its answer are those of RFC 6455 1.3; no extension and no subprotocol is agreed on."""
    offers = [(b"sec-websocket-extensions", b"permessage-deflate"), (b"sec-websocket-protocol", b"chat")]
    assert accept("1.1", [*GOOD, *offers]) == [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", ACCEPT.encode()),
    ]


WRONG: dict[str, tuple[list[tuple[bytes, bytes]], type[Exception]]] = {
    "no upgrade": (changed(b"upgrade"), UpgradeRequired),
    "another upgrade": (changed(b"upgrade", b"tls/1.3"), UpgradeRequired),
    "no connection": (changed(b"connection", b"keep-alive"), BadRequest),
    "no version": (changed(b"sec-websocket-version"), UpgradeRequired),
    "an old version": (changed(b"sec-websocket-version", b"8"), UpgradeRequired),
    "two versions": (changed(b"sec-websocket-version", b"13", b"8"), UpgradeRequired),
    "no key": (changed(b"sec-websocket-key"), BadRequest),
    "two keys": (changed(b"sec-websocket-key", KEY.encode(), KEY.encode()), BadRequest),
    "a short key": (changed(b"sec-websocket-key", b"dGhlIHNhbXBsZQ=="), BadRequest),
    "a key that is no base64": (changed(b"sec-websocket-key", b"?" * 24), BadRequest),
    "a body": ([*GOOD, (b"content-length", b"5")], BadRequest),
    "a body in chunks": ([*GOOD, (b"transfer-encoding", b"chunked")], BadRequest),
}


@pytest.mark.parametrize("case", WRONG)
def test_what_is_no_handshake(case: str) -> None:
    headers, error = WRONG[case]
    with pytest.raises(error):
        accept("1.1", headers)
    assert is_handshake(headers) is ("upgrade" not in case)


STATUSES: dict[str, tuple[bytes, int]] = {
    "a plain GET": (get(PATH), 426),
    "an old version": (get(PATH, *UPGRADE[:2], "Sec-WebSocket-Version: 8", UPGRADE[3]), 426),
    "no key": (get(PATH, *UPGRADE[:3]), 400),
    "HEAD": (get(PATH, *UPGRADE, method="HEAD"), 405),
    "POST": (get(PATH, *UPGRADE, "Content-Length: 0", method="POST"), 405),
    "HTTP/1.0": (get(PATH, *UPGRADE).replace(b"HTTP/1.1", b"HTTP/1.0"), 426),
    "another path": (get("/api/ws/nowhere", *UPGRADE), 404),
    "a path that is none of a WebSocket": (get("/v1/models", *UPGRADE), 404),
    "a path that would begin a stream": (get("/api/chat/stream?message=hi", *UPGRADE), 404),
}


async def test_what_is_refused_is_refused_at_once_and_closed(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        for case, (request, wanted) in STATUSES.items():
            async with connected(house.address) as client:
                await client.send(request)
                status, headers = await client.head()
                assert status == wanted, case
                if status == 426:
                    assert (headers["upgrade"], headers["sec-websocket-version"]) == ("websocket", "13"), case
                if case not in ("a plain GET", "HEAD"):
                    error = json.loads(await client.body(headers))
                    assert error["error"], case
                if case != "a plain GET":
                    await client.sees_the_close()
    assert house.simulation.records.counters.accepted == 0


async def test_compression_is_never_agreed_on(nursery: trio.Nursery) -> None:
    """What it unpacks would have no bound; :func:`opened` checks every header of the answer."""
    house = await settle_in(nursery)
    offer = "Sec-WebSocket-Extensions: permessage-deflate; client_max_window_bits, x-webkit-deflate-frame"
    with trio.fail_after(20):
        async with opened(house.address, offer, "Sec-WebSocket-Protocol: chat, superchat"):
            pass


async def test_frames_may_come_with_the_handshake(nursery: trio.Nursery) -> None:
    """No client should, and what it says is not lost."""
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(get(PATH, *UPGRADE) + create("c", "sim:tokens=1"))
            assert (await client.head())[0] == 101
            *_, done = await Socket(client).told_of("c")
            assert done["type"] == "done"


async def test_on_a_connection_that_was_used_before(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(get("/health"))
            assert (await client.answer())[0] == 200
            await client.send(get(PATH, *UPGRADE))
            assert (await client.head())[0] == 101
            socket = Socket(client)
            await socket.send(create("c", "sim:tokens=1"))
            *_, done = await socket.told_of("c")
            assert done["type"] == "done"


@pytest.mark.parametrize("way", ["fin", "rst"])
async def test_a_client_that_leaves_in_the_handshake(way: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        for _ in range(20):
            async with connected(house.address) as client:
                await client.send(get(PATH, *UPGRADE))
                client.leave(way)
        await house.until(lambda: house.daemon._listener.connections == 0)


# --- who may ---------------------------------------------------------------------------------------------------------

FOREIGN = {
    "a foreign page": (["Origin: http://evil.test"], 403),
    "an opaque origin": (["Origin: null"], 403),
    "a page of another site": (["Sec-Fetch-Site: cross-site"], 403),
    "a page that pretends": (["Origin: http://evil.test", "Sec-Fetch-Site: same-origin"], 403),
}


async def with_keys(nursery: trio.Nursery) -> House:
    keys = (
        Key(name="laptop", key=Reference.parse("sk-laptop")),
        Key(name="coder", key=Reference.parse("sk-coder"), routes=("coder", ENDLESS), max_streams=1),
    )
    return await settle_in(nursery, keys=keys, server={"allowed_origins": ("http://localhost:3000",)})


async def test_p4_no_foreign_page_reaches_the_socket(nursery: trio.Nursery) -> None:
    """P4, S15: before the handshake is looked at, whether the page has a key or not."""
    house = await with_keys(nursery)
    with trio.fail_after(20):
        for shown in ([], ["Authorization: Bearer sk-laptop"]):
            for case, (headers, wanted) in FOREIGN.items():
                for upgrade in (UPGRADE, ()):
                    request = get(PATH, *upgrade, *headers, *shown)
                    status, answer, body = await answered(house.address, request)
                    assert status == wanted, case
                    assert json.loads(body)["reason"] == "foreign_origin"
                    assert "access-control-allow-origin" not in answer
        request = get(PATH, *UPGRADE).replace(b"HERE", b"evil.test")
        assert (await answered(house.address, request))[0] == 421
        async with opened(house.address, "Authorization: Bearer sk-laptop", "Origin: http://localhost:3000"):
            pass


@pytest.mark.parametrize("shown", ["", "Authorization: Bearer wrong", "Cookie: api-key=sk-laptop", "api-key: a"])
async def test_without_a_good_key_there_is_no_socket(shown: str, nursery: trio.Nursery) -> None:
    house = await with_keys(nursery)
    with trio.fail_after(20):
        status, headers, body = await answered(house.address, get(PATH, *UPGRADE, *([shown] if shown else [])))
    assert (status, headers["www-authenticate"], headers["content-type"]) == (401, "Bearer", "application/json")
    told = json.loads(body)
    assert (told["type"], told["reason"], told["status"]) == ("error", "unauthorized", 401)


@pytest.mark.parametrize("shown", ["Authorization: Bearer sk-coder", "x-api-key: sk-coder", "api-key: sk-coder"])
async def test_a_key_reaches_as_far_as_elsewhere(shown: str, nursery: trio.Nursery) -> None:
    house = await with_keys(nursery)
    with trio.fail_after(20):
        async with opened(house.address, shown) as socket:
            await socket.send(create("a", "sim:tokens=1"))
            (refused,) = await socket.told_of("a")
            assert (refused["reason"], refused["status"]) == ("model_not_found", 404)
            await socket.send(create("b", "coder"))
            assert (await socket.told_of("b"))[-1]["type"] == "done"
            assert (await house.outcomes.receive()).key == "coder"


#: Keys in base64url without padding, as a page offers them.
OFFERS = {"laptop": "bearer.c2stbGFwdG9w", "coder": "bearer.c2stY29kZXI", "wrong": "bearer.d3Jvbmc"}
PLAIN = "Sec-WebSocket-Protocol: penstock.chat"


@pytest.mark.parametrize(
    "offer", [f"{PLAIN}, {OFFERS['coder']}", f"{PLAIN}\r\nSec-WebSocket-Protocol: {OFFERS['coder']}"]
)
async def test_a_page_shows_its_key_as_a_subprotocol(
    offer: str, nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    """Browsers let it set no header; it gets the plain name back and never its key, which is logged nowhere."""
    house = await with_keys(nursery)
    with trio.fail_after(20):
        async with opened(house.address, offer, "Origin: http://localhost:3000", subprotocol="penstock.chat") as socket:
            await socket.send(create("a", "sim:tokens=1"), create("b", "coder"))
            (refused,) = await socket.told_of("a")
            assert refused["reason"] == "model_not_found"
            assert (await socket.told_of("b"))[-1]["type"] == "done"
            assert (await house.outcomes.receive()).key == "coder"
        log = capsys.readouterr()
    assert "coder" in log.out
    assert "c2stY29kZXI" not in log.out + log.err and "sk-coder" not in log.out + log.err


async def test_an_offered_key_opens_no_more_than_another(nursery: trio.Nursery) -> None:
    """The page must be a listed one, the key a good one, and no other may differ."""
    house = await with_keys(nursery)
    page = "Origin: http://localhost:3000"
    cases = {
        (f"{PLAIN}, {OFFERS['laptop']}", "Origin: http://evil.test"): 403,
        (f"{PLAIN}, {OFFERS['laptop']}", "Origin: null"): 403,
        (f"{PLAIN}, {OFFERS['wrong']}", page): 401,
        (f"{PLAIN}, {OFFERS['laptop']}, {OFFERS['coder']}", page): 401,
        (f"{PLAIN}, {OFFERS['laptop']}", page, "x-api-key: sk-coder"): 401,
        (PLAIN, page): 401,
        (f"Sec-WebSocket-Protocol: {OFFERS['laptop']}", page): 400,
    }
    with trio.fail_after(20):
        for headers, wanted in cases.items():
            status, answer, body = await answered(house.address, get(PATH, *UPGRADE, *headers))
            assert status == wanted, headers
            assert "sec-websocket-protocol" not in answer
            assert b"bearer." not in body
        assert b"penstock.chat" in body


async def test_the_subprotocol_may_be_asked_for_without_a_key(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        for offer in (PLAIN, f"Sec-WebSocket-Protocol: chat, penstock.chat, {OFFERS['wrong']}"):
            async with opened(house.address, offer, subprotocol="penstock.chat"):
                pass


async def test_a_key_has_its_streams_over_all_sockets(nursery: trio.Nursery) -> None:
    house = await with_keys(nursery)
    with trio.fail_after(20):
        async with opened(house.address, "api-key: sk-coder") as first:
            await first.send(create("a", ENDLESS))
            await house.until(lambda: len(house.daemon.state.live) == 1)
            async with opened(house.address, "api-key: sk-coder") as second:
                await second.send(create("a", "coder"))
                (refused,) = await second.told_of("a")
                assert (refused["reason"], refused["status"]) == ("too_many_streams", 429)
                first.leave("fin")
                await house.nothing_left()
