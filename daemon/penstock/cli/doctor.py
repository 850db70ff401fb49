"""``penstock doctor``: is everything as it should be, and if not, what to do."""

from __future__ import annotations

import os
from pathlib import Path

import click
import msgspec
import trio

from penstock.cli.options import AS_SERVE, config_option
from penstock.config.faults import FaultyFile
from penstock.config.find import find
from penstock.config.load import read
from penstock.errors import ConfigError
from penstock.observe.log import configure
from penstock.service.examine import Examination, Finding

_COLOURS = {"ok": "green", "warning": "yellow", "fault": "red"}


@click.command("doctor")
@config_option(AS_SERVE)
@click.option("--json", "as_json", is_flag=True, help="One JSON object instead of lines.")
@click.option(
    "--timeout",
    "patience",
    metavar="SECONDS",
    type=click.FloatRange(0, min_open=True),
    default=10.0,
    show_default=True,
    help="How long a backend has for its first token; a large model may have to be loaded first.",
)
@click.pass_context
def command(ctx: click.Context, file: Path | None, as_json: bool, patience: float) -> None:
    """Look at everything, and say what to do.

    Looked at are the configuration, the service of systemd, who holds the addresses, where keys are kept, and each
    backend: whether it answers, what it is, which models it has, and one token of it through penstock; through the
    daemon that runs, or through one that is started for it on a free port.  Nothing is changed.

    Exit status: 0 when there is no fault, 1 when there is one.

    Examples:

    \b
        penstock doctor
        penstock doctor --timeout 300
    """
    findings = examine(file or find(os.environ), patience)
    ok = all(finding.state != "fault" for finding in findings)
    if as_json:
        click.echo(msgspec.json.encode({"ok": ok, "findings": findings}))
    else:
        show(findings)
    ctx.exit(0 if ok else 1)


def examine(path: Path | None, patience: float) -> list[Finding]:
    """Everything that there is to say."""
    subject = "configuration"
    try:
        loaded = read(path)
    except ConfigError as error:
        told = [str(fault) for fault in error.found] if isinstance(error, FaultyFile) else error.faults
        return [Finding(subject, "fault", fault, 'correct it; "penstock check" shows the place') for fault in told]
    # What goes wrong is told in the findings; the daemon that is started for it has nothing to add.
    configure("error", "console")
    examination = Examination(loaded, os.environ, patience)
    trio.run(examination.run)
    return [Finding(subject, "ok", str(path or "no file: the defaults")), *examination.findings]


def show(findings: list[Finding]) -> None:
    width = max(len(finding.subject) for finding in findings)
    for finding in findings:
        mark = click.style(f"{finding.state:7}", fg=_COLOURS[finding.state])
        click.echo(f"{mark}  {finding.subject:{width}}  {finding.text}")
        if finding.todo:
            click.echo(f"{'':{width + 11}}→ {finding.todo}")
