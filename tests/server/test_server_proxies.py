"""R8: the same requests to haproxy, to nginx and to penstock, and through each of them to penstock."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest
import trio
from house import settle_in
from hypercorn.typing import HTTPScope
from proxies import MARK, MISSING, PROXIES, before
from test_server_framing import BODY, CHUNKED, GOOD, LENGTH, NAMED, POST, REFUSED, TOO_MUCH

from penstock.policy.guard import Asked
from penstock.server import guarding
from rawhttp import connected

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.skipif(bool(MISSING), reason=f"{' and '.join(MISSING)} missing: apt-get install haproxy nginx-light"),
]

GET = b"GET /health HTTP/1.1\r\n" + NAMED
CHUNKS = POST + NAMED + b"Transfer-Encoding: chunked\r\n\r\n"
END = b"0\r\n\r\n"


def chunk(line: bytes) -> bytes:
    """The body in one chunk, whose line with the size is this."""
    return line % len(BODY) + BODY + b"\r\n"


#: Requests that look odd, beside those that penstock is known to refuse or to answer.
ODD = {
    "an extension of a chunk": CHUNKS + chunk(b"%x;a=b\r\n") + END,
    "a CR in an extension": CHUNKS + chunk(b"%x;a\rb\r\n") + END,
    "a line feed in an extension": CHUNKS + chunk(b"%x;a\nb\r\n") + END,
    "a bare line feed after a size": CHUNKS + chunk(b"%x\n") + END,
    "a blank after a size": CHUNKS + chunk(b"%x \r\n") + END,
    "a blank before a size": CHUNKS + chunk(b" %x\r\n") + END,
    "a size of sixteen digits": CHUNKS + chunk(b"FFFFFFFFFFFFFF%x\r\n") + END,
    "two zeros at the end": CHUNKS + chunk(b"%x\r\n") + b"00\r\n\r\n",
    "a broken trailer": CHUNKS + chunk(b"%x\r\n") + b"0\r\nno trailer\r\n\r\n",
    "chunks in capitals": POST + NAMED + b"Transfer-Encoding: CHUNKED\r\n\r\n" + CHUNKED,
    "chunks after a tab": POST + NAMED + b"Transfer-Encoding:\tchunked\r\n\r\n" + CHUNKED,
    "chunks twice": POST + NAMED + b"Transfer-Encoding: chunked, chunked\r\n\r\n" + CHUNKED,
    "chunks in two lines": POST + NAMED + b"Transfer-Encoding: chunked\r\n" * 2 + b"\r\n" + CHUNKED,
    "no coding": POST + NAMED + b"Transfer-Encoding: identity\r\n" + LENGTH + b"\r\n" + BODY,
    "an empty coding": POST + NAMED + b"Transfer-Encoding:\r\n" + LENGTH + b"\r\n" + BODY,
    "an empty length": POST + NAMED + b"Content-Length:\r\n\r\n" + BODY,
    "a body of a GET": GET + b"Content-Length: 2\r\n\r\n{}",
    "a method in small letters": b"get /health HTTP/1.1\r\n" + NAMED + b"\r\n",
    "a method nobody knows": b"FOO /health HTTP/1.1\r\n" + NAMED + b"\r\n",
    "two blanks": b"GET  /health HTTP/1.1\r\n" + NAMED + b"\r\n",
    "tabs": b"GET\t/health\tHTTP/1.1\r\n" + NAMED + b"\r\n",
    "a blank at the end": b"GET /health HTTP/1.1 \r\n" + NAMED + b"\r\n",
    "a field without a name": GET + b": x\r\n\r\n",
    "a field without a colon": GET + b"x\r\n\r\n",
    "a bracket in a name": GET + b"a(b: x\r\n\r\n",
    "a name that is not ASCII": GET + "ä: x\r\n\r\n".encode(),
    "a value that is not ASCII": GET + "a: ä\r\n\r\n".encode(),
    "a vertical tab": GET + b"a: b\x0bc\r\n\r\n",
    "half an escape in the path": b"GET /%zz HTTP/1.1\r\n" + NAMED + b"\r\n",
    "a NUL in the path": b"GET /health%00 HTTP/1.1\r\n" + NAMED + b"\r\n",
    "a path above the root": b"GET /../../health HTTP/1.1\r\n" + NAMED + b"\r\n",
}
CORPUS = {
    **REFUSED,
    **{name: line + NAMED + b"\r\n" for name, line in GOOD.items()},
    **{name: request for name, (_, request) in TOO_MUCH.items()},
    **ODD,
}

#: What penstock takes for a request and one of them does not, and why that is as it should be.
ANSWERED = {
    "chunks after a tab": "white space before a value is blanks and tabs (RFC 9110 5.6.3); nginx knows blanks only",
    "a CR in an extension": "h11 throws extensions away unread; whoever refuses them passes none on",
    "a method in small letters": "it is taken for what it means; no other rule hangs on it",
    "half an escape in the path": "it leads nowhere: 404",
    "a NUL in the path": "it leads nowhere: 404",
    "a path above the root": "it leads nowhere: 404",
}


async def verdict(address: str, request: bytes) -> bool:
    """Whether this is a request for who listens there, whatever it answers; to wait for more of it is none."""
    async with connected(address) as client:
        name = client.host if address.startswith("http") else "localhost"
        with trio.move_on_after(4):
            try:
                await client.stream.send_all(
                    request.replace(b"Host: HERE", b"Host: " + name.encode()).replace(b"//HERE", b"//" + name.encode())
                )
                status, headers = await client.head()
                while status < 200:
                    status, headers = await client.head()
            except (AssertionError, trio.BrokenResourceError):
                return False
            # What is a request and leads nowhere has an answer too, which leaves the connection open.
            return status < 300 or (status in (404, 405) and headers.get("connection") != "close")
    return False


async def always_good(stream: trio.SocketStream) -> None:
    """A server that takes everything and answers 200."""
    async with stream:
        data = b""
        try:
            while b"\r\n\r\n" not in data:
                if not (more := bytes(await stream.receive_some())):
                    return
                data += more
            with trio.move_on_after(0.05):
                while await stream.receive_some():
                    pass
            await stream.send_all(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
        except trio.BrokenResourceError:
            return


async def test_penstock_refuses_what_others_refuse(tmp_path: Path, nursery: trio.Nursery) -> None:
    """Whatever either of them takes for no request; where that is not so, this file says why."""
    (listener,) = await nursery.start(partial(trio.serve_tcp, always_good, 0, host="127.0.0.1"))
    house = await settle_in(nursery, limits={"header_time": 2.0, "body_time": 2.0})
    laxer = set()
    async with before(f"127.0.0.1:{listener.socket.getsockname()[1]}", tmp_path) as proxies:
        addresses = {**proxies, "penstock": house.address}
        with trio.fail_after(300):
            for case, request in CORPUS.items():
                found: dict[str, bool] = {}

                async def ask(name: str, case: str, request: bytes, found: dict[str, bool] = found) -> None:
                    found[name] = await verdict(addresses[name], request)

                async with trio.open_nursery() as asking:
                    for name in addresses:
                        asking.start_soon(ask, name, case, request)
                if found["penstock"] and not all(found[name] for name in PROXIES):
                    laxer.add(case)
    assert laxer == ANSWERED.keys()


# --- a request in another one ----------------------------------------------------------------------------------------

HIDDEN = b"GET /hidden HTTP/1.1\r\nHost: localhost\r\n\r\n"
#: Ways to write a field so that one reader sees it and another does not.
FIELDS = [
    b"Transfer-Encoding: chunked", b"Transfer-Encoding : chunked", b"Transfer-Encoding:chunked",
    b"Transfer-Encoding:\tchunked", b"Transfer-Encoding: \x0bchunked", b"Transfer-Encoding: xchunked",
    b"Transfer-Encoding: chunked, identity", b"Transfer-Encoding: identity, chunked",
    b'Transfer-Encoding: "chunked"', b"Transfer-Encoding: chunked\r\nTransfer-Encoding: x",
    b"Transfer-Encoding: x\r\nTransfer-Encoding: chunked", b"X: y\nTransfer-Encoding: chunked",
    b"X: y\rTransfer-Encoding: chunked", b" Transfer-Encoding: chunked", b"X: y\r\n Transfer-Encoding: chunked",
    b"Transfer-Encoding:\r\n chunked", b"Transfer_Encoding: chunked", b"TRANSFER-ENCODING: Chunked",
    b"Transfer-Encoding: chunked;x=y", b"Transfer-Encoding: chunked\x00", b"Transfer-Encoding\x00: chunked",
    b"Transfer-Encoding: c\xc4\xb0hunked", b"Content-Length: 0", b"Content-Length: 00", b"Content-Length: +0",
    b"Content-Length: 0, 0", b"Content-Length: -0", b"Content-Length : 0", b"Content-Length: 0x0",
    b"Content_Length: 0", b"X: y\nContent-Length: 0", b"Content-Length:\r\n 0",
    b"Upgrade: h2c\r\nConnection: Upgrade", b"Expect: 100-continue", b"Connection: Content-Length",
    b"Connection: Transfer-Encoding",
]  # fmt: skip


def hiding(field: bytes) -> list[bytes]:
    """Requests with another one in their bodies, for readers that go by the length and for those that do not."""
    by_length = b"0\r\n\r\n" + HIDDEN
    by_chunks = b"%x\r\n%b\r\n0\r\n\r\n" % (len(HIDDEN), HIDDEN)
    head = b"POST /api/show HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
    requests = [head + field + b"\r\nContent-Length: %d\r\n\r\n" % len(by_length) + by_length]
    requests.append(head + b"Content-Length: %d\r\n" % len(by_length) + field + b"\r\n\r\n" + by_length)
    requests.append(head + field + b"\r\nTransfer-Encoding: chunked\r\n\r\n" + by_chunks)
    requests.append(head + field + b"\r\nContent-Length: %d\r\n\r\n" % len(HIDDEN) + HIDDEN)
    return requests


@pytest.mark.parametrize("name", PROXIES)
async def test_nobody_gets_a_request_past_another_server(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """What it forwards as one request is one for penstock, too, on connections that many clients share.

    It marks whatever it takes for a request; what comes without the mark was none for it.
    """
    seen: list[tuple[str, bool]] = []
    look = guarding.look

    def noted(scope: HTTPScope) -> Asked:
        seen.append((scope["path"], any(name == MARK.lower().encode() for name, _ in scope["headers"])))
        return look(scope)

    monkeypatch.setattr(guarding, "look", noted)
    house = await settle_in(nursery, limits={"body_time": 2.0})
    async with before(house.address.removeprefix("http://"), tmp_path) as proxies:
        with trio.fail_after(300):
            # what would be seen of one that gets past
            assert not await through(house.address, HIDDEN)
            assert seen == [("/hidden", False)]
            seen.clear()
            for field in FIELDS:
                for request in hiding(field):
                    await through(proxies[name], request)
                    # whatever is left on the shared connection would be answered to the next one
                    assert await through(proxies[name], b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"), field
                assert [path for path, marked in seen if not marked] == [], field
    assert {path for path, _ in seen} >= {"/api/show", "/health"}, "some of them have arrived"


async def through(address: str, request: bytes) -> bool:
    """Whether the first answer to this is a good one."""
    async with connected(address) as client:
        with trio.move_on_after(1.5):
            try:
                await client.stream.send_all(request)
                status, headers = await client.head()
                await client.body(headers)
            except (AssertionError, trio.BrokenResourceError):
                return False
            return status == 200
    return False
