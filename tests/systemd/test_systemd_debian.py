"""Debian's package: installed, used, upgraded, removed and purged as dpkg does it."""

from __future__ import annotations

from installed import ADDRESS, FILE, until
from machine import Machine

from rawhttp import answered, call, get

UNITS = ("penstock.socket", "penstock.service")
BACKEND = '\n[backends.backend]\nkind = "simulate"\nurl = "http://127.0.0.1:11500"\n[routes]\n"*" = ["backend"]\n'
#: What a whole upgrade of a Debian may take; seconds.
LONG = 420.0
#: The books of dpkg, of systemd, and of who is who.
BOOKS = ("/var/lib/dpkg", "/var/lib/systemd", "/var/lib/apt", "/etc/group-", "/etc/gshadow-", "/etc/.pwd.lock")
#: Says how /health answers over the unix socket.
ASKS = """
import socket
with socket.socket(socket.AF_UNIX) as sock:
    sock.connect("/run/penstock.sock")
    sock.sendall(b"GET /health HTTP/1.1\\r\\nHost: localhost\\r\\nConnection: close\\r\\n\\r\\n")
    print(sock.recv(100).decode().partition("\\r\\n")[0])
"""


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
    assert kind(machine) == ("notify-reload" if version_of_systemd(machine) >= 253 else "notify")
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
    assert machine.tried("getent", "group", "penstock-clients")[0] != 0


def test_a_unix_socket_is_for_a_group(bare: Machine, package: str) -> None:
    bare.run("dpkg", "--install", package)
    bare.run("useradd", "--groups=penstock-clients", "member")
    bare.run("useradd", "stranger")
    listen = '[server]\nlisten = ["127.0.0.1:11435", "unix:/run/penstock.sock"]\n'
    bare.write(FILE, listen + BACKEND)
    bare.write("/etc/systemd/system/penstock.socket.d/unix.conf", "[Socket]\nListenStream=/run/penstock.sock\n")
    bare.run("systemctl", "daemon-reload")
    bare.run("systemctl", "stop", *UNITS)
    bare.run("systemctl", "start", *UNITS)
    assert bare.run("python3", "-c", ASKS, user="member").startswith("HTTP/1.1 200")
    status, told = bare.tried("python3", "-c", ASKS, user="stranger")
    assert (status, "PermissionError" in told) == (1, True)


async def test_debian_12_becomes_13(outgoing: Machine, package: str) -> None:
    """As ``apt full-upgrade`` does it: another Python, another systemd, and nothing to be done for penstock."""
    machine = outgoing
    machine.run("dpkg", "--install", package)
    assert (version_of_systemd(machine), kind(machine)) == (252, "notify")
    process = machine.property("penstock.service", "MainPID")
    debs = [f"/shared/trixie/{path.name}" for path in sorted(machine.path("/shared/trixie").glob("*.deb"))]
    machine.run(
        *("env", "DEBIAN_FRONTEND=noninteractive", "apt-get", "install", "--yes", "--no-install-recommends"),
        *("--option=Dpkg::Options::=--force-confold", *debs),
        patience=LONG,
    )
    assert machine.run("dpkg", "--audit") == ""
    assert (version_of_systemd(machine), kind(machine)) == (257, "notify-reload")
    # It has been started anew, and runs on what is there now.
    until(lambda: states(machine, "is-active") == ["active"] * 2, "the service")
    now = machine.property("penstock.service", "MainPID")
    assert now != process
    assert machine.run("readlink", f"/proc/{now}/exe") == "/usr/bin/python3.13"
    assert machine.run("sh", "-c", "ls /opt/penstock/lib/python3.13/site-packages/penstock/__pycache__").count(".pyc")
    with machine.network():
        status, _, _ = await answered(ADDRESS, get("/health"))
        assert status == 200
    machine.run("systemctl", "reload", "penstock")
    assert [entry for entry in machine.journal("-u", "penstock") if entry["MESSAGE"].startswith("reloaded ")]


def kind(machine: Machine) -> str:
    return machine.property("penstock.service", "Type")


def version_of_systemd(machine: Machine) -> int:
    return int(machine.run("systemctl", "--version").split()[1])


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
