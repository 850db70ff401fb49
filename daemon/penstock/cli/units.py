"""penstock's units of systemd: where they lie, where they go, and what ``install`` puts into them."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import sysconfig
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import NamedTuple

import click

import penstock
from penstock.config.addresses import TcpAddress, UnixAddress, parse_listen

NAMES = ("penstock.socket", "penstock.service")
#: How a unit of ours begins; nobody else's is written over or removed.
MARK = '# Written by "penstock install'
#: What the units say before they are installed.
COMMAND = "/usr/bin/penstock serve"
CHECK = "/usr/bin/penstock check"
ADDRESS = "ListenStream=127.0.0.1:11435"
#: What goes beside the service where systemd is new enough for it (systemd.service(5), Type=notify-reload).
NOTIFY_RELOAD = "penstock.service.d/notify-reload.conf"
SINCE = 253
#: Where journald's catalogue takes what no package brought (journalctl(1), --update-catalog), for "journalctl -x".
CATALOGUE = Path("/usr/local/lib/systemd/catalog/penstock.catalog")
#: What ProtectHome=yes hides.
HOMES = (Path("/home"), Path("/root"), Path("/run/user"))


class Manager(NamedTuple):
    """The service manager of the system, or that of the user."""

    system: bool
    folder: Path  #: where it looks for units

    @classmethod
    def of(cls, system: bool, environ: Mapping[str, str]) -> Manager:
        if system:
            return cls(system, Path("/etc/systemd/system"))
        home = environ.get("XDG_CONFIG_HOME", "")
        config = Path(home) if home.startswith("/") else Path(environ.get("HOME", "/"), ".config")
        return cls(system, config / "systemd/user")

    def systemctl(self, *words: str) -> Run:
        return Run(("systemctl", *(() if self.system else ("--user",)), *words))

    @property
    def journalctl(self) -> str:
        return f"journalctl {'' if self.system else '--user '}-u penstock"

    def reload(self) -> list[Run]:
        """What makes known which files are there now."""
        news = [self.systemctl("daemon-reload")]
        return [*news, Run(("journalctl", "--update-catalog"))] if self.system else news


class Write(NamedTuple):
    """Write a unit; Click errors say why it cannot be."""

    path: Path
    text: str

    def __str__(self) -> str:
        return f"write {self.path}"

    def do(self) -> None:
        try:
            if self.path.exists() and not is_ours(self.path):
                raise click.ClickException(f"{self.path} is there and was not written by penstock; move it away first")
            self.path.parent.mkdir(parents=True, exist_ok=True)
            self.path.write_text(self.text)
        except OSError as error:
            raise click.ClickException(f"{self.path} cannot be written: {error.strerror}") from None


class Remove(NamedTuple):
    path: Path

    def __str__(self) -> str:
        return f"remove {self.path}"

    def do(self) -> None:
        try:
            self.path.unlink(missing_ok=True)
            if self.path.parent.suffix == ".d":
                with suppress(OSError):
                    # of no use when it is empty, and somebody's when it is not
                    self.path.parent.rmdir()
        except OSError as error:
            raise click.ClickException(f"{self.path} cannot be removed: {error.strerror}") from None


class Run(NamedTuple):
    words: tuple[str, ...]

    def __str__(self) -> str:
        return f"run {shlex.join(self.words)}"

    def do(self) -> None:
        try:
            status = subprocess.run(self.words, check=False).returncode  # noqa: S603
        except FileNotFoundError:
            raise click.ClickException(f"{self.words[0]} is not there: this machine has no systemd") from None
        if status:
            raise click.ClickException(f"'{shlex.join(self.words)}' failed; its message is above")


Step = Write | Remove | Run


def take(steps: Iterable[Step], *, dry_run: bool) -> None:
    """Show each step, then do it; in a dry run show it with all that would be written, and do nothing."""
    for step in steps:
        click.echo(step)
        if not dry_run:
            step.do()
        elif isinstance(step, Write):
            click.echo("".join(f"    {line}" if line.strip() else line for line in step.text.splitlines(keepends=True)))


def is_ours(path: Path) -> bool:
    return path.read_text(errors="replace").startswith(MARK)


def writes(manager: Manager, command: Sequence[str], listen: Iterable[str]) -> list[Step]:
    """The units with this command and these addresses."""
    streams = [f"ListenStream={place}" for text in listen if (place := stream_of(text))]
    if not streams:
        raise click.ClickException("server.listen has no address with a fixed port, so nobody could find penstock")
    filled = {
        COMMAND: " ".join(map(word, command)),
        CHECK: " ".join(map(word, checking(command))),
        ADDRESS: "\n".join(streams),
    }
    steps: list[Step] = []
    for name in (*NAMES, *([NOTIFY_RELOAD] if version() >= SINCE else [])):
        text = (shipped() / ("system" if manager.system else "user") / name).read_text()
        for place, content in filled.items():
            text = text.replace(place, content)
        steps.append(Write(manager.folder / name, text))
    return steps


def version() -> int:
    """systemd's; 0 where there is none."""
    try:
        told = subprocess.run(["systemctl", "--version"], capture_output=True, text=True, check=False).stdout  # noqa: S607
    except OSError:
        return 0
    found = re.match("systemd ([0-9]+)", told)
    return int(found[1]) if found else 0


def explanations() -> Step:
    """What ``journalctl -x`` adds to our lines; its catalogue is the system's."""
    return Write(CATALOGUE, (shipped() / CATALOGUE.name).read_text())


def shipped() -> Path:
    """The folder of the units: in the package when it was installed, at the top of a checkout."""
    installed = Path(penstock.__file__).with_name("systemd")
    return installed if installed.is_dir() else Path(penstock.__file__).parents[2] / "systemd"


def stream_of(text: str) -> str:
    """An item of ``server.listen`` as ListenStream= takes it; empty for a port that is found anew each time."""
    match parse_listen(text):
        case UnixAddress(path):
            return path.replace("%", "%%")
        case TcpAddress(port=0):
            return ""
        case TcpAddress("localhost", port):
            return f"127.0.0.1:{port}"
        case address:
            return str(address)


def word(text: str) -> str:
    """One word of ExecStart= (systemd.service(5), "Command lines"; systemd.unit(5), "Specifiers")."""
    text = text.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{text}"' if any(c in " '\t\\\"" for c in text) else text


def command(config: Path | None) -> list[str]:
    """How a unit starts the penstock that runs now."""
    script = Path(sysconfig.get_path("scripts"), "penstock")
    words = [str(script)] if os.access(script, os.X_OK) else [sys.executable, "-m", "penstock"]
    return [*words, "serve", *(["--config", str(config)] if config else [])]


def checking(command: Sequence[str]) -> list[str]:
    """What checks the configuration that this command would serve."""
    return ["check" if word == "serve" else word for word in command if word != "--config"]


def hidden(paths: Iterable[Path]) -> Path | None:
    """The first that a unit with ProtectHome=yes cannot see."""
    for path in paths:
        if any(path.resolve().is_relative_to(home) for home in HOMES):
            return path.resolve()
    return None
