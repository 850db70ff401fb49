"""Sockets that a manager passed: recognised by their addresses, used, and left as they were."""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack
from itertools import permutations
from pathlib import Path

import pytest
import trio
from manager import item, listening, url

from penstock.config.model import Backend, Config, Server
from penstock.errors import ConfigError
from penstock.server.listener import address_of
from penstock.service.activation import missing, passed, unasked
from penstock.service.daemon import Daemon
from rawhttp import answered, get

#: Where the tests' sockets lie; a manager begins with 3, which is taken here.
FIRST = 300


@pytest.fixture
def three(tmp_path: Path) -> Iterator[list[socket.socket]]:
    with listening("127.0.0.1") as four, listening("::1") as six, listening(str(tmp_path / "sock")) as unix:
        yield [four, six, unix]


def environ_of(count: int, **said: str) -> dict[str, str]:
    return {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(count), "LISTEN_FDNAMES": "a:b", "HOME": "/"} | said


@pytest.fixture
def placed() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def place(stack: ExitStack, *objects: socket.socket | int) -> list[int]:
    """Descriptors from FIRST on, inheritable, as they are after a fork and an exec; closed unless they were taken."""
    numbers = []
    for number, thing in enumerate(objects, FIRST):
        os.dup2(thing if isinstance(thing, int) else thing.fileno(), number)
        numbers.append(number)
        stack.callback(_close, number)
    return numbers


def _close(number: int) -> None:
    # A socket object that was made of it has closed it, as a rule.
    if os.path.exists(f"/proc/self/fd/{number}"):
        os.close(number)


@pytest.mark.parametrize("order", list(permutations(range(3))))
def test_sockets_are_known_by_their_addresses(
    order: tuple[int, ...], three: list[socket.socket], placed: ExitStack
) -> None:
    place(placed, *(three[index] for index in order))
    sockets = passed(environ_of(3), FIRST)
    assert [address_of(sock) for sock in sockets] == [address_of(three[index]) for index in order]
    port = three[0].getsockname()[1]
    listen = [f"localhost:{port}", f"[0:0:0::1]:{three[1].getsockname()[1]}", item(three[2]), "127.0.0.1:1"]
    assert missing(listen, sockets) == ["127.0.0.1:1"]
    assert unasked(listen, sockets) == []
    assert [address_of(sock) for sock in unasked(listen[1:], sockets)] == [address_of(three[0])]
    for sock in sockets:
        sock.close()


def test_they_do_not_block_and_are_not_passed_on(three: list[socket.socket], placed: ExitStack) -> None:
    numbers = place(placed, *three)
    assert all(os.get_inheritable(number) for number in numbers)
    sockets = passed(environ_of(3), FIRST)
    for sock in sockets:
        assert not os.get_inheritable(sock.fileno())
        assert fcntl.fcntl(sock, fcntl.F_GETFL) & os.O_NONBLOCK
        sock.close()


def test_the_variables_are_gone_afterwards(three: list[socket.socket], placed: ExitStack) -> None:
    place(placed, three[0])
    environ = environ_of(1)
    for sock in passed(environ, FIRST):
        sock.close()
    assert environ == {"HOME": "/"}


@pytest.mark.parametrize("said", [{"LISTEN_PID": "1"}, {"LISTEN_PID": ""}, {"LISTEN_PID": "me"}])
def test_what_is_meant_for_another_process_is_left_alone(
    said: dict[str, str], three: list[socket.socket], placed: ExitStack
) -> None:
    numbers = place(placed, *three)
    environ = environ_of(3, **said)
    assert passed(environ, FIRST) == []
    assert environ == {"HOME": "/"}
    assert all(os.get_inheritable(number) for number in numbers)


def test_nothing_was_passed() -> None:
    assert passed({"HOME": "/"}) == []
    assert missing(["127.0.0.1:1", "unix:/p"], []) == ["127.0.0.1:1", "unix:/p"]


