"""``penstock install``: run as a service of systemd, from now on."""

from __future__ import annotations

import os
import sys
from pathlib import Path

import click

import penstock
from penstock.cli import units
from penstock.cli.faults import report
from penstock.cli.options import config_option
from penstock.config.find import SYSTEM_FILE, find
from penstock.config.load import load
from penstock.config.model import Config
from penstock.errors import ConfigError


@click.command("install")
@click.option("--user/--system", default=True, help="For the user who calls it, which is the default, or for all.")
@config_option(
    "The configuration that the service shall use; without it the user's or the system's, or none.", absolute=True
)
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
@click.pass_context
def command(ctx: click.Context, user: bool, file: Path | None, dry_run: bool) -> None:
    """Run penstock as a service of systemd.

    Writes penstock.socket, with the addresses of the configuration, and penstock.service; enables and starts both.
    Each step is shown before it is taken.  After a change of server.listen, call it again.

    Exit status: 0 when the service runs, 78 when the configuration is wrong, 1 for any other failure.

    Examples:

    \b
        penstock install --dry-run
        penstock install
    """
    manager = units.Manager.of(not user, os.environ)
    words = units.command(file)
    if manager.system:
        seen = [Path(words[0]), Path(sys.executable), Path(penstock.__file__), *([file] if file else [])]
        if path := units.hidden(seen):
            raise click.ClickException(
                f"the system's service cannot see {path}: homes are hidden from it; "
                "install penstock elsewhere, for example in /opt/penstock, or call this without --system"
            )
        if os.geteuid() and not dry_run:
            raise click.ClickException(f"--system is for root; try: sudo {words[0]} install --system")
    try:
        config = configuration(manager, file)
    except ConfigError as error:
        ctx.exit(report(error))
    steps = [
        *units.writes(manager, words, config.server.listen),
        *([units.explanations()] if manager.system else []),
        *manager.reload(),
        manager.systemctl("enable", *units.NAMES),
        # One after the other: what restarts a socket in one go finds its address still in use at times (systemd 257).
        manager.systemctl("stop", *units.NAMES),
        manager.systemctl("start", *units.NAMES),
    ]
    units.take(steps, dry_run=dry_run)
    if dry_run:
        return
    click.echo(f"It runs; its log: {manager.journalctl}")
    if user:
        click.echo("It does so while you are logged in; from boot on after: loginctl enable-linger")


def configuration(manager: units.Manager, file: Path | None) -> Config:
    """What the service will be configured with.  Raises ConfigError."""
    if file is None and manager.system:
        file = SYSTEM_FILE if SYSTEM_FILE.exists() else None
    elif file is None:
        # The service does not have the variables of this shell.
        file = find({name: value for name, value in os.environ.items() if name != "PENSTOCK_CONFIG"})
    return load(file, {}) if file else Config()
