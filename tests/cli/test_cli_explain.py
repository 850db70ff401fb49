from __future__ import annotations

from pathlib import Path

from click.testing import CliRunner

from penstock.cli.main import main

EXPLAINED = """\
server.listen            ["127.0.0.1:11435"]       default
server.allowed_hosts     []                        default
server.allowed_origins   []                        default
server.heartbeat         "5s"                      default
server.grace             "2s"                      default
server.drain             "3s"                      {file}:2
server.log_level         "debug"                   PENSTOCK__SERVER__LOG_LEVEL
server.log_format        "console"                 default
"""


def test_every_setting_is_shown_with_its_origin(tmp_path: Path) -> None:
    file = tmp_path / "penstock.toml"
    file.write_text(
        '[server]\ndrain = "3s"\n[backends.a]\nkind = "ollama"\nurl = "http://127.0.0.1:1"\napi_key = "sk-x"\n'
    )
    arguments = ["check", "--explain", str(file)]
    result = CliRunner().invoke(main, arguments, env={"PENSTOCK__SERVER__LOG_LEVEL": "debug"})
    assert (result.exit_code, result.stderr) == (0, "")
    words = [line.split() for line in result.stdout.splitlines()]
    assert words[:8] == [line.split() for line in EXPLAINED.format(file=file).splitlines()]
    assert ["backends.a.api_key", '"***"', f"{file}:6"] in words
    assert "sk-x" not in result.stdout


def test_columns_stand_below_one_another() -> None:
    result = CliRunner().invoke(main, ["check", "--explain"], env={"PENSTOCK_CONFIG": "", "HOME": "/nowhere"})
    assert result.exit_code == 0
    assert len({line.rindex("  default") for line in result.stdout.splitlines()}) == 1


def test_a_fault_of_the_environment_is_told(tmp_path: Path) -> None:
    environ = {"PENSTOCK__SERVER__DRAIN": "10x", "PENSTOCK_CONFIG": "", "HOME": str(tmp_path)}
    result = CliRunner().invoke(main, ["check"], env=environ)
    assert result.exit_code == 78
    assert result.stderr == (
        'PENSTOCK__SERVER__DRAIN: server.drain: "10x" is no duration; '
        'write "250ms", "90s", "5m", "1h30m" or a number of seconds\n'
    )
