"""penstock under a real systemd, from its installation to its removal."""

from __future__ import annotations

import re
import time

import openai
import pytest
import trio
from installed import ADDRESS, CONFIG, FILE, Service, until
from machine import Machine

from crowd import Crowd
from rawhttp import answered, ask, call, get

#: Runs with the Python of the service, and hangs its event loop when it is told to.
HOOK = """\
import signal, time

def hang(number, frame):
    time.sleep(600)

signal.signal(signal.SIGUSR2, hang)
"""


def streamed(tokens: int) -> str:
    """A whole answer, as a user's tool gets it."""
    client = openai.OpenAI(base_url=f"{ADDRESS}/v1", api_key="none", max_retries=0, timeout=20)
    with client.chat.completions.create(
        model=f"sim:tokens={tokens}", messages=[{"role": "user", "content": "Count."}], stream=True
    ) as stream:
        return "".join(chunk.choices[0].delta.content or "" for chunk in stream if chunk.choices)


def counted(tokens: int) -> str:
    return "".join(f" t{number}" for number in range(tokens))


def test_an_installed_service_serves_a_real_client(machine: Machine, service: Service) -> None:
    for unit in ("penstock.socket", "penstock.service"):
        assert machine.run("systemctl", "is-active", unit) == "active"
        assert machine.run("systemctl", "is-enabled", unit) == "enabled"
    with machine.network():
        assert streamed(20) == counted(20)
    assert "1 of 32" not in (told := machine.run(service.command, "status")) and "penstock" in told
    assert machine.run("systemctl", "show", "penstock", "--property=StatusText").endswith(
        "0 streams; backends: backend"
    )
    # Called again it changes nothing but what runs.
    assert service.install().endswith("It runs; its log: journalctl -u penstock")


@pytest.mark.parametrize("units", [("penstock.socket", "penstock.service"), ("penstock.service",)], ids=len)
async def test_a_start_is_over_when_every_address_answers(
    units: tuple[str, ...], machine: Machine, service: Service
) -> None:
    """…with the socket unit as without: then penstock opens the addresses itself."""
    machine.run("systemctl", "stop", "penstock.service", "penstock.socket")
    if "penstock.socket" not in units:
        machine.run("sed", "-i", "/^Requires=/d", "/etc/systemd/system/penstock.service")
        machine.run("systemctl", "daemon-reload")
    with machine.network(), trio.fail_after(60):
        for _ in range(5):
            machine.run("systemctl", "stop", *units)
            machine.run("systemctl", "start", *units)
            status, _, _ = await answered(ADDRESS, get("/health"))
            assert status == 200
    assert ("penstock.socket" in units) == (machine.tried("systemctl", "is-active", "penstock.socket")[0] == 0)


def test_a_wrong_file_is_told_and_not_tried_again(machine: Machine, service: Service) -> None:
    machine.write(FILE, CONFIG.replace('"3s"', '"3x"'))
    begun = time.monotonic()
    status, _ = machine.tried("systemctl", "restart", "penstock.service")
    assert status != 0
    # Not after TimeoutStartSec=, as one that hangs.
    assert time.monotonic() - begun < 45
    assert service.state == ("failed", "exit-code")
    assert machine.property("penstock.service", "ExecMainStatus") == "78"
    assert f"{FILE}:2:9: server.drain: " in service.log()
    # Not "auto-restart": nothing is planned.
    assert machine.property("penstock.service", "SubState") == "failed"
    assert machine.property("penstock.service", "NRestarts") == "0"
    # The addresses stay, and whoever asks waits for the file to be mended.
    assert machine.run("systemctl", "is-active", "penstock.socket") == "active"
    machine.write(FILE, CONFIG)
    with machine.network():
        assert streamed(3) == counted(3)
    assert service.state == ("active", "success")


def test_without_a_file_it_waits_for_its_first_backend(machine: Machine, penstock: str) -> None:
    service = Service(machine, penstock)
    machine.run(penstock, "install", "--system")
    assert service.state == ("active", "success")
    process = service.pid
    assert machine.property("penstock.service", "StatusText") == "0 streams; backends: none"
    # Where a local server is looked for.
    machine.run("systemd-run", "--quiet", "--unit=late", penstock, "simulate", "--listen=127.0.0.1:11434")
    until(lambda: "none" not in machine.property("penstock.service", "StatusText"), "its first backend")
    assert "of 1 slots busy" in machine.run(penstock, "status")
    assert (service.pid, service.state) == (process, ("active", "success"))
    machine.run("systemctl", "stop", "late.service")
    service.remove()


