"""TLS to a backend, as OpenSSL's other side sees it: trusted or not, cancelled in mid-record, kept, gone stale."""

from __future__ import annotations

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from functools import partial
from pathlib import Path

import pytest
import trio
import trustme

from penstock.errors import BackendTruncated, ConnectFailed
from penstock.relay.exchange import Exchange
from penstock.relay.tls import RECORD
from penstock.relay.transport import Transport

HEAD = b"HTTP/1.1 200 OK\r\nContent-Length: %d\r\n\r\n"
LARGE = b"x" * 3_000_000


@pytest.fixture(scope="module")
def authority() -> trustme.CA:
    return trustme.CA()


@pytest.fixture
def trusted(authority: trustme.CA, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """penstock trusts the authority, as an owner would make it."""
    path = f"{tmp_path}/ca.pem"
    authority.cert_pem.write_to_path(path)
    monkeypatch.setenv("SSL_CERT_FILE", path)


class Far:
    """The backend's end of one connection: OpenSSL in memory, so that each byte on the wire can be held back."""

    def __init__(self, stream: trio.SocketStream, context: ssl.SSLContext) -> None:
        self.stream = stream
        self._in, self._out = ssl.MemoryBIO(), ssl.MemoryBIO()
        self.tls = context.wrap_bio(self._in, self._out, server_side=True)

    async def shake_hands(self) -> None:
        while True:
            try:
                self.tls.do_handshake()
            except ssl.SSLWantReadError:
                await self.flush()
                self._in.write(await self.stream.receive_some())
            else:
                return await self.flush()

    async def flush(self) -> None:
        await self.stream.send_all(self._out.read())

    async def read(self) -> bytes:
        while True:
            try:
                return self.tls.read(65536)
            except ssl.SSLWantReadError:
                self._in.write(data := await self.stream.receive_some())
                if not data:
                    return b""

    async def request(self) -> bytes:
        """A whole request's body."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self.read()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += await self.read()
        return body

    def record(self, data: bytes) -> bytes:
        """What goes over the wire for these bytes."""
        self.tls.write(data)
        return self._out.read()

    async def says(self, data: bytes) -> None:
        await self.stream.send_all(self.record(data))


class Pair:
    """penstock's transport to a backend, and the connections that arrive there."""

    def __init__(self, transport: Transport, arrived: trio.MemoryReceiveChannel[Far]) -> None:
        self.transport = transport
        self.arrived = arrived

    @asynccontextmanager
    async def asked(self, body: bytes = b"{}") -> AsyncIterator[tuple[Exchange, Far]]:
        """A request of which nothing is written yet, and the far end with hands shaken."""
        request = self.transport.outgoing("POST", "/", body)
        async with trio.open_nursery() as nursery:
            exchanges: list[Exchange] = []

            async def connect() -> None:
                exchanges.append(await self.transport.connect(request))

            nursery.start_soon(connect)
            far = await self.arrived.receive()
            await far.shake_hands()
        try:
            yield exchanges[0], far
        finally:
            exchanges[0].close()


@pytest.fixture
async def pair(authority: trustme.CA, trusted: None, nursery: trio.Nursery) -> AsyncIterator[Pair]:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    authority.issue_cert("localhost", "127.0.0.1").configure_cert(context)
    send, arrived = trio.open_memory_channel[Far](10)

    async def arrives(stream: trio.SocketStream) -> None:
        await send.send(Far(stream, context))
        await trio.sleep_forever()

    listeners = await nursery.start(partial(trio.serve_tcp, arrives, 0, host="127.0.0.1"))
    port = listeners[0].socket.getsockname()[1]
    pair = Pair(Transport(f"https://127.0.0.1:{port}"), arrived)
    yield pair
    pair.transport.close_idle()


async def test_a_request_and_its_answer(pair: Pair) -> None:
    with trio.fail_after(20):
        async with pair.asked(b"hello") as (exchange, far):
            assert exchange.send_now()
            assert await far.request() == b"hello"
            await far.says(HEAD % 5 + b"world")
            assert (await exchange.head()).status_code == 200
            assert await exchange.receive() == b"world"


async def test_a_cancelled_write_goes_on_where_it_was(pair: Pair) -> None:
    """A heartbeat interrupts a long upload, again and again; the backend gets every byte once."""
    with trio.fail_after(20):
        async with pair.asked(LARGE) as (exchange, far):
            assert not exchange.send_now()
            for _ in range(5):
                with trio.move_on_after(0.02) as scope:
                    await exchange.send()
                assert scope.cancelled_caught
            async with trio.open_nursery() as nursery:
                nursery.start_soon(exchange.send)
                assert await far.request() == LARGE


async def test_a_cancelled_read_has_taken_nothing(pair: Pair) -> None:
    with trio.fail_after(20):
        async with pair.asked() as (exchange, far):
            await exchange.send()
            await far.request()
            record = far.record(HEAD % 5 + b"whole")
            await far.stream.send_all(record[:20])
            with trio.move_on_after(0.05) as scope:
                await exchange.head()
            assert scope.cancelled_caught
            await far.stream.send_all(record[20:])
            await exchange.head()
            assert await exchange.receive() == b"whole"


async def test_what_openssl_has_already_deciphered_is_not_waited_for(pair: Pair) -> None:
    """Several records in one segment, the first of them read in pieces."""
    with trio.fail_after(20):
        async with pair.asked() as (exchange, far):
            await exchange.send()
            await far.request()
            await far.stream.send_all(far.record(HEAD % (4 * RECORD)) + far.record(LARGE[: 4 * RECORD]))
            await exchange.head()
            got = b""
            while data := await exchange.receive():
                got += data
            assert got == LARGE[: 4 * RECORD]


async def answered(pair: Pair) -> Far:
    """One request answered to its end; the connection is free again."""
    async with pair.asked() as (exchange, far):
        await exchange.send()
        await far.request()
        await far.says(HEAD % 2 + b"ok")
        await exchange.head()
        assert await exchange.receive() == b"ok"
    return far


async def test_the_next_request_shakes_no_hands(pair: Pair) -> None:
    with trio.fail_after(20):
        far = await answered(pair)
        exchange = pair.transport.reuse(pair.transport.outgoing("POST", "/", b"again"))
        assert exchange is not None
        await exchange.send()
        assert await far.request() == b"again"
        exchange.close()


@pytest.mark.parametrize("way", ["with a farewell", "without one"])
async def test_a_kept_connection_that_was_closed_is_not_used(way: str, pair: Pair) -> None:
    with trio.fail_after(20):
        far = await answered(pair)
        if way == "with a farewell":
            # it never gets ours
            with pytest.raises(ssl.SSLWantReadError):
                far.tls.unwrap()
            await far.flush()
        await far.stream.aclose()
        assert pair.transport.reuse(b"") is None
        assert pair.transport.idle == 0
        assert pair.transport.open == 0


async def test_an_end_in_mid_answer_is_no_end(pair: Pair) -> None:
    """Whoever is between may cut a connection, and TLS's own farewell is left out by many servers."""
    with trio.fail_after(20):
        async with pair.asked() as (exchange, far):
            await exchange.send()
            await far.request()
            await far.says(HEAD % 10 + b"half")
            await far.stream.aclose()
            await exchange.head()
            assert await exchange.receive() == b"half"
            with pytest.raises(BackendTruncated):
                await exchange.receive()


async def connects(port: int) -> str:
    """Why there is no connection."""
    transport = Transport(f"https://localhost:{port}")
    with trio.fail_after(20), pytest.raises(ConnectFailed) as caught:
        await transport.connect(b"")
    assert transport.open == 0
    return str(caught.value)


@pytest.mark.parametrize(
    ("name", "known", "told"),
    [
        ("localhost", False, "its certificate is not trusted: unable to get local issuer certificate"),
        ("elsewhere.test", True, "its certificate is not trusted: Hostname mismatch, certificate is not valid for"),
    ],
)
async def test_one_that_is_not_meant_gets_no_request(
    name: str, known: bool, told: str, authority: trustme.CA, trusted: None, nursery: trio.Nursery
) -> None:
    context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    (authority if known else trustme.CA()).issue_cert(name).configure_cert(context)

    async def refused(stream: trio.SocketStream) -> None:
        far = Far(stream, context)
        try:
            await far.shake_hands()
            assert await far.read() == b""
        except (ssl.SSLError, trio.BrokenResourceError):
            # told in an alert, or by a reset
            pass

    listeners = await nursery.start(partial(trio.serve_tcp, refused, 0, host="localhost"))
    assert told in await connects(listeners[0].socket.getsockname()[1])


async def test_what_speaks_no_tls_is_called_so(nursery: trio.Nursery) -> None:
    async def plain(stream: trio.SocketStream) -> None:
        await stream.receive_some()
        await stream.send_all(b"HTTP/1.1 400 Bad Request\r\n\r\n")

    listeners = await nursery.start(partial(trio.serve_tcp, plain, 0, host="localhost"))
    port = listeners[0].socket.getsockname()[1]
    told = f"no TLS with localhost:{port}: what answers does not speak TLS; is its url one with http://?"
    assert await connects(port) == told


async def test_one_that_never_shakes_hands_is_left_and_closed(pair: Pair) -> None:
    with trio.move_on_after(0.1) as scope:
        await pair.transport.connect(b"")
    assert scope.cancelled_caught
    with trio.fail_after(20):
        far = await pair.arrived.receive()
        while await far.stream.receive_some():
            pass
    assert pair.transport.open == 0
