"""What systemd says of penstock's own units, the system's and the user's (systemctl(1), "show")."""

from __future__ import annotations

import subprocess
from functools import partial

import msgspec
import trio

#: Properties of the service: what it is, and how it came to that.
_SERVICE = ("LoadState", "ActiveState", "Result", "ExecMainStatus", "StatusText")


class Unit(msgspec.Struct, frozen=True):
    """penstock.service of one manager, which is installed."""

    user: bool
    state: str  #: "active", "failed", "inactive", "activating", …
    result: str  #: "success", "exit-code", "watchdog", …
    status: str  #: its exit status
    told: str  #: what it says of itself
    waits: bool  #: its socket is there, and starts it

    @property
    def name(self) -> str:
        return f"penstock.service of {'the user' if self.user else 'the system'}"


async def units() -> list[Unit]:
    """Those that are installed; none where there is no systemd."""
    found = []
    for user in (False, True):
        service = await _shown(user, "penstock.service", *_SERVICE)
        if service.get("LoadState") == "loaded":
            socket = await _shown(user, "penstock.socket", "ActiveState")
            state, result, status, told = (service.get(name, "") for name in _SERVICE[1:])
            found.append(Unit(user, state, result, status, told, socket.get("ActiveState") == "active"))
    return found


async def _shown(user: bool, unit: str, *names: str) -> dict[str, str]:
    command = ["systemctl", *(["--user"] if user else []), "show", unit, f"--property={','.join(names)}"]
    try:
        result = await trio.run_process(command, capture_stdout=True, stderr=subprocess.DEVNULL, check=False)
    except OSError:
        return {}
    lines = result.stdout.decode(errors="replace").splitlines()
    return dict(map(partial(str.split, sep="=", maxsplit=1), (line for line in lines if "=" in line)))
