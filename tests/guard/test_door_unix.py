"""A unix socket: no names and no pages, but a mode, and the user at the other end."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

import pytest
import trio
from door import Asking, key, open_door

from rawhttp import answered, call, connected

TAGS = Asking("", "GET", "/api/tags")


async def test_neither_host_nor_origin_matters(tmp_path: Path, nursery: trio.Nursery) -> None:
    door = await open_door(nursery, listen=(f"unix:{tmp_path}/p.sock",))
    for request in (
        TAGS.raw(host=None, version="1.0"),
        TAGS.raw(host="box"),
        TAGS.raw("Origin: http://localhost", "Sec-Fetch-Site: cross-site", host="localhost"),
        call("sim"),
    ):
        status, headers, _ = await answered(door.address, request)
        assert status == 200
        assert "access-control-allow-origin" not in headers


async def test_its_requests_need_a_key_like_all_others(tmp_path: Path, nursery: trio.Nursery) -> None:
    door = await open_door(nursery, listen=(f"unix:{tmp_path}/p.sock",), keys=(key("laptop", "sk-laptop"),))
    assert (await answered(door.address, TAGS.raw(host="box")))[0] == 401
    assert (await answered(door.address, TAGS.raw("api-key: sk-laptop", host="box")))[0] == 200


async def test_the_rules_of_the_other_listeners_stay(tmp_path: Path, nursery: trio.Nursery) -> None:
    door = await open_door(nursery, listen=("127.0.0.1:0", f"unix:{tmp_path}/p.sock"))
    assert (await answered(door.addresses[0], TAGS.raw(host="box")))[0] == 421
    assert (await answered(door.addresses[1], TAGS.raw(host="box")))[0] == 200


@pytest.fixture
def public() -> Iterator[Path]:
    """A folder that everybody may enter."""
    with TemporaryDirectory(prefix="penstock-") as folder:
        os.chmod(folder, 0o755)
        yield Path(folder)


#: Becomes somebody, connects, asks, and prints what comes back.
VISITOR = """
import os, socket, sys
os.setuid(int(sys.argv[2]))
sock = socket.socket(socket.AF_UNIX)
sock.settimeout(5)
sock.connect(sys.argv[1])
try:
    sock.sendall(b"GET /api/tags HTTP/1.1\\r\\nHost: x\\r\\nConnection: close\\r\\n\\r\\n")
    print(sock.recv(100)[:12].decode())
except OSError:
    print()
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else")
async def test_another_user_is_not_heard(public: Path, nursery: trio.Nursery) -> None:
    """The mode keeps others out; where somebody has loosened it, the kernel still tells who is there."""
    path = public / "p.sock"
    door = await open_door(nursery, listen=(f"unix:{path}",))
    assert stat.S_IMODE(path.stat().st_mode) == 0o600

    async def visit(user: int) -> tuple[int, str]:
        command = [sys.executable, "-c", VISITOR, str(path), str(user)]
        done = await trio.run_process(command, capture_stdout=True, capture_stderr=True, check=False)
        return done.returncode, done.stdout.decode().strip()

    assert await visit(0) == (0, "HTTP/1.1 200")
    assert (await visit(65534))[0] == 1, "the mode should have kept it out"
    path.chmod(0o666)
    assert await visit(65534) == (0, "")
    assert await visit(0) == (0, "HTTP/1.1 200")
    async with connected(door.address) as client:
        await client.send(TAGS.raw(host="x"))
        assert (await client.answer())[0] == 200
