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


def test_every_rule_of_the_guard_is_told() -> None:
    told = ["421", "403", "401", "`Host`", "`Origin`", "`Sec-Fetch-Site`", "allowed_hosts", "allowed_origins", "0600"]
    assert [word for word in told if word not in PAGE] == []
