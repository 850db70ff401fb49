"""What an owner's commands print, whole: each case is a file in ``golden/``, and so are all faults of a configuration.

``python tests/cli/transcripts.py`` writes them; test_cli_golden.py tells when one is no longer true.
"""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import ExitStack, chdir, contextmanager
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Literal

import msgspec
from click.testing import CliRunner

# As a script it has this folder alone on its path.
sys.path += [str(Path(__file__).parents[1]), str(Path(__file__).parents[1] / "config")]

from test_config_faults import GOLDEN as FAULTS

from penstock import __version__
from penstock.cli.main import main as cli
from penstock.cli.tools import TOOLS
from ports import free_port

GOLDEN = Path(__file__).parent / "golden"
HOME = "/home/ada"
#: What no case may find in the environment of whoever runs the tests.
FOREIGN = re.compile("PENSTOCK|XDG_|CREDENTIALS_|NO_COLOR|FORCE_COLOR|OUTBOUND")

FILE = """\
[server]
listen = ["127.0.0.1:11435"]

[backends.sim]
kind = "simulate"
url = "http://127.0.0.1:11500"
slots = 2

[backends.dead]
kind = "ollama"
url = "http://127.0.0.1:1"
api_key = "sk-not-to-be-shown"

[routes]
"*" = ["sim"]
coder = ["sim/sim", "dead/qwen2.5-coder:7b"]

[routes.fim]
targets = ["sim/sim"]
class = "autocomplete"
"""
FAULTY = """\
[server]
drain = "10x"
log_level = "warn"
[backends.sim]
kind = "simulated"
url = "127.0.0.1"
[routes]
"*" = ["sin"]
"""


class Case(msgspec.Struct, frozen=True, kw_only=True):
    """One command line."""

    words: tuple[str, ...]
    file: str = FILE
    environ: dict[str, str] = {}
    #: what there is besides the file
    runs: tuple[Literal["backend", "daemon"], ...] = ()


CASES = {
    "version": Case(words=("--version",)),
    "check": Case(words=("check", "penstock.toml")),
    "check-faults": Case(words=("check", "penstock.toml"), file=FAULTY),
    "check-explain": Case(
        words=("check", "--explain", "penstock.toml"), environ={"PENSTOCK__BACKENDS__SIM__SLOTS": "8"}
    ),
    "doctor": Case(words=("doctor", "--config", "penstock.toml"), runs=("backend",)),
    "doctor-running": Case(words=("doctor", "--config", "penstock.toml"), runs=("backend", "daemon")),
    "doctor-json": Case(words=("doctor", "--json", "--config", "penstock.toml"), runs=("backend",)),
    "doctor-faults": Case(words=("doctor", "--config", "penstock.toml"), file=FAULTY),
    "status": Case(words=("status", "--config", "penstock.toml"), runs=("daemon",)),
    "status-none": Case(words=("status", "--config", "penstock.toml"), file=FILE.replace(":11435", ":1")),
    "reload-none": Case(words=("reload", "--config", "penstock.toml"), file=FILE.replace(":11435", ":1")),
    "reload": Case(words=("reload", "--config", "penstock.toml"), runs=("daemon",)),
    "reload-dry-run": Case(words=("reload", "--dry-run", "--config", "penstock.toml"), runs=("daemon",)),
    "key-new": Case(words=("key", "new", "laptop")),
    "ide": Case(words=("ide",)),
    **{f"ide-{tool}": Case(words=("ide", tool, "--config", "penstock.toml")) for tool in TOOLS},
    "install-dry-run": Case(words=("install", "--dry-run", "--config", "penstock.toml")),
    "uninstall-dry-run": Case(words=("uninstall", "--dry-run")),
}


