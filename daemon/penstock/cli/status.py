"""``penstock status``: what a running daemon does now."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import click
import trio

from penstock.cli.faults import report
from penstock.cli.options import OF_THE_DAEMON, config_option
from penstock.config.find import find
from penstock.config.load import load
from penstock.config.model import LOGS_CONTENT
from penstock.errors import ConfigError, PenstockError
from penstock.service.door import KEY_VARIABLE, Door, doors


@click.command("status")
@config_option(OF_THE_DAEMON)
@click.pass_context
def command(ctx: click.Context, file: Path | None) -> None:
    """Show the streams, slots and queues of a running daemon.

    It is asked at the address in the configuration.  Where that has [[keys]], one with admin = true is needed: the
    file's own, or the one in $PENSTOCK_KEY.

    Exit status: 0 when a daemon runs, 1 when none does, 78 when the configuration is wrong.
    """
    try:
        config = load(file or find(os.environ))
    except ConfigError as error:
        ctx.exit(report(error))
    failures = []
    for door in doors(config, os.environ):
        try:
            told = trio.run(door.health)
        except PenstockError as error:
            failures.append(error.message)
        else:
            click.echo("\n".join(lines(door, told)))
            return
    where = "; ".join(failures) or "server.listen leaves the port to the system"
    raise click.ClickException(f"no daemon answers: {where}")


def lines(door: Door, told: Mapping[str, Any]) -> Iterator[str]:
    """What ``/health`` says, for people."""
    if "version" not in told:
        yield f"penstock on {door.url}: {told['status']}"
        yield f"for more put a key with admin = true into {KEY_VARIABLE}"
        return
    yield f"penstock {told['version']} on {door.url}: {told['status']}"
    yield f"config    generation {told['generation']}, loaded {told['loaded']}"
    if told.get("log_content"):
        yield f"log       {LOGS_CONTENT}"
    phases = ", ".join(f"{number} {phase}" for phase, number in told["streams"].items())
    yield f"streams   {phases or 'none'}"
    for number, streams in told["older_generations"].items():
        yield f"          {streams} of generation {number}"
    rows = [
        (name, f"{backend['busy']} of {backend['slots']} slots busy, {backend['waiting']} waiting", backend["resting"])
        for name, backend in told["backends"].items()
    ]
    width = max((len(name) for name, _, _ in rows), default=0)
    for number, (name, text, resting) in enumerate(rows):
        rest = ", at rest after failures" if resting else ""
        yield f"{'' if number else 'backends':8}  {name:{width}}  {text}{rest}"
