"""The manual pages: fresh, without a fault that a formatter knows of, and whole."""

from __future__ import annotations

import shutil
import subprocess
import tomllib
from pathlib import Path

import pytest
import roff
from docpages import ROOT
from manpages import PAGES

from penstock.cli.main import MANUAL, VERBS

FORMATTERS = [["groff", "-man", "-Tutf8", "-Kutf8", "-ww", "-z"], ["mandoc", "-Tlint", "-Werror"]]


@pytest.mark.parametrize("page", PAGES)
def test_a_page_is_fresh(page: str) -> None:
    assert (ROOT / page).read_text() == PAGES[page](), "run python tests/docs/generate.py"


@pytest.mark.parametrize("page", PAGES)
@pytest.mark.parametrize("formatter", FORMATTERS, ids=lambda formatter: formatter[0])
def test_a_formatter_has_nothing_to_say(page: str, formatter: list[str]) -> None:
    if not shutil.which(formatter[0]):
        pytest.skip(f"needs {formatter[0]}, of Debian's package of that name")
    result = subprocess.run([*formatter, ROOT / page], capture_output=True, text=True, timeout=60, check=False)
    assert (result.returncode, result.stdout, result.stderr) == (0, "", "")


def shown(page: str) -> str:
    """As a reader sees it, on lines as long as they want."""
    command = ["groff", "-man", "-Tutf8", "-Kutf8", "-P-cbou", "-rLL=500n", "-rHY=0", str(ROOT / page)]
    return subprocess.run(command, capture_output=True, text=True, timeout=60, check=True).stdout


@pytest.mark.skipif(not shutil.which("groff"), reason="needs groff")
def test_what_is_to_be_copied_is_shown_as_it_is_typed() -> None:
    command, file = map(shown, PAGES)
    for fact in ("penstock(1)", "penstock.toml - the configuration of penstock", "server.listen"):
        assert fact.lower() in (command + file).lower()
    for typed in ("penstock serve --config ./penstock.toml", '"#:schema PATH"'):
        assert typed in command
    for typed in ("""PENSTOCK__SERVER__LISTEN='["127.0.0.1:9000"]'""", "~/.config/penstock/penstock.toml", "[[keys]]"):
        assert typed in file
    assert [verb for verb in VERBS if f"   penstock {verb}\n" not in command] == []
    assert [title for title in MANUAL if f"\n{title.upper()}\n" not in command] == []
    assert "`" not in file
    assert "](" not in file


@pytest.mark.parametrize(
    ("text", "blocks"),
    [
        ("## A title\n", ['.SH "A TITLE"']),
        ("## [server]\n", ['.SH "[server]"']),
        ("### server.listen\n", ['.SS "server.listen"']),
        ("One\nparagraph.\n\nAnother.\n", [".PP\nOne paragraph.", ".PP\nAnother."]),
        (".so it begins\n", [".PP\n\\&.so it begins"]),
        ("`-a`, **b `c`** and [d](e.md#f)\n", [".PP\n\\fB\\-a\\fR, \\fBb c\\fR and d"]),
        ("- Meaning: what\n  it is\n- Default: `1`\n", [".PP\nwhat it is", ".TP\nDefault\n\\fB1\\fR"]),
        ("1. one\n2. two\n- three\n", [".IP 1. 4\none", ".IP 2. 4\ntwo", ".IP - 4\nthree"]),
        ("| a | b |\n|---|---|\n| `x` | y |\n", [".TP\n\\fBx\\fR\ny"]),
        ("```toml\n.a = '~'\n```\n", [".PP\n.RS 4\n.nf\n\\&.a = \\(aq\\(ti\\(aq\n.fi\n.RE"]),
        ("    a\n\n      b\n", [".PP\n.RS 4\n.nf\na\n\n  b\n.fi\n.RE"]),
    ],
)
def test_markdown_as_roff(text: str, blocks: list[str]) -> None:
    assert list(roff.markdown(text)) == blocks


def test_what_is_not_known_is_refused() -> None:
    with pytest.raises(ValueError, match="cannot be read: '#### deep"):
        list(roff.markdown("text\n\n#### deep\n"))


def test_the_wheel_brings_them() -> None:
    wheel = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {page: f"share/man/man{Path(page).suffix[1:]}/{Path(page).name}" for page in PAGES}.items() <= wheel[
        "shared-data"
    ].items()
