"""What a page shows can be used: samples of configuration load, and commands and options exist."""

from __future__ import annotations

import re

import pytest
from click.testing import CliRunner
from docpages import PAGES, ROOT, fenced

from penstock.cli.main import VERBS, main
from penstock.config.load import loads

SAMPLES = [(page, sample) for page in ("README.md", "docs/timeouts.md") for sample in fenced(PAGES[page], "toml")]


@pytest.mark.parametrize(("page", "sample"), SAMPLES, ids=[page for page, _ in SAMPLES])
def test_a_sample_of_configuration_is_a_whole_file(page: str, sample: str) -> None:
    config = loads(sample, page)
    assert config.backends


def commands(text: str) -> list[str]:
    """The command lines that a page shows or names."""
    return re.findall(r"(?:^ {4}(?:\$ )?|`)(?:\.venv/bin/)?penstock ([a-z][^`\n#]*)", text, flags=re.MULTILINE)


@pytest.mark.parametrize("page", PAGES)
def test_verbs_and_options_that_are_shown_exist(page: str) -> None:
    for command in commands(PAGES[page]):
        verb = command.split()[0]
        assert verb in VERBS, command
        told = CliRunner().invoke(main, [verb, "--help"], catch_exceptions=False).output
        for option in re.findall(r"(?<!\S)--[a-z][a-z-]*", command):
            assert option in told, command


def test_the_readme_shows_what_the_demo_says() -> None:
    (shown,) = fenced(PAGES["README.md"], "text")
    code = (ROOT / "daemon/penstock/cli/demo.py").read_text()
    for words in ("client leaves after", "backend falls silent", "connection closed", "All as it should be"):
        assert words in shown
        assert words in code


def test_the_readme_tells_what_help_tells() -> None:
    told = CliRunner().invoke(main, ["--help"], catch_exceptions=False).output
    for fact in ("127.0.0.1:11435", "~/.config/penstock/penstock.toml", "LM Studio", "KoboldCpp", "vLLM", "llama.cpp"):
        assert fact in told
        assert fact in PAGES["README.md"]