async def test_five_restarts_refuse_nobody(machine: Machine, service: Service, nursery: trio.Nursery) -> None:
    crowd = Crowd(ADDRESS)
    with machine.network(), trio.fail_after(90):
        for _ in range(8):
            nursery.start_soon(crowd.ask)
        for _ in range(5):
            await crowd.some_more()
            await trio.to_thread.run_sync(service.restart)
        await crowd.some_more()
        nursery.cancel_scope.cancel()
    assert crowd.faults == []
    assert service.state == ("active", "success")


async def test_a_loop_that_hangs_is_ended_and_leaves_its_stack(machine: Machine, service: Service) -> None:
    machine.write("/usr/local/share/hang/sitecustomize.py", HOOK)
    service.settings("Environment=PYTHONPATH=/usr/local/share/hang\nWatchdogSec=2s\n")
    service.restart()
    with machine.network(), trio.fail_after(60):
        before = service.pid
        begun = time.time()
        machine.run("kill", "-USR2", str(before))
        # It hangs; who asks now is served by its successor.
        status, _, _ = await answered(ADDRESS, get("/health"))
    assert status == 200
    assert service.pid != before
    log = service.log()
    assert "Fatal Python error: Aborted" in log
    assert re.search(r'File ".*/sitecustomize.py", line \d+ in hang', log)
    assert re.search(r'File ".*/service/daemon.py", line \d+ in run', log)
    assert machine.property("penstock.service", "NRestarts") == "1"
    told = machine.journal("UNIT=penstock.service")
    (noticed,) = [int(entry["__REALTIME_TIMESTAMP"]) for entry in told if "Watchdog timeout" in entry["MESSAGE"]]
    # A ping had come before it hung.
    assert noticed / 1e6 - begun < 2 + 1
    machine.run("rm", "-r", "/usr/local/share/hang")


@pytest.mark.parametrize("seconds", [2, 60], ids=["that is short enough", "that is too long"])
async def test_a_stop_waits_for_a_stream(seconds: int, machine: Machine, service: Service) -> None:
    """It takes longer than TimeoutStopSec=, which penstock has extended."""
    service.settings("TimeoutStopSec=1s\n")
    service.restart()
    tokens = seconds * 20
    with machine.network(), trio.fail_after(30):
        client = await ask(ADDRESS, call(f"sim:tokens={tokens},rate=20"))
        await client.until(b" t1")
        stop = machine.start("systemctl", "stop", "penstock.service", "penstock.socket")
        begun = time.monotonic()
        answer = (await client.rest()).decode()
        await trio.to_thread.run_sync(stop.wait)
        took = time.monotonic() - begun
        client.stream.socket.close()
    told = re.findall(r'"content": ?"( t\d+)"', answer)
    if seconds < 3:
        assert told[-1] == f" t{tokens - 1}"
        assert "[DONE]" in answer
    else:
        # The drain is over, long before the stream would be.
        assert 2.5 < took < 30
        assert "penstock is shutting down" in answer
    assert service.state == ("inactive", "success")
    assert machine.property("penstock.service", "ExecMainStatus") == "0"


def test_uninstalling_leaves_nothing(machine: Machine, penstock: str) -> None:
    before = machine.files()
    listening = machine.run("systemctl", "list-sockets", "--no-legend")
    service = Service(machine, penstock)
    service.install()
    with machine.network():
        assert streamed(2) == counted(2)
    assert machine.files() > before
    assert machine.run(penstock, "uninstall", "--system").splitlines()[0].startswith("run systemctl disable --now ")
    left = machine.files() - before
    # The configuration is the owner's.
    assert left == {"/etc/penstock", FILE}
    assert machine.run("systemctl", "list-sockets", "--no-legend") == listening
    for unit in ("penstock.socket", "penstock.service"):
        assert machine.property(unit, "LoadState") == "not-found"
    machine.run("rm", "-r", "/etc/penstock")
