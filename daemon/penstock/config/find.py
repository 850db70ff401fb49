"""Which configuration file is meant when the command line does not say."""

from __future__ import annotations

import os
from collections.abc import Mapping
from pathlib import Path

SYSTEM_FILE = Path("/etc/penstock/penstock.toml")


def find(environ: Mapping[str, str], system_file: Path = SYSTEM_FILE) -> Path | None:
    """The file named by ``$PENSTOCK_CONFIG``, else the user's if there is one, else the system's, else None.

    A file that is named need not exist: a name that leads nowhere is a fault, not a reason to run on defaults.
    """
    if named := environ.get("PENSTOCK_CONFIG"):
        return Path(named)
    home = environ.get("XDG_CONFIG_HOME", "")
    # The XDG Base Directory Specification: relative paths are invalid, and $HOME/.config is the default.
    if not home.startswith("/"):
        home = f"{environ['HOME']}/.config" if environ.get("HOME") else ""
    # Not Path.exists: it raises where a sandbox forbids the look.
    candidates = [Path(home, "penstock/penstock.toml")] if home else []
    return next((path for path in [*candidates, system_file] if os.path.exists(path)), None)
