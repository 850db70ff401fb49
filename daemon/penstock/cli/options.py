"""Options that several verbs have."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import click

#: What the file is where a verb asks the daemon that runs, and where it reads it for itself.
OF_THE_DAEMON = "The configuration file, for the daemon's address; without it the one that serve would take."
AS_SERVE = "The configuration file; without it the one that serve would take."


def config_option(text: str, *, absolute: bool = False) -> Callable[[Callable[..., Any]], Callable[..., Any]]:
    """``--config FILE``, the parameter ``file``: a path, or None."""
    kind = click.Path(path_type=Path, resolve_path=absolute)
    return click.option("--config", "file", metavar="FILE", type=kind, help=text)
