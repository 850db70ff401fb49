"""``penstock key``: keys for clients, of which the configuration holds the digests only."""

from __future__ import annotations

import secrets

import click

from penstock.config.faults import FaultyFile, quoted
from penstock.config.load import loads
from penstock.policy.keys import digest_text

#: Some clients take nothing for a key that does not begin so.
PREFIX = "sk-penstock-"


@click.group("key")
def command() -> None:
    """Make keys for clients.

    With the first [[keys]] of the configuration, every request needs one of them; without any, whoever can connect may
    ask.
    """


@command.command("new")
@click.argument("name", default="laptop")
def new(name: str) -> None:
    """Print a new key, and what goes into the configuration for it.

    The key is shown this once and kept nowhere; the configuration holds its SHA-256 digest.  NAME is what the log calls
    the client; "laptop" when it is left out.

    Example:

    \b
        penstock key new editor
    """
    key = PREFIX + secrets.token_urlsafe(32)
    entry = f'[[keys]]\nname = {quoted(name)}\nkey = "{digest_text(key)}"'
    try:
        loads(entry, "penstock.toml")
    except FaultyFile as error:
        raise click.BadParameter(error.found[0].message, param_hint="NAME") from error
    click.echo(f"# for the client, as its API key; it is not shown again\n{key}\n\n# for penstock.toml\n{entry}")
