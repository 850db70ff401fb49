"""What the units let penstock do, tried from within, and what systemd itself says of them."""

from __future__ import annotations

import json
import re
from pathlib import Path

from installed import HOME, Service, until
from machine import Machine

UNITS = "/etc/systemd/system"
PROBE = (Path(__file__).parent / "probe.py").read_text()
#: What penstock needs.
NEEDED = {"a socket of IPv4", "a socket of IPv6", "a unix socket", "a thread", "a scratch file"}
#: What a service of a user sees besides: it is the user's own.
USERS = {"reading a home", "seeing other processes"}


def probe_of(unit: str, home: str) -> str:
    """A unit with the same sandbox, which runs the probe once and keeps what it prints."""
    kept = [
        line
        for line in unit.splitlines()
        if not re.match("(Requires|Type|ExecStart|ExecReload|Restart|WatchdogSec|WantedBy|Also)", line)
    ]
    run = f"Type=oneshot\nExecStart={HOME}/bin/python3 /usr/local/share/probe.py {home}\nStandardOutput=journal"
    return "\n".join(kept).replace("[Service]", f"[Service]\n{run}")


def found(machine: Machine, *match: str) -> dict[str, str]:
    """What the probe has printed."""
    entries = [entry["MESSAGE"] for entry in machine.journal(*match) if entry["MESSAGE"].startswith("{")]
    return dict(json.loads(entries[-1]))


def test_the_system_unit_lets_it_do_what_it_needs(machine: Machine, service: Service) -> None:
    machine.run("useradd", "--create-home", "eve")
    machine.write("/usr/local/share/probe.py", PROBE)
    machine.write(
        f"{UNITS}/probe.service", probe_of(machine.path(f"{UNITS}/penstock.service").read_text(), "/home/eve")
    )
    machine.run("systemctl", "daemon-reload")
    machine.run("systemctl", "start", "probe.service")
    told = found(machine, "-u", "probe.service")
    assert {name for name, outcome in told.items() if outcome == "done"} == NEEDED
    machine.run("rm", f"{UNITS}/probe.service")


def test_a_users_unit_lets_it_do_what_it_needs(machine: Machine, penstock: str) -> None:
    machine.run("useradd", "--create-home", "mallory")
    machine.run("loginctl", "enable-linger", "mallory")
    until(lambda: machine.tried("systemctl", "--user", "is-system-running", user="mallory")[0] == 0, "her manager")
    told = machine.run(penstock, "install", "--dry-run", user="mallory")
    unit = told.partition("/penstock.service\n")[2].partition("\nrun ")[0]
    text = "\n".join(line.removeprefix("    ") for line in unit.splitlines())
    machine.write("/usr/local/share/probe.py", PROBE)
    machine.write("/etc/systemd/user/probe.service", probe_of(text, "/home/mallory"))
    machine.run("systemctl", "--user", "daemon-reload", user="mallory")
    machine.run("systemctl", "--user", "start", "probe.service", user="mallory")
    told = found(machine, "_SYSTEMD_USER_UNIT=probe.service")
    assert {name for name, outcome in told.items() if outcome == "done"} == NEEDED | USERS
    machine.run("rm", "/etc/systemd/user/probe.service")


def test_systemd_has_nothing_to_say_about_the_units(machine: Machine, service: Service) -> None:
    assert machine.run("systemd-analyze", "verify", f"{UNITS}/penstock.service", f"{UNITS}/penstock.socket") == ""
    machine.run("systemd-analyze", "security", "--threshold=12", "penstock.service")


def test_the_drop_in_for_local_backends_is_tighter(machine: Machine, service: Service) -> None:
    drop_in = Path(__file__).parents[2] / "systemd/system/penstock.service.d/local-backends-only.conf"
    machine.write(f"{UNITS}/penstock.service.d/{drop_in.name}", drop_in.read_text())
    machine.run("systemctl", "daemon-reload")
    machine.run("systemd-analyze", "security", "--threshold=10", "penstock.service")
    assert machine.run("systemd-analyze", "verify", "penstock.service") == ""
