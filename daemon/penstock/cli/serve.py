"""``penstock serve``: find and read the configuration, then hand over to the service."""

from __future__ import annotations

import os
from pathlib import Path

import click

from penstock.cli.faults import report
from penstock.config.find import find
from penstock.config.load import load
from penstock.errors import ConfigError, PenstockError


@click.command("serve")
@click.option(
    "--config",
    "file",
    metavar="FILE",
    type=click.Path(path_type=Path),
    help="The configuration file; without it $PENSTOCK_CONFIG, the user's, the system's, or none.",
)
@click.option("--demo", is_flag=True, help="Serve a simulated backend; no file is looked for, but --config is obeyed.")
@click.pass_context
def command(ctx: click.Context, file: Path | None, demo: bool) -> None:
    """Run the proxy until it is told to stop.

    SIGTERM and SIGINT stop it: running streams may go on for the drain time, then they are ended.

    Exit status: 0 after a stop that was asked for, 78 when the configuration is wrong, 1 for any other failure.
    """
    # The service brings the whole HTTP stack with it: a wrong option or a wrong file is told without that wait.
    path = file or (None if demo else find(os.environ))
    try:
        config = load(path)
        from penstock.service.daemon import run

        status = run(config, path, demo)
    except ConfigError as error:
        status = report(error)
    except PenstockError as error:
        raise click.ClickException(error.message) from error
    ctx.exit(status)
