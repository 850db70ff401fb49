"""Debian's package: installed, used, upgraded, removed and purged as dpkg does it."""

from __future__ import annotations

from installed import ADDRESS, FILE
from machine import Machine

from rawhttp import answered, call, get

UNITS = ("penstock.socket", "penstock.service")
BACKEND = '\n[backends.backend]\nkind = "simulate"\nurl = "http://127.0.0.1:11500"\n[routes]\n"*" = ["backend"]\n'
#: The books of dpkg and of systemd.
BOOKS = ("/var/lib/dpkg", "/var/lib/systemd", "/var/lib/apt")


def states(machine: Machine, verb: str) -> list[str]:
    return [machine.tried("systemctl", verb, unit)[1] for unit in UNITS]


def files(machine: Machine) -> set[str]:
    return {path for path in machine.files() if not path.startswith(BOOKS)}


async def test_from_installation_to_purge(bare: Machine, package: str, next_package: str) -> None:
    machine, before = bare, files(bare)
    machine.run("dpkg", "--install", package)
    assert states(machine, "is-active") == ["active"] * 2
    assert states(machine, "is-enabled") == ["enabled"] * 2
    assert machine.run("penstock", "check").splitlines()[0] == f"{FILE}: ok"
    assert machine.run("dpkg", "--verify", "penstock") == ""
    assert machine.run("systemd-analyze", "verify", *UNITS) == ""
    machine.run("systemd-analyze", "security", "--threshold=12", "penstock.service")
    assert "penstock: penstock has begun to serve" in machine.run("journalctl", "--list-catalog")

    # It is configured as its owner does it, and serves.
    machine.run("systemd-run", "--quiet", "--unit=backend", "penstock", "simulate", "--listen=127.0.0.1:11500")
    mine = machine.path(FILE).read_text() + BACKEND
    machine.write(FILE, mine)
    machine.run("systemctl", "restart", "penstock")
    with machine.network():
        _, _, answer = await answered(ADDRESS, call("sim:tokens=3", "Connection: close"))
        assert b"[DONE]" in answer
        process = machine.property("penstock.service", "MainPID")
        socket = machine.property("penstock.socket", "ActiveEnterTimestampMonotonic")

        # The upgrade keeps the file and the socket, and runs what is new.
        machine.run("dpkg", "--install", next_package)
        assert machine.path(FILE).read_text() == mine
        assert states(machine, "is-active") == ["active"] * 2
        assert machine.property("penstock.service", "MainPID") != process
        assert machine.property("penstock.socket", "ActiveEnterTimestampMonotonic") == socket
        status, _, _ = await answered(ADDRESS, get("/health"))
        assert status == 200

        # What its owner has switched off stays so.
        machine.run("systemctl", "disable", "--now", *UNITS)
        machine.run("dpkg", "--install", package)
        assert states(machine, "is-enabled") == ["disabled"] * 2
        assert states(machine, "is-active") == ["inactive"] * 2
        machine.run("systemctl", "enable", "--now", *UNITS)

    machine.run("systemctl", "stop", "backend")
    machine.run("dpkg", "--remove", "penstock")
    assert machine.path(FILE).read_text() == mine
    assert not machine.path("/opt/penstock").exists()
    assert [machine.property(unit, "ActiveState") for unit in UNITS] == ["inactive"] * 2
    assert known(machine) == []
    machine.run("dpkg", "--install", package)
    assert machine.path(FILE).read_text() == mine
    assert states(machine, "is-active") == ["active"] * 2

    machine.run("dpkg", "--purge", "penstock")
    # dpkg takes the empty folder along with the last package in it.
    assert files(machine) | {"/opt"} == before | {"/opt"}
    assert machine.run("find", "/var/lib/systemd/deb-systemd-helper-enabled", "-name", "*penstock*", check=False) == ""
    assert known(machine) == []


def known(machine: Machine) -> list[str]:
    """The units that systemd still knows of."""
    return [unit for unit in UNITS if machine.property(unit, "LoadState") == "loaded"]


def test_what_it_brings(bare: Machine, package: str) -> None:
    bare.run("dpkg", "--install", package)
    for file in (
        "/usr/lib/systemd/system/penstock.service",
        "/usr/lib/systemd/system/penstock.socket",
        "/usr/lib/systemd/catalog/penstock.catalog",
        "/usr/share/man/man1/penstock.1.gz",
        "/usr/share/man/man5/penstock.toml.5.gz",
        "/usr/share/bash-completion/completions/penstock",
        "/usr/share/zsh/vendor-completions/_penstock",
        "/usr/share/fish/vendor_completions.d/penstock.fish",
        "/usr/share/penstock/penstock.schema.json",
        "/usr/share/doc/penstock/copyright",
    ):
        bare.run("test", "-s", file)
    # The Python of this Debian, with its own libraries, compiled when they were installed.
    version = bare.run("python3", "-c", "import sys; print('%d.%d' % sys.version_info[:2])")
    found = bare.run("/opt/penstock/bin/python3", "-c", "import msgspec; print(msgspec.__file__)")
    assert found == f"/opt/penstock/lib/python{version}/site-packages/msgspec/__init__.py"
    assert bare.run("find", f"/opt/penstock/lib/python{version}", "-name", "__pycache__").count("\n") > 20
    assert bare.run("penstock", "key", "new").count("sha256:") == 1
