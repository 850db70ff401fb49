"""``penstock check``: the same reading of the file as ``serve`` does, and nothing else."""

from __future__ import annotations

import os
from pathlib import Path

import click

from penstock.cli.faults import report
from penstock.config.explain import Setting, explain
from penstock.config.find import find
from penstock.config.load import read
from penstock.config.model import LOGS_CONTENT, Config
from penstock.errors import ConfigError

_WIDEST = 40


@click.command("check")
@click.argument("file", required=False, type=click.Path(path_type=Path))
@click.option("--explain", "in_full", is_flag=True, help="Show every setting, and where it comes from.")
@click.pass_context
def command(ctx: click.Context, file: Path | None, in_full: bool) -> None:
    """Say what is wrong with a configuration file.

    FILE is the one that serve would take when it is left out; what conf.d beside it and the environment add is read
    with it.  All faults are listed, each with its line and a caret under the place.  Nothing is started, no secret is
    read, no backend is asked.

    Exit status: 0 when the file is good, 78 when it is not.

    Examples:

    \b
        penstock check
        penstock check ./penstock.toml
        penstock check --explain
    """
    path = file or find(os.environ)
    try:
        loaded = read(path)
    except ConfigError as error:
        ctx.exit(report(error))
    if in_full:
        click.echo(table(explain(loaded)))
    elif path is None:
        click.echo("no configuration file: penstock runs on its defaults")
    else:
        click.echo(f"{path}: ok\n{summary(loaded.config)}")


def table(settings: list[Setting]) -> str:
    """Path, value and origin of each, below one another."""
    paths = max(len(setting.path) for setting in settings)
    # a long list shall not push the origins of all others out of sight
    values = max(len(setting.value) for setting in settings if len(setting.value) <= _WIDEST)
    return "\n".join(f"{setting.path:{paths}}  {setting.value:{values}}  {setting.origin}" for setting in settings)


def summary(config: Config) -> str:
    """The listeners, backends and routes of a configuration, one line each under three headings."""
    backends = [
        (name, f"{backend.kind}, {backend.url}, {backend.slots} {'slot' if backend.slots == 1 else 'slots'}")
        for name, backend in config.backends.items()
    ]
    routes = [(name, f"{', '.join(route.targets)} ({route.class_})") for name, route in config.routes.items()]
    lines = [f"listen    {', '.join(config.server.listen)}"]
    if config.server.log_content:
        lines.append(f"log       {LOGS_CONTENT}")
    for heading, rows in (("backends", backends), ("routes", routes)):
        width = max((len(name) for name, _ in rows), default=0)
        told = [f"{name:{width}}  {text}" for name, text in rows] or ["none"]
        lines += [f"{'' if number else heading:8}  {row}" for number, row in enumerate(told)]
    return "\n".join(lines)
