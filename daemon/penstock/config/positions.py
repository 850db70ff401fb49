"""Where each key and each value of a TOML text stands.

TOML parsers tell the place of a syntax error but not of a good value that means something wrong.  This is a scan, not a
parser: it follows headers, keys, tables and arrays, and skips over everything else.  On a text that TOML refuses it
tells what it met up to there, and stops.
"""

from __future__ import annotations

import contextlib
import re

import msgspec
import tomli

#: A key's way from the root: names, and numbers for the items of arrays.
Path = tuple[str | int, ...]

_GAP = re.compile(r"(?:[ \t\r\n]|#[^\n]*)*")
_BLANKS = re.compile(r"[ \t]*")
_KEY = re.compile(r'"(?:[^"\\\n]|\\.)*"|\'[^\'\n]*\'|[A-Za-z0-9_-]+')
_SCALAR = re.compile(
    r'"""(?:[^\\]|\\.)*?"{3,5}'
    r"|'''.*?'{3,5}"
    r'|"(?:[^"\\\n]|\\.)*"'
    r"|'[^'\n]*'"
    r"""|[^\s"'\[\]{},#][^\[\]{},#\n]*""",
    re.DOTALL,
)


class Mention(msgspec.Struct, frozen=True):
    """One place that names a path.  Offsets count characters from 0; where there is no value, both are the same."""

    path: Path
    key: int
    value: int


def mentions(text: str) -> list[Mention]:
    """Every mention in the order of the text; a table is mentioned by each header or dotted key that leads into it."""
    scan = _Scan(text)
    # tomli allows deeper nesting than this recursion reaches.
    with contextlib.suppress(_LostError, tomli.TOMLDecodeError, RecursionError):
        scan.document()
    return scan.found


def locate(text: str) -> dict[Path, Mention]:
    """The first mention of each path."""
    return {mention.path: mention for mention in reversed(mentions(text))}


def line_and_column(text: str, offset: int) -> tuple[int, int]:
    """Both from 1; a column is a character."""
    return text.count("\n", 0, offset) + 1, offset - text.rfind("\n", 0, offset)


class _LostError(Exception):
    """The text does not go on as TOML must."""


class _Scan:
    def __init__(self, text: str) -> None:
        self.text = text
        self.at = 0
        self.found: list[Mention] = []
        #: how many items each array of tables has so far
        self.items: dict[Path, int] = {}

    def document(self) -> None:
        table: Path = ()
        self.skip(_GAP)
        while self.at < len(self.text):
            if self.text[self.at] == "[":
                table = self.header()
            else:
                self.pair(table)
            self.skip(_GAP)

    def header(self) -> Path:
        array = self.text.startswith("[[", self.at)
        self.at += 1 + array
        names = self.names()
        path: Path = ()
        for position, (name, at) in enumerate(names, start=1):
            path = (*path, name)
            self.note(path, at)
            if array and position == len(names):
                self.items[path] = self.items.get(path, 0) + 1
            if path in self.items:
                path = (*path, self.items[path] - 1)
                self.note(path, at)
        self.expect("]" * (1 + array))
        return path

    def pair(self, table: Path) -> None:
        names = self.names()
        for name, at in names[:-1]:
            table = (*table, name)
            self.note(table, at)
        self.expect("=")
        self.skip(_BLANKS)
        name, at = names[-1]
        self.note((*table, name), at, self.at)
        self.value((*table, name))

    def names(self) -> list[tuple[str, int]]:
        found = []
        while True:
            self.skip(_BLANKS)
            at, token = self.at, self.take(_KEY)
            found.append((tomli.loads(f"name = {token}")["name"] if token[0] in "\"'" else token, at))
            self.skip(_BLANKS)
            if not self.text.startswith(".", self.at):
                return found
            self.at += 1

    def value(self, path: Path) -> None:
        match self.text[self.at : self.at + 1]:
            case "[":
                self.items_until("]", path)
            case "{":
                self.items_until("}", path)
            case _:
                self.take(_SCALAR)

    def items_until(self, closing: str, path: Path) -> None:
        """An array or an inline table, each item followed by a comma or the end."""
        self.at += 1
        self.skip(_GAP)
        count = 0
        while not self.text.startswith(closing, self.at):
            if closing == "}":
                self.pair(path)
            else:
                self.note((*path, count), self.at)
                self.value((*path, count))
            count += 1
            self.skip(_GAP)
            if not self.text.startswith(closing, self.at):
                self.expect(",")
                self.skip(_GAP)
        self.at += 1

    def note(self, path: Path, key: int, value: int | None = None) -> None:
        self.found.append(Mention(path, key, key if value is None else value))

    def skip(self, pattern: re.Pattern[str]) -> None:
        if match := pattern.match(self.text, self.at):
            self.at = match.end()

    def take(self, pattern: re.Pattern[str]) -> str:
        match = pattern.match(self.text, self.at)
        if match is None:
            raise _LostError
        self.at = match.end()
        return match[0]

    def expect(self, token: str) -> None:
        if not self.text.startswith(token, self.at):
            raise _LostError
        self.at += len(token)
