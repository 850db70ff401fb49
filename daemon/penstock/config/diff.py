"""What differs between two configurations, key by key, and which of it a running daemon cannot take over."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping

import msgspec
from msgspec import UNSET, inspect

from penstock.config.addresses import parse_listen
from penstock.config.faults import dotted
from penstock.config.model import Config
from penstock.config.positions import Path
from penstock.config.spell import leaves, plain, toml

#: What a daemon opens when it starts, and keeps.
FIXED: Path = ("server", "listen")

_Setting = tuple[inspect.Type, object]


class Change(msgspec.Struct, frozen=True):
    """One key, or one whole backend, route or client's key; values as TOML, secrets masked."""

    path: str  #: such as ``backends.cloud.slots``
    old: str | None  #: None: it was not there
    new: str | None  #: None: it is there no more
    restart: bool = False  #: whether only a restart brings it

    def __str__(self) -> str:
        if self.old is None:
            text = f"+ {self.path} = {self.new}"
        elif self.new is None:
            text = f"- {self.path} = {self.old}"
        elif self.old == self.new:
            text = f"~ {self.path}: another secret"
        else:
            text = f"~ {self.path} = {self.new}, was {self.old}"
        return f"{text}; needs a restart" if self.restart else text


def changes(old: Config, new: Config, secrets: Collection[Path] = ()) -> list[Change]:
    """Every difference: single keys in the order of the model, then what came and what went as a whole.

    None where both mean the same.  ``secrets`` are the paths of references behind which another secret lies than
    before.  A client's key has its name in its path, as in ``keys.laptop.routes``: its place in the list says nothing.
    """
    was, stays = _entries(old), _entries(new)
    before, after = dict(_settings(old)), dict(_settings(new))
    found = []
    for path in before | after:
        if (path[:2] in was) != (path[:2] in stays):
            continue
        if before.get(path) != after.get(path) or path in secrets:
            restart = path == FIXED and _places(old) != _places(new)
            found.append(Change(dotted(path), _shown(before, path), _shown(after, path), restart))
    for section, first, then in (("backends", old.backends, new.backends), ("routes", old.routes, new.routes)):
        if [name for name in first if name in then] != [name for name in then if name in first]:
            # The first of several may be the one that is meant.
            found.append(Change(section, toml(list(first)), toml(list(then))))
    found += [Change(dotted(entry), None, _told(value)) for entry, value in stays.items() if entry not in was]
    found += [Change(dotted(entry), _told(value), None) for entry, value in was.items() if entry not in stays]
    return found


def _entries(config: Config) -> dict[Path, msgspec.Struct]:
    """Everything of which there is one for each name."""
    entries: dict[Path, msgspec.Struct] = {("backends", name): backend for name, backend in config.backends.items()}
    entries |= {("routes", name): route for name, route in config.routes.items()}
    return entries | {("keys", key.name): key for key in config.keys}


def _settings(config: Config) -> Iterator[tuple[Path, _Setting]]:
    for path, kind, value in leaves(inspect.type_info(Config), config):
        if path[0] == "keys" and isinstance(path[1], int):
            path = ("keys", config.keys[path[1]].name, *path[2:])
        yield path, (kind, value)


def _shown(settings: Mapping[Path, _Setting], path: Path) -> str | None:
    return toml(plain(*settings[path])) if path in settings else None


def _told(entry: msgspec.Struct) -> str:
    """An entry as a file would say it: without what is left at its default."""
    kind = inspect.type_info(type(entry))
    assert isinstance(kind, inspect.StructType)
    told = {}
    for field in kind.fields:
        value = getattr(entry, field.name)
        if value is not UNSET and value != field.default:
            told[field.encode_name] = plain(field.type, value)
    return toml(told)


def _places(config: Config) -> set[object]:
    """Where it listens, in whatever order."""
    return set(map(parse_listen, config.server.listen))
