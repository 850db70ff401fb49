"""A machine with a real systemd: a Debian booted by systemd-nspawn, with a network of its own.

It writes over its root in memory; what was done to it is gone with it.
"""

from __future__ import annotations

import ctypes
import json
import shlex
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

#: What a boot, and what a command may take; seconds.
BOOT, COMMAND = 60.0, 120.0
ENVIRON = {"PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin", "LANG": "C.UTF-8", "HOME": "/root"}
#: Where an installation could leave something.
PLACES = ("/etc", "/home", "/opt", "/root", "/run/penstock", "/usr", "/var/lib")
#: Of setns(2): into a network namespace.
CLONE_NEWNET = 0x40000000
LIBC = ctypes.CDLL(None, use_errno=True)


class Machine:
    """A booted ``root``; ``shared`` is there as /shared, to be read."""

    def __init__(self, root: Path, shared: Path, console: Path) -> None:
        # In a process space of its own, so that whatever ends the tests ends the machine.
        command = ["setpriv", "--pdeathsig=KILL", "unshare", "--fork", "--pid", "--mount-proc", "--kill-child"]
        command += ["systemd-nspawn", "--quiet", f"--directory={root}", "--volatile=overlay", "--register=no"]
        command += ["--keep-unit", "--private-network", f"--bind-ro={shared}:/shared", "--boot", "--console=pipe"]
        self._console = console
        self._leader = 0
        with console.open("wb") as log:
            self._process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            self._boot()
            # minbase has none, and "localhost" would be nobody
            self.write("/etc/hosts", "127.0.0.1 localhost\n::1 localhost\n")
        except BaseException:
            self.stop()
            raise

    def _boot(self) -> None:
        """Wait until everything runs."""
        deadline = time.monotonic() + BOOT
        told = ""
        while time.monotonic() < deadline and self._process.poll() is None:
            for init in (init for nspawn in children(self._process.pid) for init in children(nspawn)):
                self._leader = init
                told = self.run("systemctl", "is-system-running", check=False)
                if told == "running":
                    return
            time.sleep(0.1)
        raise AssertionError(f"it does not boot ({told}): {self._console.read_text(errors='replace')[-2000:]}")

    # commands within

    def run(self, *words: str, check: bool = True, user: str | None = None, patience: float = COMMAND) -> str:
        """What a command prints, stderr included; ``check``: it ends well."""
        status, told = self.tried(*words, user=user, patience=patience)
        assert status == 0 or not check, f"{shlex.join(words)} ended with {status}: {told}"
        return told

    def tried(self, *words: str, user: str | None = None, patience: float = COMMAND) -> tuple[int, str]:
        """Exit status and output of a command; of a user's, with his service manager at hand."""
        if user is not None:
            number = self.run("id", "-u", user)
            environ = {"XDG_RUNTIME_DIR": f"/run/user/{number}", "HOME": f"/home/{user}"}
            words = (
                "setpriv",
                f"--reuid={user}",
                f"--regid={user}",
                "--init-groups",
                "env",
                *assigned(environ),
                *words,
            )
        result = subprocess.run(self._entering(words), capture_output=True, timeout=patience, check=False)
        return result.returncode, (result.stdout + result.stderr).decode(errors="replace").strip()

    def start(self, *words: str) -> subprocess.Popen[bytes]:
        """A command that goes on while the test does."""
        return subprocess.Popen(self._entering(words), stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def _entering(self, words: Sequence[str]) -> list[str]:
        into = ["nsenter", f"--target={self._leader}", *(f"--{name}" for name in ("mount", "uts", "ipc", "net", "pid"))]
        return [*into, "--cgroup", "--root", "--wd", "env", "-i", *assigned(ENVIRON), *words]

    # its network

    @contextmanager
    def network(self) -> Iterator[None]:
        """Sockets that this thread opens, and processes that it starts, are on the machine's network."""
        with open("/proc/thread-self/ns/net") as ours, open(f"/proc/{self._leader}/ns/net") as theirs:
            enter(theirs.fileno())
            try:
                yield
            finally:
                enter(ours.fileno())

    # its files and its journal

    def path(self, path: str) -> Path:
        """A file of it, seen from here; a link that leads to its root leads to ours."""
        return Path(f"/proc/{self._leader}/root{path}")

    def write(self, path: str, text: str, mode: int = 0o644) -> None:
        there = self.path(path)
        there.parent.mkdir(parents=True, exist_ok=True)
        there.write_text(text)
        there.chmod(mode)

    def files(self) -> set[str]:
        """Every file that an installation could leave behind."""
        places = [place for place in PLACES if self.tried("test", "-e", place)[0] == 0]
        return set(self.run("find", *places).splitlines())

    def journal(self, *matches: str) -> list[dict[str, Any]]:
        """The entries that match, oldest first."""
        self.run("journalctl", "--sync")
        told = self.run("journalctl", "--output=json", "--all", "--no-pager", *matches, check=False)
        return [json.loads(line) for line in told.splitlines() if line.startswith("{")]

    def properties(self, unit: str, *names: str) -> dict[str, str]:
        told = self.run("systemctl", "show", unit, f"--property={','.join(names)}")
        return dict(line.split("=", 1) for line in told.splitlines())

    def property(self, unit: str, name: str) -> str:
        return self.properties(unit, name)[name]

    # its end

    def stop(self) -> None:
        """Switch it off."""
        self._process.kill()
        self._process.wait()


def assigned(environ: dict[str, str]) -> list[str]:
    return [f"{name}={value}" for name, value in environ.items()]


def children(process: int) -> list[int]:
    try:
        return [int(number) for number in Path(f"/proc/{process}/task/{process}/children").read_text().split()]
    except OSError:
        # It has ended, or is about to.
        return []


def enter(descriptor: int) -> None:
    if LIBC.setns(descriptor, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")
