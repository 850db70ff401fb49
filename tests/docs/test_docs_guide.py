"""What docs/contributing-a-dialect.md says to stand in a file stands there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from docpages import PAGES, ROOT, quoted, rows

ROWS = rows(PAGES["docs/contributing-a-dialect.md"])


def found(name: str) -> Path:
    paths = [path for path in (ROOT / name, ROOT / "daemon/penstock" / name) if path.is_file()]
    assert len(paths) == 1, f"{name} is no file"
    return paths[0]


@pytest.mark.parametrize("row", ROWS, ids=lambda row: row[0])
def test_names_stand_in_their_files(row: list[str]) -> None:
    (file,) = quoted(row[0])
    text = found(file).read_text()
    names = [name for name in quoted(row[1]) if "/" not in name]
    assert [name for name in names if not re.search(rf"\b{re.escape(name)}\b", text)] == []


def test_other_names_stand_somewhere() -> None:
    page = PAGES["docs/contributing-a-dialect.md"]
    folders = [ROOT / "daemon/penstock", ROOT / "tests/matrix", ROOT / "tests/docs"]
    files = [path for folder in folders for path in sorted(folder.rglob("*.py"))]
    code = "".join(path.read_text() for path in [*files, ROOT / "tests/asking.py"])
    names = {name for name in quoted(page) if re.fullmatch(r"\w+", name)}
    assert len(names) > 20
    assert {name for name in names if not re.search(rf"\b{name}\b", code)} == set()
    for file in {name for name in quoted(page) if name.endswith(".py")}:
        found(file)
