"""``penstock schema``: the JSON Schema of the configuration file."""

from __future__ import annotations

import json

import click

from penstock.config.schema import schema


@click.command("schema")
def command() -> None:
    """Print the JSON Schema of the configuration file.

    Editors that know TOML (Even Better TOML, taplo) complete and check a file by it, once the file's first line is
    "#:schema PATH", with the path of the printed schema.

    Example:

    \b
        penstock schema > ~/.config/penstock/penstock.schema.json
    """
    click.echo(text(), nl=False)


def text() -> str:
    """As it stands in etc/penstock.schema.json."""
    return json.dumps(schema(), indent=2, ensure_ascii=False) + "\n"
