"""docs/commands.md has a section for each verb, with a command line of it and what that prints."""

from __future__ import annotations

import re

import pytest
from docpages import PAGES, section

from penstock.cli.main import VERBS
from penstock.cli.tools import TOOLS

TEXT = PAGES["docs/commands.md"]


def test_every_verb_has_a_section_and_no_other_has() -> None:
    told = re.findall(r"^## penstock (\S+)$", TEXT, flags=re.MULTILINE)
    assert told == list(VERBS)


@pytest.mark.parametrize("verb", VERBS)
def test_a_section_shows_the_verb_and_its_output(verb: str) -> None:
    text = section(TEXT, f"penstock {verb}")
    assert re.search(rf"^    \$ (?:[A-Z_0-9]+=\S+ )?penstock {verb}\b.*\n    \S", text, flags=re.MULTILINE), verb


def test_every_tool_has_a_section() -> None:
    told = re.findall(r"^`penstock ide (\S+)`; ", PAGES["docs/ides.md"], flags=re.MULTILINE)
    assert told == list(TOOLS)