def test_what_cannot_be_listened_on_is_a_fault(three: list[socket.socket], placed: ExitStack) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as datagrams, socket.socket() as client:
        client.connect(three[0].getsockname())
        for thing in (datagrams, client):
            place(placed, three[0], thing)
            with pytest.raises(ConfigError, match="descriptor 301 was passed and accepts no connections; use ListenSt"):
                passed(environ_of(2), FIRST)
    with open("/dev/null") as file:
        place(placed, file.fileno())
        with pytest.raises(ConfigError, match="descriptor 300 was passed and is no socket"):
            passed(environ_of(1), FIRST)
    _close(FIRST)
    with pytest.raises(ConfigError, match="descriptor 300 was passed and is no socket: Bad file"):
        passed(environ_of(1), FIRST)
    with pytest.raises(ConfigError, match="LISTEN_FDS=many is no number"):
        passed(environ_of(0, LISTEN_FDS="many"))


def test_an_abstract_socket_is_shown_with_its_name(placed: ExitStack) -> None:
    with socket.socket(socket.AF_UNIX) as abstract:
        abstract.bind("\0penstock-test")
        abstract.listen()
        place(placed, abstract)
        (sock,) = passed(environ_of(1), FIRST)
        with sock:
            assert address_of(sock) == "unix:@penstock-test"
            assert unasked(["unix:/p"], [sock]) == [sock]


async def test_a_daemon_serves_them_and_leaves_them_as_they_were(
    three: list[socket.socket], placed: ExitStack, tmp_path: Path, nursery: trio.Nursery
) -> None:
    place(placed, *three)
    own = f"unix:{tmp_path}/own"
    listen = (*map(item, three[1:]), own)
    daemon = Daemon(
        Config(server=Server(listen=listen), backends={"b": Backend(kind="openai", url="http://127.0.0.1:9")})
    )
    with trio.fail_after(20):
        addresses = await nursery.start(daemon.serve, passed(environ_of(3), FIRST))
        assert addresses == [*map(url, three), own]
        for address in addresses:
            status, _, _ = await answered(address, get("/health"))
            assert status == 200
        await daemon.stop()
    assert not (tmp_path / "own").exists()
    for sock in three:
        with socket.socket(sock.family) as waiting:
            # The manager's sockets go on listening.
            waiting.connect(sock.getsockname())


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be somebody else")
async def test_the_mode_of_a_passed_unix_socket_says_who_may_connect(placed: ExitStack, nursery: trio.Nursery) -> None:
    """…while a socket of our own is for its owner only, whatever its mode."""
    folder = tempfile.mkdtemp(prefix="penstock-")
    placed.callback(shutil.rmtree, folder)
    os.chmod(folder, 0o755)
    theirs, ours = f"{folder}/theirs", f"{folder}/ours"
    program = (
        "import os, socket, sys; os.setuid(65534)\n"
        "s = socket.socket(socket.AF_UNIX); s.connect(sys.argv[1])\n"
        "s.sendall(b'GET /health HTTP/1.1\\r\\nHost: localhost\\r\\n\\r\\n'); print(s.recv(12))"
    )

    async def asked_by_nobody(path: str) -> str:
        command = [sys.executable, "-I", "-S", "-c", program, path]
        result = await trio.run_process(command, capture_stdout=True, stderr=subprocess.STDOUT, check=False)
        return result.stdout.decode()

    config = Config(
        server=Server(listen=(f"unix:{theirs}", f"unix:{ours}")),
        backends={"b": Backend(kind="openai", url="http://127.0.0.1:9")},
    )
    daemon = Daemon(config)
    with listening(theirs) as sock, trio.fail_after(20):
        place(placed, sock)
        await nursery.start(daemon.serve, passed(environ_of(1), FIRST))
        os.chmod(theirs, 0o666)
        os.chmod(ours, 0o666)
        assert await asked_by_nobody(theirs) == "b'HTTP/1.1 200'\n"
        # It is closed at once; whether that shows as an end or as a reset is a matter of time.
        assert "HTTP" not in await asked_by_nobody(ours)
        await daemon.stop()
