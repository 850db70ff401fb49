"""``systemctl reload`` with a good file and with a bad one, and a bare SIGHUP, while a stream runs."""

from __future__ import annotations

import json
import time

import pytest
import trio
from installed import ADDRESS, CONFIG, FILE, Service, until
from machine import Machine

from rawhttp import answered, ask, call, get

#: Another file, with a model that the first does not know.
ROUTE = 'added = ["backend/sim:tokens=3"]\n'
FAULT = CONFIG.replace('"3s"', '"3x"')
#: How often a time is taken: what else runs can make it longer, never shorter.
TRIES = 5


async def models() -> list[str]:
    _, _, body = await answered(ADDRESS, get("/v1/models"))
    return [model["id"] for model in json.loads(body)["data"]]


async def in_force(machine: Machine, *added: str) -> None:
    """A file with these further models is in force now; from systemd 253 on systemctl has waited for that."""
    waited = machine.path("/etc/systemd/system/penstock.service.d/notify-reload.conf").exists()
    with trio.fail_after(10):
        while [model for model in await models() if model == "added"] != list(added):
            assert not waited
            await trio.sleep(0.01)


async def successful() -> bool:
    """What the metric says of the last reload."""
    _, _, body = await answered(ADDRESS, get("/metrics"))
    return "\npenstock_config_last_reload_successful 1.0\n" in body.decode()


def reloads(machine: Machine) -> int:
    """How many the journal knows of."""
    return sum(entry["MESSAGE"].startswith("reloaded ") for entry in machine.journal("-u", "penstock"))


def status(machine: Machine) -> str:
    return machine.property("penstock.service", "StatusText")


async def test_a_good_file_is_taken_over_while_a_stream_runs(machine: Machine, service: Service) -> None:
    process, before = service.pid, reloads(machine)
    with machine.network(), trio.fail_after(60):
        client = await ask(ADDRESS, call("sim:tokens=200,rate=50", "Connection: close"))
        await client.until(b" t1")
        assert "added" not in await models()
        machine.write(FILE, CONFIG + ROUTE)
        machine.run("systemctl", "reload", "penstock.service")
        await in_force(machine, "added")
        assert await successful()
        answer = await client.rest()
        client.stream.socket.close()
    assert b" t199" in answer and b"[DONE]" in answer
    assert service.pid == process
    assert service.state == ("active", "success")
    assert reloads(machine) > before


async def test_a_bad_file_is_refused_and_the_old_one_goes_on(machine: Machine, service: Service) -> None:
    process = service.pid
    machine.write(FILE, FAULT + ROUTE)
    code, _ = machine.tried("systemctl", "reload", "penstock.service")
    assert code != 0
    with machine.network(), trio.fail_after(60):
        assert "added" not in await models()
        assert f"{FILE}:2:9: server.drain: " in service.log()
        # The signal alone is checked as well, and told in every place.
        machine.run("systemctl", "kill", "--kill-whom=main", "--signal=HUP", "penstock.service")
        until(lambda: status(machine).startswith("not reloaded: "), "the fault in the status")
        assert f"{FILE}:2:9: server.drain: " in status(machine)
        assert not await successful()
        assert "added" not in await models()
        # The next good one heals it.
        machine.write(FILE, CONFIG + ROUTE)
        machine.run("systemctl", "reload", "penstock.service")
        await in_force(machine, "added")
        assert await successful()
    assert status(machine) == "0 streams; backends: backend"
    assert service.pid == process
    assert service.state == ("active", "success")


def test_a_reload_takes_less_than_a_second(machine: Machine, service: Service) -> None:
    """…with its check, which is a start of Python."""
    before, times = reloads(machine), []
    for number in range(TRIES):
        machine.write(FILE, CONFIG + (ROUTE if number % 2 else ""))
        begun = time.monotonic()
        machine.run("systemctl", "reload", "penstock.service")
        times.append(time.monotonic() - begun)
    assert min(times) < 1, times
    until(lambda: reloads(machine) == before + TRIES, "every reload")


@pytest.mark.parametrize("reload", [("systemctl", "reload", "penstock"), ("/opt/penstock/bin/penstock", "reload")])
async def test_reloads_change_nothing_but_the_configuration(
    reload: tuple[str, ...], machine: Machine, service: Service
) -> None:
    def descriptors() -> int:
        return len(machine.run("ls", f"/proc/{service.pid}/fd").splitlines())

    with machine.network(), trio.fail_after(120):
        machine.run(*reload)
        # with the kept connection to the backend that was asked for its models
        await in_force(machine)
        before = descriptors()
        for number in range(10):
            machine.write(FILE, CONFIG + (ROUTE if number % 2 else ""))
            machine.run(*reload)
            await in_force(machine, *(["added"] if number % 2 else []))
        # The last connection is about to go.
        until(lambda: descriptors() <= before, "the descriptors of the beginning")
    assert machine.property("penstock.service", "NRestarts") == "0"
