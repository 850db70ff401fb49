"""How a command ends when the configuration is wrong."""

from __future__ import annotations

import click

from penstock.config.faults import FaultyFile
from penstock.errors import ConfigError

#: EX_CONFIG of sysexits(3): a service manager can tell it from a crash and need not try again.
EXIT_CONFIG = 78


def report(error: ConfigError) -> int:
    """Print every fault to stderr, with its line and a caret where the place is known.  Returns the exit status."""
    told = [fault.display() for fault in error.found] if isinstance(error, FaultyFile) else error.faults
    for text in told:
        click.echo(text, err=True)
    if len(told) > 1:
        click.echo(f"{len(told)} faults", err=True)
    return EXIT_CONFIG
