"""Requests whose end, host or meaning is in doubt are refused, and their connection with them."""

from __future__ import annotations

import json

import h11
import pytest
import trio
from house import settle_in

from penstock.errors import BadRequest
from penstock.server.framing import checked
from rawhttp import HOST, answered, connected, get

BODY = b'{"model":"sim:tokens=1"}'
POST = b"POST /api/chat HTTP/1.1\r\n"
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
NAMED = HOST.encode() + b"\r\n"
CHUNKED = b"%x\r\n%b\r\n0\r\n\r\n" % (len(BODY), BODY)

REFUSED = {
    "length and chunks": POST + NAMED + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "chunks and length": POST + NAMED + b"Transfer-Encoding: chunked\r\n" + LENGTH + b"\r\n" + CHUNKED,
    "chunks in HTTP/1.0": b"POST /api/chat HTTP/1.0\r\n" + NAMED + b"Transfer-Encoding: chunked\r\n\r\n" + CHUNKED,
    "two equal lengths": POST + NAMED + LENGTH + LENGTH + b"\r\n" + BODY,
    "two different lengths": POST + NAMED + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY,
    "two lengths in one": POST + NAMED + b"Content-Length: 24, 24\r\n\r\n" + BODY,
    "a length with zeros before it": POST + NAMED + b"Content-Length: 0024\r\n\r\n" + BODY,
    "a length with a sign": POST + NAMED + b"Content-Length: +24\r\n\r\n" + BODY,
    "a length in hex": POST + NAMED + b"Content-Length: 0x18\r\n\r\n" + BODY,
    "a length with an underscore": POST + NAMED + b"Content-Length: 2_4\r\n\r\n" + BODY,
    "a negative length": POST + NAMED + b"Content-Length: -1\r\n\r\n",
    "a folded header": POST + NAMED + b"X-A: b\r\n c\r\n" + LENGTH + b"\r\n" + BODY,
    "a folded header with a tab": POST + NAMED + b"X-A: b\r\n\tc\r\n" + LENGTH + b"\r\n" + BODY,
    "a header that begins with a blank": POST + b" X-A: b\r\n" + NAMED + LENGTH + b"\r\n" + BODY,
    "a blank before the colon": POST + NAMED + b"Content-Length : 24\r\n\r\n" + BODY,
    "a chunk size with a sign": POST + NAMED + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nhello\r\n0\r\n\r\n",
    "an underscore in a chunk size": POST + NAMED + b"Transfer-Encoding: chunked\r\n\r\n1_0\r\nhello\r\n0\r\n\r\n",
    "a chunk longer than its size": POST + NAMED + b"Transfer-Encoding: chunked\r\n\r\n3\r\nhello\r\n0\r\n\r\n",
    "no host": b"GET /health HTTP/1.1\r\n\r\n",
    "two hosts": b"GET /health HTTP/1.1\r\n" + NAMED + NAMED + b"\r\n",
    "an empty host": b"GET /health HTTP/1.1\r\nHost:\r\n\r\n",
    "a host with a name in it": b"GET /health HTTP/1.1\r\nHost: me@localhost\r\n\r\n",
    "a host with a path": b"GET /health HTTP/1.1\r\nHost: localhost/x\r\n\r\n",
    "a list of hosts": b"GET /health HTTP/1.1\r\nHost: localhost, evil.test\r\n\r\n",
    "a host with an impossible port": b"GET /health HTTP/1.1\r\nHost: localhost:99999\r\n\r\n",
    "a bad host in HTTP/1.0": b"GET /health HTTP/1.0\r\nHost: a b\r\n\r\n",
    "its own URL over TLS": b"GET https://HERE/health HTTP/1.1\r\n" + NAMED + b"\r\n",
    "somebody else's URL": b"GET http://evil.test/health HTTP/1.1\r\n" + NAMED + b"\r\n",
    "another scheme": b"GET ftp://HERE/health HTTP/1.1\r\n" + NAMED + b"\r\n",
    "an asterisk": b"OPTIONS * HTTP/1.1\r\n" + NAMED + b"\r\n",
    "an authority": b"CONNECT localhost:80 HTTP/1.1\r\n" + NAMED + b"\r\n",
    "a fragment": b"GET /health#x HTTP/1.1\r\n" + NAMED + b"\r\n",
    "a path that is none": b"GET health HTTP/1.1\r\n" + NAMED + b"\r\n",
    "h2c": b"GET /health HTTP/1.1\r\n" + NAMED + b"Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\n\r\n",
    "h2c among others": b"GET /health HTTP/1.1\r\n" + NAMED + b"Connection: upgrade\r\nUpgrade: foo, H2C\r\n\r\n",
    "the preface of HTTP/2": b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    "HTTP/1.2": b"GET /health HTTP/1.2\r\n" + NAMED + b"\r\n",
    "HTTP/0.9": b"GET /health\r\n\r\n",
    "TLS": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n",
    "a NUL in a header": b"GET /health HTTP/1.1\r\n" + NAMED + b"X-A: a\0b\r\n\r\n",
    "a lone CR in a header": b"GET /health HTTP/1.1\r\n" + NAMED + b"X-A: a\rb\r\n\r\n",
}


