"""What the journal gets of a stream: one entry, with fields to select by and an explanation."""

from __future__ import annotations

from installed import ADDRESS, Service
from machine import Machine

from rawhttp import answered, call


async def test_a_stream_is_one_entry_with_its_fields(machine: Machine, service: Service) -> None:
    with machine.network():
        _, headers, _ = await answered(ADDRESS, call("sim:tokens=3", "Connection: close"))
        await answered(ADDRESS, call("sim:status=503,id=refused", "Connection: close"))
    stream = headers["x-penstock-stream"]
    (entry,) = machine.journal(f"REQUEST_ID={stream}")
    assert entry["MESSAGE"].startswith("stream ended ")
    fields = {name: entry[name] for name in ("OUTCOME", "BACKEND", "MODEL", "DIALECT", "PRIORITY", "SYSLOG_IDENTIFIER")}
    assert fields == {
        "OUTCOME": "completed",
        "BACKEND": "backend",
        "MODEL": "sim:tokens=3",
        "DIALECT": "openai",
        "PRIORITY": "6",
        "SYSLOG_IDENTIFIER": "penstock",
    }
    assert int(entry["DURATION_MS"]) < 5000
    assert entry["PENSTOCK_TOKENS"] == "3"
    assert entry["_SYSTEMD_UNIT"] == "penstock.service"
    # Selected by what went wrong, the other one is what is found.
    process = f"_PID={service.pid}"
    (refused,) = machine.journal(process, "OUTCOME=backend_refused")
    assert refused["REQUEST_ID"] != stream
    assert len(machine.journal(process, f"MESSAGE_ID={entry['MESSAGE_ID']}")) == 2


async def test_journalctl_explains_an_entry(machine: Machine, service: Service) -> None:
    with machine.network():
        _, headers, _ = await answered(ADDRESS, call("sim:tokens=3", "Connection: close"))
    stream = headers["x-penstock-stream"]
    machine.run("journalctl", "--sync")
    told = machine.run("journalctl", "--catalog", "--no-pager", f"REQUEST_ID={stream}")
    assert "Subject: A stream has ended: completed" in told
    assert f"The answer carried this stream's id, {stream}, as x-penstock-stream." in told
