"""What the shell gets to complete by, from click itself."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

from penstock.cli.main import VERBS
from penstock.cli.tools import TOOLS


def completed(*words: str, shell: str = "bash") -> list[str]:
    """What could stand in place of the last word."""
    environ = {
        **os.environ,
        "_PENSTOCK_COMPLETE": f"{shell}_complete",
        "COMP_WORDS": " ".join(("penstock", *words)),
        "COMP_CWORD": str(len(words)),
    }
    program = "from penstock.cli.main import main; main(prog_name='penstock')"
    told = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60)
    return told.stdout.splitlines()


def test_verbs() -> None:
    assert completed("") == [f"plain,{verb}" for verb in VERBS]
    assert completed("sta") == ["plain,status"]


def test_zsh_gets_their_lines_too() -> None:
    assert completed("ide", shell="zsh") == ["plain", "ide", VERBS["ide"]]


@pytest.mark.parametrize(
    ("words", "expected"),
    [
        (("ide", ""), list(TOOLS)),
        (("doctor", "--js"), ["--json"]),
        (("check", "--ex"), ["--explain"]),
        (("--ver",), ["--version"]),
    ],
)
def test_arguments_and_options(words: tuple[str, ...], expected: list[str]) -> None:
    assert completed(*words) == [f"plain,{word}" for word in expected]


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_each_shell_gets_its_script(shell: str) -> None:
    environ = {**os.environ, "_PENSTOCK_COMPLETE": f"{shell}_source"}
    program = "from penstock.cli.main import main; main(prog_name='penstock')"
    told = subprocess.run([sys.executable, "-c", program], env=environ, capture_output=True, text=True, timeout=60)
    assert f"_PENSTOCK_COMPLETE={shell}_complete" in told.stdout
