"""docs/operations.md: each promise names tests, and they are there."""

from __future__ import annotations

import re
from functools import cache

import pytest
from docpages import PAGES, ROOT, quoted, rows

ROWS = rows(PAGES["docs/operations.md"])


@cache
def defined(file: str) -> set[str]:
    return set(re.findall(r"^(?:async )?def (test_\w+)\(", (ROOT / file).read_text(), flags=re.MULTILINE))


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0][:40])
def test_a_promise_names_its_tests(row: list[str]) -> None:
    promise, kept = row
    named = quoted(kept)
    assert promise and named
    assert ", ".join(f"`{name}`" for name in named) == kept
    for name in named:
        file, _, test = name.partition("::")
        assert test in defined(file), name


def test_there_are_many() -> None:
    assert len(ROWS) > 20
    assert any("tests/systemd/" in row[1] for row in ROWS)
