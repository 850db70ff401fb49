"""What is refused before it is a request is told to the owner: once each, with the peer, and in nobody else's words."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import trio
from house import House, settle_in

from penstock.config.model import Key
from penstock.config.secrets import Reference
from penstock.errors import PenstockError
from rawhttp import HOST, Client, answered, call, connect, connected, get

CANARY = b"sk-c4n4ry"
NAMED = HOST.encode() + b"\r\n"
POST = b"POST /api/chat HTTP/1.1\r\n" + NAMED
CHUNKED = POST + b"Transfer-Encoding: chunked\r\n\r\n"

#: What is sent, and the status and the words of the refusal, which name the key of the file where there is one.
CASES: dict[str, tuple[bytes, int, str]] = {
    "a broken header": (
        b"GET / HTTP/1.1\r\n" + NAMED + b"Authorization : Bearer " + CANARY + b"\r\n\r\n",
        400,
        "this is no HTTP request: illegal header line",
    ),
    "a broken request line": (b"GET  /" + CANARY + b" HTTP/1.1\r\n\r\n", 400, "illegal request line"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host: header"),
    "a bad host": (b"GET / HTTP/1.1\r\nHost: " + CANARY + b"@x\r\n\r\n", 400, "the Host header is no host"),
    "two lengths": (POST + b"Content-Length: 5\r\nContent-Length: 6\r\n\r\n", 400, "conflicting Content-Length"),
    "a length and chunks": (POST + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n", 400, "both"),
    "a coding": (POST + b"Transfer-Encoding: " + CANARY + b"\r\n\r\n", 501, "Only Transfer-Encoding: chunked"),
    "somebody else's URL": (b"GET http://" + CANARY + b"/ HTTP/1.1\r\n" + NAMED + b"\r\n", 400, "no path on this"),
    "a broken chunk": (CHUNKED + CANARY + b"\r\n", 400, "illegal chunk header"),
    "a chunk that goes on": (CHUNKED + b"2\r\n{}" + CANARY + b"\r\n", 400, "malformed chunk footer"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "this is TLS"),
    "HTTP/2": (b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", 400, "penstock speaks HTTP/1.1"),
    "a long head": (b"GET / HTTP/1.1\r\nX-A: " + b"a" * 5000, 431, "limits.headers (2048 bytes)"),
    "many headers": (b"GET / HTTP/1.1\r\n" + NAMED + b"A: b\r\n" * 20 + b"\r\n", 431, "limits.header_count (20)"),
    "a long target": (b"GET /" + b"a" * 300 + b" HTTP/1.1\r\n" + NAMED + b"\r\n", 414, "limits.url (300 bytes)"),
}


def heard_by(house: House, monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, PenstockError]]:
    """What the owner is told of, as it comes."""
    told: list[tuple[str, PenstockError]] = []
    observer = house.daemon.state.observer
    turned_away = observer.turned_away

    def hear(peer: str, error: PenstockError) -> None:
        told.append((peer, error))
        turned_away(peer, error)

    monkeypatch.setattr(observer, "turned_away", hear)
    return told


async def test_each_refusal_is_told_once(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"headers": 2048, "header_count": 20, "url": 300})
    told = heard_by(house, monkeypatch)
    with trio.fail_after(20):
        for case, (sent, status, says) in CASES.items():
            got, headers, body = await answered(house.address, sent)
            assert (got, headers["connection"]) == (status, "close"), case
            ((peer, error),) = told
            assert (peer, error.status) == ("127.0.0.1", status), case
            assert says in error.logged and says in json.loads(body)["error"]["message"], case
            told.clear()
    assert house.simulation.records.counters.requests == 0


async def test_no_word_of_a_client_is_logged(nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]) -> None:
    """A broken line may hold a key; the answer goes back to whoever sent it, and does not repeat it either."""
    house = await settle_in(nursery)
    with trio.fail_after(20):
        for sent, _, _ in CASES.values():
            if CANARY in sent:
                _, _, body = await answered(house.address, sent)
                assert CANARY not in body
    log = capsys.readouterr()
    assert log.out.count("request refused") == sum(CANARY in sent for sent, _, _ in CASES.values())
    assert CANARY.decode() not in log.out + log.err


async def test_who_is_slow_or_early_or_one_too_many(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"header_time": 0.2, "peer_connections": 1})
    told = heard_by(house, monkeypatch)
    with trio.fail_after(20):
        async with connected(house.address) as busy:
            await busy.send(call("sim:fault=mute"))
            await house.until(lambda: len(house.daemon.state.live) == 1)
            assert (await answered(house.address, b""))[0] == 503
            busy.leave("rst")
        await house.until(lambda: house.daemon._listener.connections == 0)
        assert (await answered(house.address, b"GET / HT"))[0] == 408
        await house.until(lambda: house.daemon._listener.connections == 0)
        client = await early(house)
        client.leave("rst")
    assert [(peer, error.code, error.status) for peer, error in told] == [
        ("127.0.0.1", "connections", 503),
        ("127.0.0.1", "request_timeout", 408),
        ("127.0.0.1", "bad_request", 400),
    ]
    crowd, slow, _ = [error.logged for _, error in told]
    assert crowd.endswith("limits.peer_connections allows (1)") and slow.endswith("limits.header_time (0.2 s)")


async def early(house: House) -> Client:
    """A client that sends one request after the other without a look at the answer of the first, and is cut."""
    client = await connect(house.address)
    await client.send(get("/api/chat/stream?message=hi&model=sim:fault=mute"))
    try:
        while True:
            await client.send(get("/health"))
    except trio.BrokenResourceError:
        return client


async def test_a_user_at_a_unix_socket_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    house = await settle_in(nursery, listen=(f"unix:{tmp_path}/p.sock",))
    told = heard_by(house, monkeypatch)
    monkeypatch.setattr("penstock.server.listener.peer_uid", lambda sock: 4711)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.sees_the_close()
    ((peer, error),) = told
    assert (peer, error.code) == ("user 4711", "forbidden")


# --- what costs nothing to send, and would cost something to take ----------------------------------------------------

BODY = b'{"model": "sim:tokens=1", "messages": [{"role": "user", "content": "hi"}], "stream": false}'


@pytest.mark.parametrize(("size", "status"), [(100, 200), (9000, 400)])
async def test_what_stands_between_chunks_has_a_limit(size: int, status: int, nursery: trio.Nursery) -> None:
    """Extensions of chunks mean nothing and are no part of the body, so ``limits.body`` does not see them."""
    house = await settle_in(nursery, limits={"headers": 16384})
    pieces = [BODY[at : at + 8] for at in range(0, len(BODY), 8)]
    chunks = b"".join(b"%x;%b\r\n%b\r\n" % (len(piece), b"x" * size, piece) for piece in pieces)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(CHUNKED + chunks + b"0\r\n\r\n")
            got, _, body = await client.answer()
            assert (got, b"limits.headers (16384 bytes)" in body) == (status, status == 400)
            if status == 200:
                # what came with one request does not count for the next
                for _ in range(3):
                    await client.send(CHUNKED + chunks + b"0\r\n\r\n")
                    assert (await client.answer())[0] == 200


async def test_chunks_may_be_tiny(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"headers": 1024})
    text = BODY.replace(b"hi", b"x" * 5000)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(CHUNKED + b"".join(b"1\r\n%c\r\n" % byte for byte in text) + b"0\r\n\r\n")
            assert (await client.answer())[0] == 200


async def test_only_who_may_come_in_is_asked_for_his_body(nursery: trio.Nursery) -> None:
    """RFC 9110 10.1.1: the refusal may come instead of 100, and saves the body."""
    house = await settle_in(nursery, keys=(Key(name="laptop", key=Reference.parse("sk")),), limits={"body": 4096})
    head = "POST /api/chat HTTP/1.1\r\nExpect: 100-continue\r\n"
    cases = {
        f"Host: evil.test\r\nContent-Length: {len(BODY)}": 421,
        f"{HOST}\r\nOrigin: null\r\nContent-Length: {len(BODY)}": 403,
        f"{HOST}\r\nContent-Length: {len(BODY)}": 401,
        f"{HOST}\r\napi-key: sk\r\nContent-Length: 5000": 413,
        f"{HOST}\r\napi-key: sk\r\nContent-Type: text/plain\r\nContent-Length: {len(BODY)}": 415,
        f"{HOST}\r\napi-key: sk\r\nContent-Length: {len(BODY)}": 100,
        f"{HOST}\r\napi-key: sk\r\nTransfer-Encoding: chunked": 100,
    }
    with trio.fail_after(20):
        for headers, status in cases.items():
            async with connected(house.address) as client:
                await client.send(f"{head}{headers}\r\n\r\n".encode())
                assert (await client.head())[0] == status, headers