@pytest.mark.parametrize("request_", REFUSED.values(), ids=REFUSED)
async def test_a_doubtful_request_is_refused_and_nothing_after_it_is_answered(
    request_: bytes, nursery: trio.Nursery
) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(request_.replace(b"//HERE", b"//" + client.host.encode()) + get("/health"))
            status, headers, body = await client.answer()
            assert status == 400
            assert headers["connection"] == "close"
            assert "server" not in headers
            assert json.loads(body)["error"]["code"] == "bad_request"
            assert await client.rest() == b""
        await house.nothing_left()
    assert house.simulation.records.counters.requests == 0


TOO_MUCH = {
    "an unknown transfer coding": (501, POST + NAMED + b"Transfer-Encoding: gzip, chunked\r\n\r\n"),
    "a head that is too large": (431, b"GET /health HTTP/1.1\r\n" + NAMED + b"X-A: " + b"a" * 70_000),
    "too many headers": (431, b"GET /health HTTP/1.1\r\n" + NAMED + b"X-A: b\r\n" * 9_000),
}


@pytest.mark.parametrize(("status", "request_"), TOO_MUCH.values(), ids=TOO_MUCH)
async def test_what_has_a_status_of_its_own(status: int, request_: bytes, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(request_)
            told, headers, _ = await client.answer()
            assert (told, headers["connection"]) == (status, "close")
            await client.sees_the_close()


async def test_a_refusal_of_a_head_request_has_no_body(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(b"HEAD * HTTP/1.1\r\n" + NAMED + b"\r\n")
            status, _ = await client.head()
            assert (status, await client.rest()) == (400, b"")


GOOD = {
    "its own URL": b"GET http://HERE/health HTTP/1.1\r\n",
    "its own URL in capitals": b"GET HTTP://HERE/health HTTP/1.1\r\n",
    "its own URL without a path": b"GET http://HERE HTTP/1.1\r\n",
    "its own URL with a query": b"GET http://HERE/health?a=b HTTP/1.1\r\n",
    "a line end before it": b"\r\n\r\nGET /health HTTP/1.1\r\n",
    "a bare line feed": b"GET /health HTTP/1.1\n",
}


@pytest.mark.parametrize("line", GOOD.values(), ids=GOOD)
async def test_what_may_look_odd_and_is_answered(line: bytes, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(line.replace(b"HERE", client.host.encode()) + NAMED + b"\r\n")
            assert (await client.head())[0] == 200


async def test_trailers_are_no_headers(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            trailers = b"Content-Length: 3\r\nHost: evil.test\r\nContent-Type: text/plain\r\n\r\n"
            body = CHUNKED.removesuffix(b"\r\n") + trailers
            await client.send(POST + NAMED + b"Transfer-Encoding: chunked\r\n\r\n" + body)
            status, _, answer = await client.answer()
            assert (status, b'"done":true' in answer) == (200, True)
            # and the connection is still in step
            await client.send(get("/health"))
            assert (await client.head())[0] == 200


@pytest.mark.parametrize(
    ("host", "good"),
    [
        ("localhost", True),
        ("127.0.0.1:11435", True),
        ("[::1]", True),
        ("[::1]:65535", True),
        ("my_host.local.", True),
        ("%2Frun%2Fpenstock.sock", True),
        ("localhost:", True),
        ("localhost:65536", False),
        ("localhost:1a", False),
        ("[::1", False),
        ("::1", False),
        ("", False),
        ("a b", False),
        ("a?b", False),
        ("a\\b", False),
    ],
)
def test_hosts(host: str, good: bool) -> None:
    head = f"GET / HTTP/1.1\r\nHost: {host}\r\n\r\n".encode()
    request = h11.Request(method="GET", target="/", headers=[("Host", host)])
    if good:
        assert checked(request, head) is request
    else:
        with pytest.raises(BadRequest, match="Host"):
            checked(request, head)


async def test_no_answer_names_the_software(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        for path in ("/health", "/v1/models", "/nowhere"):
            _, headers, _ = await answered(house.address, get(path))
            assert "server" not in headers
