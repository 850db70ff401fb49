"""What is made by running the code is what it would be now."""

from __future__ import annotations

import pytest
from docpages import PAGES
from full_requests import fullest
from generate import BLOCKS, replaced

from penstock.dialects.registry import NORTHBOUND


@pytest.mark.parametrize(("page", "name"), [(page, name) for page, blocks in BLOCKS.items() for name in blocks])
def test_a_generated_part_is_fresh(page: str, name: str) -> None:
    text = PAGES[page]
    assert replaced(text, name, BLOCKS[page][name]()) == text, "run python tests/docs/generate.py"


def test_every_dialect_says_everything_once() -> None:
    assert {request.dialect for _, request in fullest()} == set(NORTHBOUND)
