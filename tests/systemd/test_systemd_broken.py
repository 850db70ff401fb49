"""A wrong file while clients go on asking: the service fails again and again, and nothing is used up by that."""

from __future__ import annotations

import trio
from installed import ADDRESS, CONFIG, FILE, Service, until
from machine import Machine

from rawhttp import call, connected

#: Several times every interval of systemd's limits; seconds.
LONG = 60.0
REQUEST = call("sim:tokens=3", "Connection: close")
UNITS = ("penstock.service", "penstock.socket")


async def keep_asking() -> None:
    """As a client that gives up soon, and tries again."""
    while True:
        async with connected(ADDRESS) as client:
            await client.send(REQUEST)
            with trio.move_on_after(0.2):
                await client.rest()


async def test_a_minute_of_clients_uses_no_limit_up(machine: Machine, service: Service) -> None:
    machine.write(FILE, CONFIG.replace('"3s"', '"3x"'))
    assert machine.tried("systemctl", "restart", "penstock.service")[0] != 0
    with machine.network(), trio.fail_after(2 * LONG):
        async with connected(ADDRESS) as waiting:
            await waiting.send(REQUEST)
            with trio.move_on_after(LONG):
                await keep_asking()
            # It is tried, since somebody asks, but not for all that the machine can do.
            assert 5 < service.log().count(f"{FILE}:2:9: server.drain: ") < 25
            assert machine.property("penstock.service", "NRestarts") == "0"
            # With the file mended, the one that waits is enough to start it.
            machine.write(FILE, CONFIG)
            assert b"[DONE]" in await waiting.rest()
    until(lambda: service.state == ("active", "success"), "the service")
    assert machine.property("penstock.socket", "Result") == "success"
    told = [str(entry["MESSAGE"]) for unit in UNITS for entry in machine.journal(f"UNIT={unit}")]
    assert any("78" in text for text in told)
    assert [text for text in told if "limit" in text or "too quickly" in text] == []
