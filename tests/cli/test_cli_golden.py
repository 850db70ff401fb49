"""Every command of an owner's, and every class of fault of a configuration, word by word as it is shown."""

from __future__ import annotations

import re

import pytest
from transcripts import CASES, FAULTS, GOLDEN, Case, faults, transcript

from penstock.cli.main import VERBS
from penstock.cli.tools import TOOLS

STALE = "look at it, then run python tests/cli/transcripts.py"
#: What runs until it is stopped has its own tests.
LASTING = {"serve", "simulate"}
#: Is tested by its figures, and by the file that it is printed into.
ELSEWHERE = {"demo", "schema"}


@pytest.mark.parametrize(
    ("name", "case"),
    [pytest.param(name, case, id=name, marks=[pytest.mark.heavy] if case.runs else []) for name, case in CASES.items()],
)
def test_a_command_prints_what_it_printed(name: str, case: Case) -> None:
    assert transcript(case) == (GOLDEN / f"{name}.txt").read_text(), STALE


def test_every_fault_is_shown_as_it_was() -> None:
    assert faults() == (GOLDEN / "faults.txt").read_text(), STALE


def test_every_fault_has_its_place_its_line_and_a_caret() -> None:
    shown = (GOLDEN / "faults.txt").read_text()
    classes = re.findall(r"^# (.+)\n((?:.+\n)+)", shown, flags=re.MULTILINE)
    assert [name for name, _ in classes] == list(FAULTS)
    for name, text in classes:
        *lines, status = text.splitlines()
        if re.fullmatch(r"\d+ faults", lines[-1]):
            lines.pop()
        assert status == "exit status 78"
        assert len(lines) % 3 == 0, name
        for place, line, caret in zip(*[iter(lines)] * 3, strict=True):
            column = re.match(r"penstock\.toml:\d+:(\d+): ", place)
            assert column, place
            assert line.startswith("    ") and caret.strip() == "^", name
            # Tabs stand in both, so that the caret is where the column is.
            assert len(caret) == 4 + int(column[1]), name
    assert shown.count("did you mean") >= 8


def test_every_command_has_a_transcript() -> None:
    assert {case.words[0] for case in CASES.values() if case.words[0] in VERBS} == set(VERBS) - LASTING - ELSEWHERE
    assert {f"ide-{tool}" for tool in TOOLS} <= set(CASES)
    assert {path.stem for path in GOLDEN.iterdir()} == {*CASES, "faults"}
