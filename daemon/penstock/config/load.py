"""From a TOML file to the frozen configuration, or to all of its faults at once."""

from __future__ import annotations

import itertools
import re
from pathlib import Path as FilePath

import tomli

from penstock.config.faults import Fault, FaultyFile, blot, dotted
from penstock.config.model import Config
from penstock.config.positions import Mention, Path, line_and_column, locate, mentions
from penstock.config.reader import Problem, Reader
from penstock.errors import ConfigError

#: Bytes; a file that is larger is something else.
_LARGEST = 1 << 20


def load(path: FilePath) -> Config:
    """Read one file.  Raises ConfigError: FaultyFile where the faults have places in the file."""
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
    return loads(text, str(path))


def loads(text: str, filename: str) -> Config:
    """The text of a file -> the configuration; ``filename`` is for the faults.  Raises FaultyFile."""
    # As tomli does, so that offsets agree.
    text = text.replace("\r\n", "\n")
    try:
        table = tomli.loads(text)
    except tomli.TOMLDecodeError as error:
        raise FaultyFile([_syntax_fault(filename, text, error)]) from None
    except RecursionError:
        raise FaultyFile([_fault(filename, text, 0, (), "arrays and tables are nested too deep")]) from None
    reader = Reader()
    config = reader.config(table)
    if config is None:
        raise FaultyFile(_placed(filename, text, reader.problems))
    return config


def _placed(filename: str, text: str, problems: list[Problem]) -> list[Fault]:
    places = locate(text)
    found = sorted(((_offset(problem, places), problem) for problem in problems), key=lambda pair: pair[0])
    return [_fault(filename, text, offset, problem.path, problem.message) for offset, problem in found]


def _offset(problem: Problem, places: dict[Path, Mention]) -> int:
    """Where the problem's path stands; for a key that is missing, the table that lacks it."""
    if mention := places.get(problem.path):
        return mention.key if problem.at_key else mention.value
    path = problem.path
    while path and path not in places:
        path = path[:-1]
    return places[path].key if path else 0


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
