"""penstock as a service: started, watched, drained and restarted by a manager that the test plays."""

from __future__ import annotations

import json
import re
import shutil
import signal
import socket
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path

import pytest
import trio
from manager import LONG, Manager, Service, item, listening, url

from crowd import Crowd
from ports import free_port
from rawhttp import answered, ask, call, get

Start = Callable[..., Service]


@pytest.fixture
def manager(tmp_path: Path) -> Iterator[Manager]:
    manager = Manager(str(tmp_path / "notify"))
    yield manager
    manager.close()


@pytest.fixture
def sockets(tmp_path: Path) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(listening(place)) for place in ("127.0.0.1", "::1", str(tmp_path / "unix"))]


def config(*listen: str, drain: str = "2s") -> str:
    return f'[server]\nlisten = {json.dumps(listen)}\ndrain = "{drain}"\nlog_format = "json"\n'


def ready(message: dict[str, str]) -> bool:
    return message.get("READY") == "1"


async def test_ready_means_that_every_address_answers(
    manager: Manager, sockets: list[socket.socket], started: Start, tmp_path: Path
) -> None:
    own = f"unix:{tmp_path}/own"
    with trio.fail_after(LONG):
        # The last is passed, and the file does not name it.
        service = started(config(own, *map(item, sockets[1::-1])), sockets, NOTIFY_SOCKET=manager.address)
        assert (await manager.until(ready))["STATUS"] == "0 streams; backends: demo"
        for address in (own, *map(url, sockets)):
            status, _, _ = await answered(address, get("/health"))
            assert status == 200
        service.signal(signal.SIGTERM)
        assert await service.exit() == 0
    lines = [json.loads(line) for line in service.log.splitlines()]
    (told,) = [line for line in lines if line["level"] == "warning"]
    assert told["event"] == "passed a socket that server.listen does not name"
    assert told["address"] == url(sockets[2])
    assert lines[1]["addresses"].split(", ") == [*map(url, sockets), own]


async def test_a_drain_asks_for_the_time_it_takes(
    manager: Manager, sockets: list[socket.socket], started: Start
) -> None:
    with trio.fail_after(LONG):
        service = started(config(item(sockets[0])), sockets[:1], NOTIFY_SOCKET=manager.address)
        await manager.until(ready)
        client = await ask(url(sockets[0]), call("sim:tokens=100000,rate=50"))
        await client.until(b" t5")
        await manager.until(lambda message: message == {"STATUS": "1 stream; backends: demo"})
        service.signal(signal.SIGTERM)
        first = await manager.until(lambda message: "STOPPING" in message)
        assert first == {"STOPPING": "1", "STATUS": "draining 1 stream, 2 s left", "EXTEND_TIMEOUT_USEC": "5000000"}
        again = await manager.until(lambda message: "EXTEND_TIMEOUT_USEC" in message)
        assert re.fullmatch("draining 1 stream, [12] s left", again["STATUS"])
        assert b"penstock is shutting down" in await client.rest()
        assert await service.exit() == 0
        client.stream.socket.close()


async def test_the_watchdog_is_fed_and_its_signal_leaves_a_stack(
    manager: Manager, sockets: list[socket.socket], started: Start
) -> None:
    with trio.fail_after(LONG):
        begun = time.monotonic()
        service = started(config(item(sockets[0])), sockets[:1], NOTIFY_SOCKET=manager.address, WATCHDOG_USEC="1000000")
        await manager.until(ready)
        for _ in range(4):
            await manager.until(lambda message: message.get("WATCHDOG") == "1")
        # Half a second each; that they are no later either is for a clock that nothing disturbs.
        assert time.monotonic() - begun > 1.9
        service.signal(signal.SIGABRT)
        assert await service.exit() == -signal.SIGABRT
    assert "Fatal Python error: Aborted" in service.log
    assert re.search(r'File ".*/service/daemon.py", line \d+ in run', service.log)


@pytest.mark.parametrize(
    ("text", "told"),
    [("[server]\ndrain = 10x", "2:11: server.drain"), ('[server]\nlisten = ["%s"]', "Address already in use")],
    ids=["the file", "the address"],
)
async def test_what_trying_again_does_not_mend_has_a_status_of_its_own(
    text: str, told: str, manager: Manager, sockets: list[socket.socket], started: Start
) -> None:
    service = started(text.replace("%s", item(sockets[0])), NOTIFY_SOCKET=manager.address)
    assert await service.exit() == 78
    assert told in service.log
    assert "Traceback" not in service.log
    assert manager.take() == []


@pytest.mark.parametrize(
    ("restarts", "clients"), [(1, 4), pytest.param(5, 8, marks=pytest.mark.heavy)], ids=["once", "five times"]
)
async def test_nobody_is_refused_during_a_restart(
    restarts: int, clients: int, manager: Manager, sockets: list[socket.socket], started: Start, nursery: trio.Nursery
) -> None:
    crowd = Crowd(url(sockets[0]))
    with trio.fail_after(60):
        for number in range(restarts + 1):
            service = started(config(item(sockets[0])), sockets[:1], NOTIFY_SOCKET=manager.address)
            await manager.until(ready)
            if number == 0:
                for _ in range(clients):
                    nursery.start_soon(crowd.ask)
            await crowd.some_more()
            if number < restarts:
                service.signal(signal.SIGTERM)
                assert await service.exit() == 0
    nursery.cancel_scope.cancel()
    assert crowd.faults == []


@pytest.mark.skipif(not shutil.which("systemd-socket-activate"), reason="needs systemd-socket-activate")
async def test_under_systemd_socket_activate(manager: Manager, tmp_path: Path, nursery: trio.Nursery) -> None:
    four, six = f"127.0.0.1:{free_port()}", f"[::1]:{free_port('::1')}"
    places = [six, str(tmp_path / "unix"), four]
    addresses = [f"http://{six}", f"unix:{places[1]}", f"http://{four}"]
    file = tmp_path / "penstock.toml"
    file.write_text(config(places[2], f"unix:{places[1]}", places[0]))
    command = ["systemd-socket-activate", *(f"--listen={place}" for place in places), "--fdname=a:b:c"]
    command += ["-E", f"NOTIFY_SOCKET={manager.address}"]
    command += [sys.executable, "-m", "penstock", "serve", "--demo", "--config", str(file)]
    log = tmp_path / "log"
    with trio.fail_after(LONG), log.open("wb") as stderr:
        process = await nursery.start(partial(trio.run_process, command, stderr=stderr))
        while log.read_bytes().count(b"Listening on") < len(places):
            await trio.sleep(0.01)
        for address in addresses:
            # It starts the command at the first connection, which waits.
            status, _, _ = await answered(address, get("/health"))
            assert status == 200
        assert ready(manager.take()[0])
        process.terminate()
        await process.wait()
    assert b" warning " not in log.read_bytes()
    assert Path(places[1]).is_socket()
