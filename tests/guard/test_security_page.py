"""``docs/security.md``: every claim's test exists, every sample can be used."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from penstock.config.load import loads

ROOT = Path(__file__).parents[2]
PAGE = (ROOT / "docs/security.md").read_text()
TESTS = set(re.findall(r"def (test_\w+)", "".join(path.read_text() for path in (ROOT / "tests").rglob("test_*.py"))))


def test_every_test_that_is_named_exists() -> None:
    named = set(re.findall(r"`(test_\w+)`", PAGE))
    assert len(named) > 30
    assert named - TESTS == set()


@pytest.mark.parametrize("sample", re.findall(r"```toml\n(.*?)```", PAGE, flags=re.DOTALL))
def test_a_sample_can_be_used(sample: str) -> None:
    loads(sample, "docs/security.md")


def test_every_promise_names_its_test() -> None:
    section = PAGE.partition("## Promises against attackers\n")[2].partition("\n## ")[0]
    rows = {row.split("|")[1].strip(): row for row in section.splitlines() if row.startswith("| P")}
    assert list(rows) == [f"P{number}" for number in range(1, 23)]
    assert [number for number, row in rows.items() if not re.search(r"`test_\w+`", row)] == []


def test_every_rule_of_the_guard_is_told() -> None:
    told = ["421", "403", "401", "`Host`", "`Origin`", "`Sec-Fetch-Site`", "allowed_hosts", "allowed_origins", "0600"]
    assert [word for word in told if word not in PAGE] == []


def test_every_line_of_the_checklists_names_its_test_or_says_why_not() -> None:
    section = PAGE.partition("## Checklists\n")[2].partition("\n## ")[0]
    rows = [[cell.strip() for cell in row.strip("|").split("|")] for row in section.splitlines()]
    lines = {row[0]: row[2] for row in rows if re.fullmatch(r"[RS]\d+", row[0])}
    assert list(lines) == [f"R{n}" for n in range(1, 15)] + [f"S{n}" for n in range(1, 23)]
    for name, proof in lines.items():
        assert re.search(r"`test_\w+`|none: .{40}|as [RS]\d+", proof), name
