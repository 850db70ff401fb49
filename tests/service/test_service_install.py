"""``penstock install`` and ``uninstall``: what they would do, and that they do it."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner, Result

from penstock.cli import units
from penstock.cli.main import main

SHIPPED = Path(__file__).parents[2] / "systemd"
PENSTOCK = units.command(None)[0]

#: Notes how it was called, and fails when it is told to.
SYSTEMCTL = """#!/bin/sh
[ "$1" = --version ] && { echo "systemd ${SYSTEMD:-252} (252.39-1~deb12u2)"; exit; }
echo "$@" >> "$CALLS"
[ -z "$FAILING" ]
"""


class Home:
    """A user's home, with a systemctl that does nothing."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.units = path / ".config/systemd/user"
        self.config = path / ".config/penstock/penstock.toml"
        self.config.parent.mkdir(parents=True)
        self._calls = path / "calls"
        systemctl = path / "bin/systemctl"
        systemctl.parent.mkdir()
        systemctl.write_text(SYSTEMCTL)
        systemctl.chmod(0o755)

    def run(self, *words: str, **environ: str) -> Result:
        path = f"{self.path}/bin:{os.environ['PATH']}"
        env = {"HOME": str(self.path), "XDG_CONFIG_HOME": "", "PATH": path, "CALLS": str(self._calls)}
        return CliRunner().invoke(main, list(words), env=env | environ)

    @property
    def calls(self) -> list[str]:
        return self._calls.read_text().splitlines()


@pytest.fixture
def home(tmp_path: Path) -> Home:
    return Home(tmp_path)


@pytest.fixture
def old_systemd(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "version", lambda: units.SINCE - 1)


@pytest.mark.usefixtures("old_systemd")
def test_a_dry_run_for_the_system_shows_everything(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "HOMES", ())
    monkeypatch.setattr("penstock.cli.install.SYSTEM_FILE", tmp_path / "none.toml")
    expected = ""
    for name, place in (
        ("system/penstock.socket", "/etc/systemd/system/penstock.socket"),
        ("system/penstock.service", "/etc/systemd/system/penstock.service"),
        ("penstock.catalog", "/usr/local/lib/systemd/catalog/penstock.catalog"),
    ):
        text = (SHIPPED / name).read_text().replace("/usr/bin/penstock", PENSTOCK)
        lines = [f"    {line}".rstrip() for line in text.splitlines()]
        expected += "\n".join([f"write {place}", *lines, "", ""])
    expected += """\
run systemctl daemon-reload
run journalctl --update-catalog
run systemctl enable penstock.socket penstock.service
run systemctl stop penstock.socket penstock.service
run systemctl start penstock.socket penstock.service
"""
    result = CliRunner().invoke(main, ["install", "--system", "--dry-run"])
    assert (result.exit_code, result.output) == (0, expected)
    assert units.Manager.of(True, {}).journalctl == "journalctl -u penstock"