def transcript(case: Case) -> str:
    """The command line, all that it prints, and its exit status."""
    with ExitStack() as stack:
        folder = stack.enter_context(TemporaryDirectory())
        text, ports = case.file, {}
        if "backend" in case.runs:
            ports["11500"] = stack.enter_context(simulation())
        if case.runs:
            ports["11435"] = str(free_port())
        for usual, port in ports.items():
            text = text.replace(usual, port)
        Path(folder, "penstock.toml").write_text(text)
        if "daemon" in case.runs:
            stack.enter_context(running(folder))
        told, status = (apart if case.runs else within)(case, folder)
        for usual, port in ports.items():
            told = told.replace(port, usual)
        told = told.replace(os.path.realpath(folder), "/FOLDER")
    return f"$ penstock {' '.join(case.words)}\n{steady(told)}exit status {status}\n"


def within(case: Case, folder: str) -> tuple[str, int]:
    """What it prints and its exit status, run in this process."""
    without = {name: None for name in os.environ if name not in surroundings(folder)}
    with chdir(folder):
        result = CliRunner().invoke(cli, case.words, env=without | surroundings(folder) | case.environ)
    return result.output, result.exit_code


def apart(case: Case, folder: str) -> tuple[str, int]:
    """The same, in a process of its own: it has an event loop, and a log."""
    command = [sys.executable, "-m", "penstock", *case.words]
    environ = surroundings(folder) | case.environ
    result = subprocess.run(
        command, cwd=folder, env=environ, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, timeout=60
    )
    return result.stdout, result.returncode


def steady(told: str) -> str:
    """Without what is another each time; figures keep their width."""
    for pattern, instead in (
        (r"after \d+\.\d\d s", "after 0.01 s"),
        (r"\(pid \d+\)", "(pid 4711)"),
        (r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d", "2026-01-01T12:00:00"),
        (r"sk-penstock-[\w-]{43}", "sk-penstock-…"),
        (r"sha256:[0-9a-f]{64}", "sha256:…"),
        (r"ExecStart=\S+ serve", "ExecStart=/usr/bin/penstock serve"),
        (r"ExecReload=\S+ check", "ExecReload=/usr/bin/penstock check"),
        (re.escape(__version__), "VERSION"),
    ):
        told = re.sub(pattern, instead, told)
    return told


def surroundings(folder: str) -> dict[str, str]:
    """The environment of every case, with a systemd that is new and does nothing."""
    systemctl = Path(folder, "bin/systemctl")
    if not systemctl.exists():
        systemctl.parent.mkdir()
        systemctl.write_text("#!/bin/sh\necho 'systemd 257 (257.1)'\n")
        systemctl.chmod(0o755)
    kept = {name: value for name, value in os.environ.items() if not FOREIGN.match(name)}
    return kept | {"HOME": HOME, "PATH": f"{systemctl.parent}:{os.environ['PATH']}"}


@contextmanager
def simulation() -> Iterator[str]:
    """A backend; its port."""
    command = [sys.executable, "-m", "penstock", "simulate", "--listen", "127.0.0.1:0"]
    with started(command, "stdout", lambda line: "http://" in line) as line:
        yield line.strip().rpartition(":")[2]


@contextmanager
def running(folder: str) -> Iterator[str]:
    """A daemon with the file in this folder."""
    command = [sys.executable, "-m", "penstock", "serve", "--config", f"{folder}/penstock.toml"]
    with started(command, "stderr", lambda line: " listening " in line) as line:
        yield line


@contextmanager
def started(command: list[str], stream: str, ready: Callable[[str], bool]) -> Iterator[str]:
    """A process that has said that it is ready; what it said."""
    with subprocess.Popen(command, text=True, **{stream: subprocess.PIPE}) as process:
        try:
            yield next(line for line in getattr(process, stream) if ready(line))
        finally:
            process.kill()


def faults() -> str:
    """Every class of fault, as ``penstock check`` shows it."""
    told = []
    for name, (text, _) in FAULTS.items():
        shown = transcript(Case(words=("check", "penstock.toml"), file=text))
        told.append(f"# {name}\n{shown.partition(chr(10))[2]}")
    return "\n".join(told)


def main() -> None:
    for path in GOLDEN.iterdir():
        path.unlink()
    for name, case in CASES.items():
        (GOLDEN / f"{name}.txt").write_text(transcript(case))
    (GOLDEN / "faults.txt").write_text(faults())


if __name__ == "__main__":
    main()
