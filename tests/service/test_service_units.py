"""The units that are shipped: nothing in them that systemd would not take, and tight enough."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

from penstock.cli import units
from penstock.cli.faults import EXIT_CONFIG
from penstock.cli.units import (
    ADDRESS,
    CHECK,
    COMMAND,
    MARK,
    NAMES,
    NOTIFY_RELOAD,
    SINCE,
    Manager,
    Write,
    writes,
)
from penstock.config.model import Server

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "systemd"
DROP_IN = SHIPPED / "system/penstock.service.d/local-backends-only.conf"

systemd_analyze = pytest.mark.skipif(
    not shutil.which("systemd-analyze"), reason="needs systemd-analyze, of Debian's package systemd"
)


@pytest.fixture(params=["system", "user"])
def kind(request: pytest.FixtureRequest) -> str:
    return str(request.param)


def installed(kind: str, folder: Path) -> list[str]:
    """The units as they are when installed; their paths."""
    steps = writes(Manager(kind == "system", folder), [sys.executable, "serve"], Server().listen)
    for step in steps:
        assert isinstance(step, Write)
        step.do()
    return [str(folder / name) for name in NAMES]


def analyze(*words: str, folder: Path) -> subprocess.CompletedProcess[str]:
    # without the units that whoever runs this has at home
    env = os.environ | dict.fromkeys(("HOME", "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "XDG_DATA_HOME"), str(folder))
    command = ["systemd-analyze", *words]
    return subprocess.run(command, capture_output=True, text=True, env=env, timeout=60, check=False)


@pytest.mark.parametrize("name", NAMES)
def test_install_finds_what_it_fills_in(kind: str, name: str) -> None:
    text = (SHIPPED / kind / name).read_text()
    assert text.startswith(MARK)
    places = [COMMAND, CHECK] if name.endswith(".service") else [ADDRESS]
    assert [text.count(place) for place in places] == [1] * len(places)


def test_a_reload_checks_first_and_then_signals(kind: str) -> None:
    service = (SHIPPED / kind / "penstock.service").read_text()
    assert [line for line in service.splitlines() if line.startswith("ExecReload=")] == [
        f"ExecReload={CHECK}",
        "ExecReload=/usr/bin/systemd-notify RELOADING=1",
        "ExecReload=/bin/kill -HUP $MAINPID",
    ]
    drop_in = (SHIPPED / kind / NOTIFY_RELOAD).read_text()
    assert drop_in.startswith(MARK)
    settings = [line for line in drop_in.splitlines() if line and not line.startswith("#")]
    assert settings == ["[Service]", "Type=notify-reload", "ExecReload=", f"ExecReload={CHECK}"]
    # Debian's package has a generator where the command asks once.
    assert f" -ge {SINCE} ];" in (ROOT / "etc/debian/generator").read_text()


def test_the_default_address_is_that_of_the_file() -> None:
    assert [f"ListenStream={units.stream_of(text)}" for text in Server().listen] == [ADDRESS]


def test_the_exit_status_of_a_wrong_file_ends_the_restarts(kind: str) -> None:
    service = (SHIPPED / kind / "penstock.service").read_text()
    assert f"\nRestartPreventExitStatus={EXIT_CONFIG}\n" in service
    # A client that waits for it starts it anew, in its time, and no limit ends that.
    assert f"""\nExecStopPost=/bin/sh -c 'test "$$EXIT_STATUS" != {EXIT_CONFIG} || sleep 3'\n""" in service
    for name in NAMES:
        assert "\nStartLimitIntervalSec=0\n" in (SHIPPED / kind / name).read_text()


def test_the_units_are_part_of_the_wheel() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert wheel["force-include"] == {"systemd": "penstock/systemd"}


def test_the_page_shows_the_drop_in() -> None:
    shown = (ROOT / "docs/systemd.md").read_text()
    settings = [line for line in DROP_IN.read_text().splitlines() if line and not line.startswith("#")]
    assert "\n".join(f"    {line}" for line in settings) in shown


@systemd_analyze
def test_verify_has_nothing_to_say(kind: str, tmp_path: Path) -> None:
    """Its exit status would be 0 for a key that it does not know."""
    paths = installed(kind, tmp_path)
    if kind == "system":
        (tmp_path / DROP_IN.parent.name).mkdir(exist_ok=True)
        shutil.copy(DROP_IN, tmp_path / DROP_IN.parent.name)
    result = analyze(f"--{kind}", "verify", *paths, folder=tmp_path)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


@systemd_analyze
def test_verify_would_say_something(kind: str, tmp_path: Path) -> None:
    paths = installed(kind, tmp_path)
    with open(paths[1], "a") as file:
        file.write("Surprise=yes\n")
    assert "Surprise" in analyze(f"--{kind}", "verify", *paths, folder=tmp_path).stderr


@systemd_analyze
@pytest.mark.parametrize(("drop_in", "score"), [(False, 1.2), (True, 1.0)], ids=["alone", "local backends only"])
def test_the_exposure_of_the_system_unit(drop_in: bool, score: float, tmp_path: Path) -> None:
    _, service = installed("system", tmp_path)
    if drop_in:
        # The offline analysis reads no drop-ins.
        settings = DROP_IN.read_text().partition("[Service]")[2]
        text = Path(service).read_text().replace("[Service]", f"[Service]{settings}")
        Path(service).write_text(text)
    result = analyze("security", "--offline=yes", f"--threshold={round(score * 10)}", service, folder=tmp_path)
    assert result.returncode == 0, result.stdout[-100:]
    assert "Overall exposure level" in result.stdout
