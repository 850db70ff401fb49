"""penstock as a service of a machine, as its owner sees it."""

from __future__ import annotations

import socket
import time
from collections.abc import Callable

from machine import Machine

HOME = "/opt/penstock"
COMMAND = f"{HOME}/bin/penstock"
ADDRESS = "http://127.0.0.1:11435"
FILE = "/etc/penstock/penstock.toml"
DROP_IN = "/etc/systemd/system/penstock.service.d/test.conf"
CONFIG = """\
[server]
drain = "3s"
[backends.backend]
kind = "simulate"
url = "http://127.0.0.1:11500"
slots = 32
[routes]
"*" = ["backend"]
"""
#: A model of the backend, the script that it answers by, and what stands in the answer and nowhere else.
CANARY, SCRIPT, ANSWER = "canary", "sim:id=canary,tokens=3,width=41", f"t2{'.' * 38}"
#: What a state may take to come about; seconds.
LONG = 20.0


class Service:
    """The system's service: installed, given settings, looked at, removed."""

    def __init__(self, machine: Machine, command: str) -> None:
        self.machine = machine
        self.command = command

    def install(self) -> str:
        """What the command says."""
        self.machine.write(FILE, CONFIG)
        status, told = self.machine.tried(self.command, "install", "--system")
        assert status == 0, f"{told}\n{self.log()}"
        return told

    def remove(self) -> None:
        self.machine.run(self.command, "uninstall", "--system")
        self.machine.run("rm", "-rf", "/etc/penstock", "/etc/systemd/system/penstock.service.d")
        self.machine.run("systemctl", "daemon-reload")
        self.machine.run("systemctl", "reset-failed", "penstock.service", "penstock.socket", check=False)

    def settings(self, text: str) -> None:
        """Add settings to its section [Service], in force from the next start on."""
        self.machine.write(DROP_IN, f"[Service]\n{text}")
        self.machine.run("systemctl", "daemon-reload")

    def restart(self) -> None:
        self.machine.run("systemctl", "restart", "penstock.service")

    @property
    def pid(self) -> int:
        """Its process, as the machine counts."""
        return int(self.machine.property("penstock.service", "MainPID"))

    @property
    def state(self) -> tuple[str, str]:
        """What it is, and how it came to that."""
        told = self.machine.properties("penstock.service", "ActiveState", "Result")
        return told["ActiveState"], told["Result"]

    def log(self) -> str:
        """What the journal has of it, a line an entry."""
        return "\n".join(str(entry.get("MESSAGE", "")) for entry in self.machine.journal("-u", "penstock"))


def until(state: Callable[[], object], what: str) -> None:
    """Wait for a state that only a machine knows."""
    deadline = time.monotonic() + LONG
    while not state():
        assert time.monotonic() < deadline, f"it never came: {what}"
        time.sleep(0.05)


def reachable(port: int) -> bool:
    try:
        socket.create_connection(("127.0.0.1", port)).close()
    except OSError:
        return False
    return True
