"""Every link leads somewhere, and every file, setting and make target that a page names exists."""

from __future__ import annotations

import re

import msgspec
import pytest
from docpages import PAGES, ROOT, anchors, quoted, without_code

from penstock.config.model import Limits, Server, Timeouts

PACKAGE = ROOT / "daemon/penstock"
SETTINGS = {
    f"{section}.{field.encode_name}"
    for section, kind in (("server", Server), ("timeouts", Timeouts), ("limits", Limits))
    for field in msgspec.structs.fields(kind)
}
FOLDERS = "|".join(re.escape(path.name) for path in [*ROOT.iterdir(), *PACKAGE.iterdir()] if path.is_dir())


@pytest.mark.parametrize("page", PAGES)
def test_links(page: str) -> None:
    here = (ROOT / page).parent
    dead = []
    for link in re.findall(r"\]\(([^)\s]+)\)", without_code(PAGES[page])):
        if link.startswith("https://"):
            continue
        path, _, anchor = link.partition("#")
        target = (here / path).resolve() if path else ROOT / page
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            dead.append(link)
    assert dead == []


@pytest.mark.parametrize("page", PAGES)
def test_files_that_are_named_exist(page: str) -> None:
    named = {
        word
        for word in quoted(PAGES[page])
        if re.fullmatch(rf"(?:{FOLDERS})/[\w./-]*|\w+\.py", word) and "NAME" not in word and "VERB" not in word
    }
    assert [word for word in sorted(named) if not (ROOT / word).exists() and not (PACKAGE / word).exists()] == []


@pytest.mark.parametrize("page", PAGES)
def test_settings_that_are_named_exist(page: str) -> None:
    named = {word for word in quoted(PAGES[page]) if re.fullmatch(r"(?:server|timeouts|limits)\.[a-z_]+", word)}
    assert named - SETTINGS == set()


@pytest.mark.parametrize("page", PAGES)
def test_make_targets_that_are_named_exist(page: str) -> None:
    targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(), flags=re.MULTILINE))
    named = set(re.findall(r"(?:`|^    )make ([\w-]+)", PAGES[page], flags=re.MULTILINE))
    assert named - targets == set()


def test_the_index_lists_every_page() -> None:
    listed = set(re.findall(r"\]\(([^)#]+)\)", PAGES["docs/index.md"]))
    pages = {page.removeprefix("docs/") for page in PAGES if page.startswith("docs/")}
    assert pages - listed == {"index.md"}


@pytest.mark.parametrize("page", [page for page in PAGES if "decisions/" in page])
def test_a_decision_is_short_and_has_three_parts(page: str) -> None:
    text = PAGES[page]
    assert len(text.splitlines()) <= 25
    assert re.match(r"# \d{4}: ", text)
    assert text.index("**Context.**") < text.index("**Decision.**") < text.index("**Consequences.**")
