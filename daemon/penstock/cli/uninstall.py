"""``penstock uninstall``: undo ``penstock install``."""

from __future__ import annotations

import os

import click

from penstock.cli import units


@click.command("uninstall")
@click.option("--user/--system", default=True, help="For the user who calls it, which is the default, or for all.")
@click.option("--dry-run", is_flag=True, help="Only show what would be done.")
def command(user: bool, dry_run: bool) -> None:
    """Stop the service and remove its units.

    The configuration stays, and so do drop-ins that were added to the units.

    Exit status: 0 when nothing is left of them, 1 when something failed.
    """
    manager = units.Manager.of(not user, os.environ)
    paths = [manager.folder / name for name in (*units.NAMES, units.NOTIFY_RELOAD)]
    if manager.system:
        paths.append(units.CATALOGUE)
    ours = [path for path in paths if path.is_file() and units.is_ours(path)]
    if not ours:
        click.echo(f"no units of penstock are in {manager.folder}")
        return
    if manager.system and os.geteuid() and not dry_run:
        raise click.ClickException("--system is for root; try it with sudo")
    running = [path.name for path in ours if path.name in units.NAMES]
    steps: list[units.Step] = [
        *([manager.systemctl("disable", "--now", *running)] if running else []),
        *(units.Remove(path) for path in ours),
        *manager.reload(),
    ]
    units.take(steps, dry_run=dry_run)
