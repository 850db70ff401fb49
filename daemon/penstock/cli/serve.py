"""``penstock serve``: find and read the configuration, then hand over to the service."""

from __future__ import annotations

import os
from pathlib import Path

import click

from penstock.cli.faults import report
from penstock.cli.options import config_option
from penstock.config.find import find
from penstock.config.load import load
from penstock.errors import ConfigError, PenstockError


@click.command("serve")
@config_option("The configuration file; without it $PENSTOCK_CONFIG, the user's, the system's, or none.")
@click.option("--demo", is_flag=True, help="Serve a simulated backend; no file is looked for, but --config is obeyed.")
@click.pass_context
def command(ctx: click.Context, file: Path | None, demo: bool) -> None:
    """Run the proxy until it is told to stop.

    Without a configuration it listens on 127.0.0.1:11435 and uses the local servers that answer on their usual ports.
    The log goes to standard error; every stream ends with one line of it.

    SIGTERM and SIGINT stop it: running streams may go on for the time in server.drain, then they are told and ended.  A
    second one ends them at once.  SIGHUP has it read its configuration anew, as reload does.

    Exit status: 0 after a stop that was asked for, 78 when the configuration is wrong, 1 for any other failure.

    Examples:

    \b
        penstock serve
        penstock serve --config ./penstock.toml
        PENSTOCK__TIMEOUTS__SILENCE=2m penstock serve
        penstock serve --demo
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
