"""Connections over real sockets: made, refused, kept, gone stale, and cut off in the middle of a wait."""

from __future__ import annotations

import gc
import socket
import struct

import pytest
import trio

from penstock.errors import ConnectFailed
from penstock.relay import link as link_module
from penstock.relay import transport as transport_module
from penstock.relay.link import LinkBroken, SocketLink, connect
from penstock.relay.transport import KEPT, Transport
from ports import free_port


@pytest.fixture
def listening() -> socket.socket:
    with socket.create_server(("127.0.0.1", 0)) as server:
        yield server


async def linked(listening: socket.socket) -> tuple[SocketLink, socket.socket]:
    link = SocketLink(await connect(*listening.getsockname()))
    peer, _ = listening.accept()
    return link, peer


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
async def test_a_closed_port_is_refused_at_once(host: str) -> None:
    port = free_port()
    transport = Transport(f"http://{host}:{port}")
    request = transport.outgoing("GET", "/")
    with trio.fail_after(20), pytest.raises(ConnectFailed, match=f"cannot connect to {host}:{port}: .*") as caught:
        await transport.connect(request)
    assert "refused" in str(caught.value) or "all attempts" in str(caught.value)
    assert transport.open == 0


async def test_an_unreachable_address_is_cut_off_by_its_scope_and_leaves_no_socket() -> None:
    with socket.create_server(("127.0.0.1", 0), backlog=0) as full:
        filling = [socket.socket() for _ in range(3)]
        for sock in filling:
            sock.setblocking(False)
            sock.connect_ex(full.getsockname())
        with trio.move_on_after(0.1) as scope:
            await connect(*full.getsockname())
        assert scope.cancelled_caught
        for sock in filling:
            sock.close()


async def test_a_connection_that_is_reset_before_its_handshake_is_a_failed_one(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By a load balancer without a server behind it, for instance; to Python it was never connected."""

    async def reset_at_once(host: str, port: int) -> socket.socket:
        sock = await connect(host, port)
        peer, _ = listening.accept()
        peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        peer.close()
        await trio.lowlevel.wait_readable(sock)
        return sock

    monkeypatch.setattr(transport_module, "connect", reset_at_once)
    transport = Transport(f"https://127.0.0.1:{listening.getsockname()[1]}")
    with trio.fail_after(20), pytest.raises(ConnectFailed, match="no TLS with"):
        await transport.connect(transport.outgoing("GET", "/"))
    # what were left open would warn
    gc.collect()


async def test_a_socket_that_takes_no_options_is_closed(
    listening: socket.socket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(link_module, "OPTIONS", ((socket.IPPROTO_TCP, 9999, 1),))
    transport = Transport(f"http://127.0.0.1:{listening.getsockname()[1]}")
    with pytest.raises(ConnectFailed):
        await transport.connect(transport.outgoing("GET", "/"))
    peer, _ = listening.accept()
    with peer:
        assert peer.recv(1) == b""


async def test_a_cancelled_read_has_taken_nothing(listening: socket.socket) -> None:
    link, peer = await linked(listening)
    with trio.move_on_after(0.01) as scope:
        await link.receive()
    assert scope.cancelled_caught
    peer.sendall(b"whole")
    assert await link.receive() == b"whole"
    peer.close()
    assert await link.receive() == b""
    link.close()


async def test_unasked_bytes_make_a_kept_connection_stale(listening: socket.socket) -> None:
    link, peer = await linked(listening)
    assert not link.stale()
    peer.sendall(b"x")
    await trio.lowlevel.wait_readable(link._sock)
    assert link.stale()
    link.close()
    peer.close()


@pytest.mark.parametrize(("age", "used"), [(KEPT - 1, True), (KEPT, False)])
async def test_a_connection_that_was_kept_too_long_is_not_used(
    age: float, used: bool, listening: socket.socket
) -> None:
    """Whoever is between may have forgotten it, without a word."""
    now = 0.0
    transport = Transport("http://{}:{}".format(*listening.getsockname()), clock=lambda: now)
    request = transport.outgoing("GET", "/")
    exchange = await transport.connect(request)
    with listening.accept()[0] as peer:
        peer.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n")
        await exchange.head()
        exchange.close()
        assert transport.idle == 1
        now += age
        kept = transport.reuse(request)
        assert (kept is not None, transport.idle) == (used, 0)
        if kept is not None:
            kept.close()
        assert peer.recv(1) == b""


async def test_a_backend_that_vanishes_is_probed_for(listening: socket.socket) -> None:
    link, peer = await linked(listening)
    assert link._sock.getsockopt(socket.SOL_SOCKET, socket.SO_KEEPALIVE) == 1
    assert link._sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) < 60
    link.close()
    peer.close()


async def test_a_reset_is_broken_and_closing_twice_is_once(listening: socket.socket) -> None:
    link, peer = await linked(listening)
    peer.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    peer.close()
    with pytest.raises(LinkBroken):
        await link.receive()
    link.close()
    link.close()


async def test_a_large_request_is_sent_over_as_many_waits_as_it_takes(listening: socket.socket) -> None:
    body = b"x" * 8_000_000
    transport = Transport("http://{}:{}".format(*listening.getsockname()))
    exchange = await transport.connect(transport.outgoing("POST", "/big", body))
    peer, _ = listening.accept()
    assert not exchange.send_now()
    got = 0

    async def read() -> None:
        nonlocal got
        while not got >= len(body):
            got += len(await trio.to_thread.run_sync(peer.recv, 1 << 20))

    async with trio.open_nursery() as nursery:
        with trio.move_on_after(0.01):
            await exchange.send()
        nursery.start_soon(read)
        with trio.fail_after(20):
            await exchange.send()
    exchange.close()
    peer.close()