@pytest.mark.usefixtures("old_systemd")
def test_a_dry_run_of_uninstall_for_the_system_shows_everything(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    manager = units.Manager(True, tmp_path)
    monkeypatch.setattr(units.Manager, "of", lambda *_: manager)
    monkeypatch.setattr(units, "CATALOGUE", tmp_path / "penstock.catalog")
    for step in (*units.writes(manager, ["penstock", "serve"], ["127.0.0.1:1"]), units.explanations()):
        step.do()
    told = f"""\
run systemctl disable --now penstock.socket penstock.service
remove {tmp_path}/penstock.socket
remove {tmp_path}/penstock.service
remove {tmp_path}/penstock.catalog
run systemctl daemon-reload
run journalctl --update-catalog
"""
    assert CliRunner().invoke(main, ["uninstall", "--system", "--dry-run"]).output == told
    (tmp_path / "penstock.socket").unlink()
    (tmp_path / "penstock.service").unlink()
    told = f"""\
remove {tmp_path}/penstock.catalog
run systemctl daemon-reload
run journalctl --update-catalog
"""
    assert CliRunner().invoke(main, ["uninstall", "--system", "--dry-run"]).output == told


def test_the_steps_are_shown_and_done_and_undone(home: Home) -> None:
    result = home.run("install")
    assert (result.exit_code, result.output) == (
        0,
        f"""\
write {home.units}/penstock.socket
write {home.units}/penstock.service
run systemctl --user daemon-reload
run systemctl --user enable penstock.socket penstock.service
run systemctl --user stop penstock.socket penstock.service
run systemctl --user start penstock.socket penstock.service
It runs; its log: journalctl --user -u penstock
It does so while you are logged in; from boot on after: loginctl enable-linger
""",
    )
    written = (home.units / "penstock.service").read_text()
    assert f"ExecStart={PENSTOCK} serve\n" in written
    assert home.calls == [
        "--user daemon-reload",
        "--user enable penstock.socket penstock.service",
        "--user stop penstock.socket penstock.service",
        "--user start penstock.socket penstock.service",
    ]
    undone = f"""\
run systemctl --user disable --now penstock.socket penstock.service
remove {home.units}/penstock.socket
remove {home.units}/penstock.service
run systemctl --user daemon-reload
"""
    assert home.run("uninstall", "--dry-run").output == undone
    assert len(list(home.units.iterdir())) == 2
    assert home.run("uninstall").output == undone
    assert list(home.units.iterdir()) == []
    assert home.calls[4:] == ["--user disable --now penstock.socket penstock.service", "--user daemon-reload"]
    assert home.run("uninstall").output == f"no units of penstock are in {home.units}\n"


def test_the_socket_has_the_addresses_of_the_file(home: Home) -> None:
    home.config.write_text(
        '[server]\nlisten = ["localhost:8000", "[::1]:8000", "unix:/run/user/7/50%.sock", "127.0.0.1:0"]\n'
    )
    assert home.run("install", PENSTOCK_CONFIG="/no/such").exit_code == 0
    assert ("[Socket]\nListenStream=127.0.0.1:8000\nListenStream=[::1]:8000\nListenStream=/run/user/7/50%%.sock\n") in (
        home.units / "penstock.socket"
    ).read_text()


def test_a_file_of_its_own_choice_goes_into_the_command(home: Home) -> None:
    file = home.path / "my penstock.toml"
    file.write_text('[server]\nlisten = ["127.0.0.1:8001"]\n')
    assert home.run("install", "--config", str(file)).exit_code == 0
    service = (home.units / "penstock.service").read_text()
    assert f'ExecStart={PENSTOCK} serve --config "{file}"\n' in service
    assert f'ExecReload={PENSTOCK} check "{file}"\n' in service
    assert "ListenStream=127.0.0.1:8001\n" in (home.units / "penstock.socket").read_text()


def test_a_new_systemd_is_told_to_wait_for_the_reload(home: Home) -> None:
    drop_in = home.units / "penstock.service.d/notify-reload.conf"
    assert f"write {drop_in}\n" in home.run("install", SYSTEMD="253").output
    shipped = (SHIPPED / "user/penstock.service.d/notify-reload.conf").read_text()
    assert drop_in.read_text() == shipped.replace("/usr/bin/penstock", PENSTOCK)
    assert f"remove {drop_in}\n" in home.run("uninstall").output
    assert list(home.units.iterdir()) == []


def test_the_owners_own_drop_in_stays(home: Home) -> None:
    home.run("install", SYSTEMD="257")
    own = home.units / "penstock.service.d/override.conf"
    own.write_text("[Service]\n")
    home.run("uninstall")
    assert list(home.units.rglob("*.conf")) == [own]


@pytest.mark.parametrize(
    ("text", "status", "told"),
    [
        ("x = 1", 78, "penstock.toml:1:1: x: unknown key"),
        ('[server]\nlisten = ["127.0.0.1:0"]', 1, "server.listen has no address with a fixed port"),
    ],
)
def test_a_file_that_cannot_be_served_installs_nothing(text: str, status: int, told: str, home: Home) -> None:
    home.config.write_text(text)
    result = home.run("install")
    assert result.exit_code == status
    assert told in result.stderr
    assert not home.units.exists()


def test_what_fails_ends_it(home: Home) -> None:
    result = home.run("install", FAILING="yes")
    assert (result.exit_code, result.stderr) == (
        1,
        "Error: 'systemctl --user daemon-reload' failed; its message is above\n",
    )
    assert len(home.calls) == 1


def test_without_systemd(home: Home) -> None:
    result = home.run("install", PATH=str(home.path))
    assert (result.exit_code, result.stderr) == (1, "Error: systemctl is not there: this machine has no systemd\n")


def test_somebody_elses_unit_is_left_alone(home: Home) -> None:
    home.units.mkdir(parents=True)
    theirs = home.units / "penstock.service"
    theirs.write_text("[Service]\n")
    result = home.run("install")
    assert result.exit_code == 1
    assert f"{theirs} is there and was not written by penstock; move it away first" in result.stderr
    assert home.run("uninstall").exit_code == 0
    assert theirs.read_text() == "[Service]\n"
    assert not (home.units / "penstock.socket").exists()


def test_a_command_in_a_home_is_no_command_for_the_system(home: Home, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(units, "HOMES", (Path(sys.prefix).resolve(),))
    result = home.run("install", "--system", "--dry-run")
    assert result.exit_code == 1
    assert "the system's service cannot see " in result.stderr
    assert "install penstock elsewhere, for example in /opt/penstock" in result.stderr


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("/opt/penstock/bin/penstock", "/opt/penstock/bin/penstock"),
        ("/my dir/p", '"/my dir/p"'),
        ("/50%/$HOME", "/50%%/$$HOME"),
        ('/a"b\\c', '"/a\\"b\\\\c"'),
        ("/it's", '"/it\'s"'),
    ],
)
def test_words_of_a_command_are_quoted_as_systemd_reads_them(text: str, word: str) -> None:
    assert units.word(text) == word


def test_an_unwritable_place_is_told(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(click.ClickException, match=r"penstock\.socket cannot be written: File exists"):
        units.Write(tmp_path / "file/penstock.socket", "x").do()
