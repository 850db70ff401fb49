"""Settings from the environment: ``PENSTOCK__SERVER__LISTEN='["127.0.0.1:9000"]'`` stands above every file.

The parts between double underscores lead to the setting.  They match keys and names without regard to case, and an
underscore matches every character that a variable's name cannot have: ``PENSTOCK__BACKENDS__GPU_0__SLOTS`` is that of
the backend ``gpu-0``.  A value is read as TOML where it is TOML, and is text where it is not.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping

import msgspec
import tomli

from penstock.config.faults import Fault, dotted, quoted
from penstock.config.positions import Path

PREFIX = "PENSTOCK__"


class Variable(msgspec.Struct, frozen=True):
    """One environment variable that sets something; a source of settings as a file is one."""

    name: str
    parts: tuple[str, ...]
    value: object

    def fault(self, path: Path, message: str, *, at_key: bool) -> Fault:
        """The value is not shown: it may be a key."""
        return Fault(file=self.name, line=0, column=0, path=dotted(path), message=message, source="")

    def place(self, path: Path) -> str:
        return self.name


def variables(environ: Mapping[str, str]) -> list[Variable]:
    """Those that are meant for penstock, the wider setting before the narrower."""
    found = [
        Variable(name, tuple(name.removeprefix(PREFIX).split("__")), value_of(text))
        for name, text in environ.items()
        if name.startswith(PREFIX)
    ]
    return sorted(found, key=lambda variable: (len(variable.parts), variable.name))


def value_of(text: str) -> object:
    """``"3"`` -> 3, ``'["a"]'`` -> ["a"], ``"90s"`` -> "90s"."""
    try:
        table = tomli.loads(f"value = {text}")
    except (tomli.TOMLDecodeError, RecursionError):
        return text
    # a text of several lines may have gone on to set more than the one value
    return table["value"] if len(table) == 1 else text


def name_of(part: str, names: Iterable[str]) -> str:
    """The one of these names that is meant; a name that is none of them is new.  Raises ValueError."""
    meant = [name for name in names if _plain(name) == _plain(part)]
    if len(meant) > 1:
        raise ValueError(f"may mean {' or '.join(map(quoted, meant))}; rename one of them")
    return meant[0] if meant else part.lower()


def _plain(name: str) -> str:
    return re.sub("[^a-z0-9]", "_", name.lower())
