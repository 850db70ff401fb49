"""``penstock reload``: let a running daemon read its configuration anew."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import msgspec
import trio

from penstock.cli.faults import EXIT_CONFIG, report
from penstock.cli.options import OF_THE_DAEMON, config_option
from penstock.config.addresses import parse_listen
from penstock.config.diff import Change
from penstock.config.find import find
from penstock.config.load import load
from penstock.config.model import Config
from penstock.errors import ConfigError, PenstockError
from penstock.service.door import KEY_VARIABLE, Door, doors

#: What changed needs a restart.
EXIT_RESTART = 3
#: What the reason may be when none answers.
MOVED = "If server.listen is what you changed, that needs a restart; --at ADDRESS asks the daemon where it listens now."
#: Seconds: it may look for local backends, or read from a slow disk.
PATIENCE = 30.0


@click.command("reload")
@config_option(OF_THE_DAEMON)
@click.option("--at", "address", metavar="ADDRESS", help="Where the daemon listens, if that is what the file changes.")
@click.option("--dry-run", is_flag=True, help="Only show what would change, and what would go on as it began.")
@click.pass_context
def command(ctx: click.Context, file: Path | None, address: str | None, dry_run: bool) -> None:
    """Let a running daemon read its configuration anew.

    New requests get the new configuration; running streams keep the one that they began with, until they end.  A
    configuration with a fault changes nothing, and neither does one that changes what needs a restart.  As for status,
    a key with admin = true is needed where there are [[keys]].

    Exit status: 0 when the configuration is in force, 78 when it is wrong, 3 when it needs a restart, 1 when no daemon
    runs and for any other failure.

    Examples:

    \b
        penstock reload --dry-run
        penstock reload
    """
    try:
        config = load(file or find(os.environ))
        if address is not None:
            config = at(config, address)
    except ConfigError as error:
        ctx.exit(report(error))
    door, name = running(config)
    try:
        status, told = trio.run(door.ask, "GET" if dry_run else "POST", "/reload", PATIENCE)
    except PenstockError as error:
        raise click.ClickException(error.message) from error
    match status:
        case 200:
            click.echo("\n".join(rehearsed(name, told) if dry_run else reloaded(name, told)))
            ctx.exit(EXIT_RESTART if any(change.restart for change in changes_of(told)) else 0)
        case 409:
            click.echo(f"{name}: {told['message']}", err=True)
            ctx.exit(EXIT_RESTART)
        case 422:
            click.echo("\n".join(told["faults"]), err=True)
            ctx.exit(EXIT_CONFIG)
        case _:
            raise click.ClickException(f"{name}: {told['error']['message']}")


def at(config: Config, address: str) -> Config:
    """The same configuration for this address.  Raises ClickException."""
    try:
        parse_listen(address)
    except ValueError as error:
        raise click.ClickException(f"--at: {error}") from None
    return msgspec.structs.replace(config, server=msgspec.structs.replace(config.server, listen=(address,)))


def running(config: Config) -> tuple[Door, str]:
    """The door of the daemon of this configuration, and what to call it.  Raises ClickException."""
    failures = []
    for door in doors(config, os.environ):
        try:
            told = trio.run(door.health)
        except PenstockError as error:
            failures.append(error.message)
        else:
            if "version" in told:
                return door, f"penstock {told['version']} on {door.url}"
            raise click.ClickException(f"penstock on {door.url} wants a key with admin = true in {KEY_VARIABLE}")
    where = "; ".join(failures) or "server.listen leaves the port to the system"
    raise click.ClickException(f"no daemon answers: {where}\n{MOVED}")


def changes_of(told: Mapping[str, Any]) -> list[Change]:
    return msgspec.convert(told["changes"], list[Change])


def reloaded(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    """What a reload has done, for people."""
    changes = changes_of(told)
    number = told["generation"]
    if not changes:
        yield f"{name}: nothing has changed in {told['source']}, generation {number} goes on"
        return
    yield f"{name}: generation {number}, from {told['source']}"
    yield from map(str, changes)
    if older := [stream for stream in told["streams"] if stream["generation"] != number]:
        yield "1 stream goes on as it began" if len(older) == 1 else f"{len(older)} streams go on as they began"


def rehearsed(name: str, told: Mapping[str, Any]) -> Iterator[str]:
    """What a reload would do, for people."""
    changes = changes_of(told)
    if not changes:
        yield f"{name}: nothing would change, {told['source']} is in force"
        return
    yield f"{name}: {told['source']} would change"
    yield from map(str, changes)
    streams = told["streams"]
    yield "No stream runs." if not streams else "These streams would go on as they began:"
    rows = [(stream["stream"], stream["model"], stream["backend"] or "-", f"{stream['age']:g} s") for stream in streams]
    widths = [max(map(len, column)) for column in zip(*rows, strict=True)]
    for row in rows:
        yield "  " + "  ".join(f"{text:{width}}" for text, width in zip(row, widths, strict=True)).rstrip()
