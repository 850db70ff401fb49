"""Where the daemon listens, and what it leaves there."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path

import pytest
import trio
from house import settle_in

from penstock.errors import ConfigError
from penstock.server.listener import USER_TIMEOUT, bind
from rawhttp import Client, answered, ask, call, connected, get


async def test_several_addresses_at_once(nursery: trio.Nursery, tmp_path: Path) -> None:
    listen = ("127.0.0.1:0", "[::1]:0", f"unix:{tmp_path / 'socket'}")
    house = await settle_in(nursery, listen=listen)
    with trio.fail_after(20):
        for address in house.addresses:
            status, _, body = await answered(address, call("sim:tokens=2"))
            assert (status, b"[DONE]" in body) == (200, True)
            client = await ask(address, call("sim:fault=mute"))
            await house.simulation.records.until(lambda: house.simulation.records.counters.running == 1)
            client.leave("rst")
            await house.simulation.records.until(lambda: house.simulation.records.counters.running == 0)
    assert house.addresses[1].startswith("http://[::1]:")


async def test_a_unix_socket_is_the_owners_alone_and_goes_with_the_daemon(
    nursery: trio.Nursery, tmp_path: Path
) -> None:
    path = tmp_path / "socket"
    house = await settle_in(nursery, listen=(f"unix:{path}",))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    with trio.fail_after(20):
        await house.daemon.stop()
    assert not path.exists()


async def test_a_stop_right_after_the_start(nursery: trio.Nursery) -> None:
    with trio.fail_after(20):
        for _ in range(20):
            house = await settle_in(nursery, listen=("127.0.0.1:0", "[::1]:0"))
            await house.daemon.stop()


def test_a_dead_socket_is_replaced(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with bind(f"unix:{path}") as listening, socket.socket(socket.AF_UNIX) as client:
        client.connect(str(path))
        listening.accept()[0].close()


@pytest.mark.parametrize("what", ["file", "folder", "link to a file"])
def test_what_is_no_socket_is_never_removed(what: str, tmp_path: Path) -> None:
    path = tmp_path / "socket"
    if what == "folder":
        path.mkdir()
    elif what == "file":
        path.write_text("precious")
    else:
        (tmp_path / "file").write_text("precious")
        path.symlink_to(tmp_path / "file")
    with pytest.raises(ConfigError, match="a file that is no socket is in the way"):
        bind(f"unix:{path}")
    assert what == "folder" or path.read_text() == "precious"


def test_a_socket_in_use_is_not_taken(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    with bind(f"unix:{path}"):
        with pytest.raises(ConfigError, match="another process listens there"):
            bind(f"unix:{path}")
        with socket.socket(socket.AF_UNIX) as client:
            client.connect(str(path))


def test_a_port_in_use_is_said(tmp_path: Path) -> None:
    with bind("127.0.0.1:0") as first:
        port = first.getsockname()[1]
        with pytest.raises(
            ConfigError, match=rf"cannot listen on 127\.0\.0\.1:{port}: Address already in use; penstock doctor"
        ):
            bind(f"127.0.0.1:{port}")


async def test_accepted_sockets_have_their_options(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, listen=("127.0.0.1:0", "[::1]:0"))
    with trio.fail_after(20):
        for address in house.addresses:
            async with connected(address) as client:
                await client.send(get("/health"))
                await client.answer()
                (connection,) = house.daemon._listener._connections
                sock = connection._sock
                option = sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT)
                assert option == USER_TIMEOUT * 1000
                assert sock.getsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY)
                assert not os.get_inheritable(sock.fileno())
            await house.until(lambda: not house.daemon._listener._connections)


async def test_many_at_the_same_moment(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    finished = []

    async def one() -> None:
        status, _, _ = await answered(house.address, call("sim:tokens=2"))
        finished.append(status)

    with trio.fail_after(20):
        async with trio.open_nursery() as clients:
            for _ in range(200):
                clients.start_soon(one)
    # the slots are fewer than the clients, the queue is not long enough for the rest
    assert len(finished) == 200 and set(finished) <= {200, 503}
    assert finished.count(200) >= 128


async def test_a_client_that_left_before_it_was_accepted(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    port = int(house.address.rsplit(":", 1)[1])
    with trio.fail_after(20):
        for way in ("fin", "rst", "half-close"):
            sock = socket.create_connection(("127.0.0.1", port))
            stream = trio.SocketStream(trio.socket.from_stdlib_socket(sock))
            Client(stream, "").leave(way)
            stream.socket.close()
        status, _, _ = await answered(house.address, get("/health"))
        assert status == 200
        await house.until(lambda: house.daemon._listener.connections == 0)
