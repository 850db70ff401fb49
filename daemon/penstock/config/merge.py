"""Several sources of settings made into one table, in which every setting remembers its source."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol, TypeGuard

import msgspec

from penstock.config.document import Document
from penstock.config.faults import Fault
from penstock.config.overrides import Variable, name_of
from penstock.config.positions import Path


class Source(Protocol):
    """A file, or a variable of the environment; ``path`` is a setting's way from the root of that source."""

    def fault(self, path: Path, message: str, *, at_key: bool) -> Fault: ...

    def place(self, path: Path) -> str: ...


class Origin(msgspec.Struct, frozen=True):
    """Where a setting stands."""

    source: Source
    path: Path

    def fault(self, message: str, *, at_key: bool = False) -> Fault:
        return self.source.fault(self.path, message, at_key=at_key)

    @property
    def place(self) -> str:
        return self.source.place(self.path)


class Merged:
    """The table of all sources.  A setting that two files make is a fault; a variable replaces what files say."""

    def __init__(self, main: Document) -> None:
        self.table: dict[str, object] = dict(main.table)
        self.faults: list[Fault] = []
        #: of each path that is not from where the path above it is
        self._origins: dict[Path, Origin] = {(): Origin(main, ())}

    def origin(self, path: Path) -> Origin:
        """Where this path stands, or would stand if it were there."""
        length = len(path)
        while path[:length] not in self._origins:
            length -= 1
        above = self._origins[path[:length]]
        return Origin(above.source, above.path + path[length:])

    def include(self, document: Document) -> None:
        """Add what a further file says."""
        self._add(self.table, document.table, (), document)

    def override(self, variable: Variable) -> None:
        """Put a variable's value in the place that its name leads to."""
        path: Path = ()
        table = self.table
        try:
            for part in variable.parts[:-1]:
                name = name_of(part, table)
                path = (*path, name)
                inner = table.get(name)
                if inner is None:
                    inner = {}
                    self._origins[path] = Origin(variable, path)
                if not isinstance(inner, dict):
                    raise ValueError("is no table that has settings of its own; set it as a whole")
                # a copy: the file's own table stays as it was read
                table[name] = copy = dict(inner)
                table = copy
            name = name_of(variable.parts[-1], table)
            path = (*path, name)
            earlier = self.origin(path).source
            if name in table and isinstance(earlier, Variable):
                raise ValueError(f"is set twice, first by {earlier.name}")
        except ValueError as error:
            self.faults.append(variable.fault(path, str(error), at_key=True))
            return
        table[name] = variable.value
        self._origins = {known: origin for known, origin in self._origins.items() if known[: len(path)] != path}
        self._origins[path] = Origin(variable, path)

    def _add(self, into: dict[str, object], table: Mapping[str, object], above: Path, document: Document) -> None:
        for name, value in table.items():
            path = (*above, name)
            there = into.get(name)
            if name not in into:
                into[name] = value
                self._origins[path] = Origin(document, path)
            elif isinstance(there, dict) and isinstance(value, dict):
                into[name] = inner = dict(there)
                self._add(inner, value, path, document)
            elif is_tables(there) and is_tables(value):
                for number in range(len(value)):
                    self._origins[*path, len(there) + number] = Origin(document, (*path, number))
                into[name] = [*there, *value]
            else:
                message = f"is set twice, first in {self.origin(path).place}"
                self.faults.append(document.fault(path, message, at_key=True))


def is_tables(value: object) -> TypeGuard[list[dict[str, object]]]:
    """Whether this is what ``[[NAME]]`` makes."""
    return isinstance(value, list) and bool(value) and all(isinstance(item, dict) for item in value)
