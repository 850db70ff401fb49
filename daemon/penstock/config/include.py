"""``conf.d``: further files beside the main one, each with a part of the configuration."""

from __future__ import annotations

from pathlib import Path

from penstock.errors import ConfigError

DIRECTORY = "conf.d"
#: More than anybody keeps apart by hand.
MOST = 100


def included(main: Path) -> list[Path]:
    """The ``*.toml`` in ``conf.d`` beside the main file, in the order of their names.  Raises ConfigError."""
    directory = main.parent / DIRECTORY
    try:
        # a leading dot hides a file, be it an editor's own
        found = sorted(path for path in directory.iterdir() if path.suffix == ".toml" and path.name[0] != ".")
    except FileNotFoundError:
        return []
    except OSError as error:
        raise ConfigError([f"{directory}: cannot be read: {error.strerror}"]) from None
    if len(found) > MOST:
        raise ConfigError([f"{directory}: has more than {MOST} files"])
    return found
