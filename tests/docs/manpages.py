"""penstock(1), from what ``--help`` says, and penstock.toml(5), from docs/configuration.md."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator
from pathlib import Path

import click
import roff

import penstock
from penstock.cli.main import MANUAL, VERBS, main

ROOT = Path(__file__).parents[2]
SUMMARY = "a proxy for language-model streams"


def command() -> str:
    """penstock(1)."""
    return page("penstock", 1, "User Commands", SUMMARY, _command())


def _command() -> Iterator[str]:
    context = click.Context(main, info_name="penstock", **main.context_settings)
    yield roff.section("Synopsis")
    yield usage(context)
    yield roff.section("Description")
    yield from prose(main)
    yield roff.section("Options")
    yield from options(context)
    yield roff.section("Commands")
    for verb in VERBS:
        found = main.get_command(context, verb)
        assert found is not None
        yield from explained(found, click.Context(found, info_name=verb, parent=context))
    for title, rows in MANUAL.items():
        yield roff.section(title)
        yield from (roff.term(roff.bold(name), roff.words(told)) for name, told in rows)


def explained(verb: click.Command, context: click.Context) -> Iterator[str]:
    """A verb, or one within a verb."""
    yield roff.subsection(context.command_path)
    yield usage(context)
    yield from prose(verb)
    yield from options(context)
    if isinstance(verb, click.Group):
        for name in verb.list_commands(context):
            inner = verb.get_command(context, name)
            assert inner is not None
            yield from explained(inner, click.Context(inner, info_name=name, parent=context))


def usage(context: click.Context) -> str:
    pieces = " ".join(context.command.collect_usage_pieces(context))
    return roff.paragraph(f"{roff.bold(context.command_path)} {roff.literal(pieces)}")


def prose(verb: click.Command) -> Iterator[str]:
    """The paragraphs of a help text; click sets those after ``\\b`` line by line, and so does this."""
    for text in inspect.cleandoc(verb.help or "").split("\n\n"):
        lines = text.splitlines()
        if lines[0] == "\b":
            yield roff.code(lines[1:])
        else:
            yield roff.paragraph(roff.words(" ".join(lines)))


def options(context: click.Context) -> Iterator[str]:
    for parameter in context.command.get_params(context):
        record = parameter.get_help_record(context)
        # Every verb has --help; that is said once.
        if isinstance(parameter, click.Option) and record and (context.parent is None or parameter.name != "help"):
            yield roff.term(roff.bold(record[0]), roff.words(record[1]))


def configuration() -> str:
    """penstock.toml(5)."""
    text = (ROOT / "docs/configuration.md").read_text()
    # What begins the page on the site is said by the manual's own head.
    text = re.sub(r"^# .*\n", "", text)
    blocks = [roff.section("Description"), *roff.markdown(text)]
    return page("penstock.toml", 5, "File Formats", "the configuration of penstock", blocks)


def page(name: str, section: int, manual: str, summary: str, blocks: Iterator[str] | list[str]) -> str:
    others = {1: "penstock.toml(5), systemd.socket(5), journalctl(1)", 5: "penstock(1)"}[section]
    parts = [
        r".\" Made by tests/docs/generate.py.",
        roff.head(name, section, penstock.__version__, manual),
        roff.section("Name"),
        rf"{roff.literal(name)} \- {summary}",
        *blocks,
        roff.section("See also"),
        roff.words(others),
    ]
    return "\n".join(parts) + "\n"


#: Where each lies, and what makes it.
PAGES = {"docs/man/penstock.1": command, "docs/man/penstock.toml.5": configuration}
