"""Every setting of a configuration, as TOML, with the place that it comes from."""

from __future__ import annotations

import msgspec
from msgspec import inspect

from penstock.config.faults import dotted
from penstock.config.load import Loaded
from penstock.config.merge import Merged
from penstock.config.model import Config
from penstock.config.positions import Path
from penstock.config.spell import leaves, plain, toml

DEFAULT = "default"


class Setting(msgspec.Struct, frozen=True):
    path: str  #: such as ``timeouts.queue``
    value: str  #: as TOML, secrets masked
    origin: str  #: ``file:line``, the name of a variable, or ``default``


def explain(loaded: Loaded) -> list[Setting]:
    """In the order of the model; what a backend or route leaves to the wider setting is not among them."""
    return [
        Setting(dotted(path), toml(plain(kind, value)), _origin(loaded.merged, path))
        for path, kind, value in leaves(inspect.type_info(Config), loaded.config)
    ]


def _origin(merged: Merged, path: Path) -> str:
    value: object = merged.table
    for number, part in enumerate(path):
        match value, part:
            case dict(), _ if part in value:
                value = value[part]
            case list(), int():
                value = value[part]
            case list(), "targets":
                # a route that is written as a list
                return merged.origin(path[:number]).place
            case _:
                return DEFAULT
    return merged.origin(path).place
