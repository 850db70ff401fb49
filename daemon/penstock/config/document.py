"""One TOML file: what it says, and where in it each thing stands."""

from __future__ import annotations

import itertools
import re
from collections.abc import Mapping
from pathlib import Path as FilePath

import msgspec
import tomli

from penstock.config.faults import Fault, FaultyFile, blot, dotted
from penstock.config.positions import Mention, Path, line_and_column, locate, mentions
from penstock.errors import ConfigError

#: Bytes; a file that is larger is something else.
_LARGEST = 1 << 20


class Document(msgspec.Struct, frozen=True):
    """The text of one file, parsed.  Its faults and places carry its name."""

    name: str
    text: str
    table: Mapping[str, object]
    places: Mapping[Path, Mention]

    @classmethod
    def open(cls, path: FilePath) -> Document:
        """Read and parse a file.  Raises ConfigError: FaultyFile where the faults have places in it."""
        try:
            with path.open("rb") as file:
                data = file.read(_LARGEST + 1)
        except OSError as error:
            raise ConfigError([f"{path}: cannot be read: {error.strerror}"]) from None
        if len(data) > _LARGEST:
            raise ConfigError([f"{path}: is larger than 1MiB; that is no configuration"])
        try:
            text = data.decode("utf-8-sig")
        except UnicodeDecodeError as error:
            text = data.decode("utf-8-sig", errors="replace")
            start = len(error.object[: error.start].decode(errors="replace"))
            raise FaultyFile([_fault(str(path), text, start, (), "is not UTF-8 text")]) from None
        return cls.parse(text, str(path))

    @classmethod
    def parse(cls, text: str, name: str) -> Document:
        """Raises FaultyFile."""
        # As tomli does, so that offsets agree.
        text = text.replace("\r\n", "\n")
        try:
            table = tomli.loads(text)
        except tomli.TOMLDecodeError as error:
            raise FaultyFile([_syntax_fault(name, text, error)]) from None
        except RecursionError:
            raise FaultyFile([_fault(name, text, 0, (), "arrays and tables are nested too deep")]) from None
        return cls(name, text, table, locate(text))

    def fault(self, path: Path, message: str, *, at_key: bool) -> Fault:
        """What is wrong with this path, told with its place; for a key that is missing, of the table that lacks it."""
        return _fault(self.name, self.text, self._offset(path, at_key), path, message)

    def place(self, path: Path) -> str:
        """``file:line`` of a path's key."""
        return f"{self.name}:{line_and_column(self.text, self._offset(path, at_key=True))[0]}"

    def _offset(self, path: Path, at_key: bool) -> int:
        if mention := self.places.get(path):
            return mention.key if at_key else mention.value
        while path and path not in self.places:
            path = path[:-1]
        return self.places[path].key if path else 0


def _syntax_fault(filename: str, text: str, error: tomli.TOMLDecodeError) -> Fault:
    """tomli's fault, told of the key that it is about where that is sure."""
    message = error.msg[0].lower() + error.msg[1:]
    met = mentions(text[: error.pos])
    if not met or line_and_column(text, met[-1].value)[0] != error.lineno:
        return _fault(filename, text, error.pos, (), message)
    last = met[-1]
    first = next(mention for mention in met if mention.path == last.path)
    if first is not last:
        line, _ = line_and_column(text, first.key)
        return _fault(filename, text, last.key, last.path, f"is set twice, first on line {line}")
    bare = re.compile(r"[ \t]*[A-Za-z0-9][^\s,\]}#]*").match(text, last.value)
    if last.value != last.key and bare and not text.startswith(("true", "false"), last.value):
        message += "; text, durations and sizes stand in quotes"
    return _fault(filename, text, error.pos, last.path, message)


def _fault(filename: str, text: str, offset: int, path: Path, message: str) -> Fault:
    line, column = line_and_column(text, offset)
    source = next(itertools.islice(blot(text).split("\n"), line - 1, None))
    return Fault(
        file=filename,
        line=line,
        column=column,
        path=dotted(path),
        message=message,
        source="".join(c if c.isprintable() or c == "\t" else "\ufffd" for c in source),
    )
