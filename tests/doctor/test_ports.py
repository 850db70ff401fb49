"""Who listens on an address, against sockets of this process and tables of the kernel."""

from __future__ import annotations

import os
import socket
from pathlib import Path

import pytest

from penstock.config.addresses import TcpAddress, UnixAddress
from penstock.service.ports import Process, holders


@pytest.mark.parametrize("host", ["127.0.0.1", "::1", "0.0.0.0", "::"])
@pytest.mark.parametrize("wanted", ["127.0.0.1", "::1", "localhost", "0.0.0.0"])
def test_a_listener_is_found_where_it_is_in_the_way(host: str, wanted: str) -> None:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family) as sock:
        sock.bind((host, 0))
        sock.listen()
        found = holders(TcpAddress(wanted, sock.getsockname()[1]))
    meets = host in (wanted, "::") or wanted == "localhost" or {host, wanted} == {"127.0.0.1", "0.0.0.0"}
    assert ([process.pid for process in found] if found else found) == ([os.getpid()] if meets else None)


def test_a_connection_is_no_listener() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server, socket.create_connection(server.getsockname()) as client:
        assert holders(TcpAddress(*client.getsockname())) is None


def test_a_unix_socket(tmp_path: Path) -> None:
    path = str(tmp_path / "s")
    assert holders(UnixAddress(path)) is None
    with socket.socket(socket.AF_UNIX) as sock:
        sock.bind(path)
        assert holders(UnixAddress(path)) is None
        sock.listen()
        found = holders(UnixAddress(path))
        assert found is not None
        assert [process.pid for process in found] == [os.getpid()]


def test_what_another_user_holds_has_no_name(tmp_path: Path) -> None:
    """The kernel shows everybody the socket, and its holder only to its owner."""
    row = "0: 0100007F:2CAB 00000000:0000 0A 00000000:00000000 00:00000000 00000000 1000 0 4711 1 0"
    (tmp_path / "net").mkdir()
    (tmp_path / "net/tcp").write_text(f"head\n{row}\n")
    assert holders(TcpAddress("127.0.0.1", 11435), tmp_path) == []
    assert holders(TcpAddress("127.0.0.1", 11434), tmp_path) is None


@pytest.mark.parametrize(
    ("command", "name"),
    [
        (("/usr/bin/ollama", "serve"), "ollama"),
        (("/opt/venv/bin/python3.11", "/opt/venv/bin/penstock", "serve"), "penstock"),
        (("python3", "-m", "penstock", "serve"), "penstock"),
        (("python3",), "python3"),
        ((), "?"),
    ],
)
def test_the_name_of_a_process(command: tuple[str, ...], name: str) -> None:
    assert str(Process(7, command)) == f"{name} (pid 7)"
