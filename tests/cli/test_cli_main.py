from __future__ import annotations

import re
import subprocess
import sys

import pytest
from click.testing import CliRunner

from penstock import __version__
from penstock.cli.main import VERBS, main


def test_the_help_is_a_manual() -> None:
    result = CliRunner().invoke(main, ["--help"], terminal_width=100)
    assert result.exit_code == 0
    headings = [line for line in result.stdout.splitlines() if line and not line.startswith(" ")]
    assert headings[1:] == ["Options:", "Commands:", "Files:", "Environment:", "Exit status:", "Examples:"]
    for fact in (*VERBS, *VERBS.values(), "PENSTOCK_CONFIG", "/etc/penstock/penstock.toml", "78", "127.0.0.1:11435"):
        assert fact in result.stdout


@pytest.mark.parametrize("verb", VERBS)
def test_the_examples_of_a_verb_can_be_typed(verb: str) -> None:
    told = CliRunner().invoke(main, [verb, "--help"], terminal_width=100).stdout
    for other, words in re.findall(r"^ +(?:[A-Z_]+=\S+ )?penstock (\w+)(.*)$", told, flags=re.MULTILINE):
        assert other == verb
        assert [option for option in re.findall(r"(--[a-z-]+)", words) if f"  {option}" not in told] == []


def test_the_version() -> None:
    result = CliRunner().invoke(main, ["--version"])
    assert (result.exit_code, result.stdout) == (0, f"penstock {__version__}\n")


def test_an_unknown_verb_is_a_wrong_command_line() -> None:
    result = CliRunner().invoke(main, ["server"])
    assert result.exit_code == 2
    assert "No such command 'server'" in result.stderr


def test_the_help_imports_no_verb_and_no_stack() -> None:
    program = (
        "import sys; from click.testing import CliRunner; from penstock.cli.main import main\n"
        "assert CliRunner().invoke(main, ['--help']).exit_code == 0\n"
        "heavy = {'trio', 'quart', 'hypercorn', 'httpx', 'msgspec'}\n"
        "print(sorted(name for name in sys.modules if name in heavy or name.startswith('penstock.')))"
    )
    told = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=True).stdout
    assert told == "['penstock.cli', 'penstock.cli.main']\n"
