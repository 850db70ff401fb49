"""What is wrong with a configuration file, and how it is told."""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterable, Sequence

import msgspec

from penstock.config.positions import Path
from penstock.errors import ConfigError

_BARE = re.compile(r"[A-Za-z0-9_-]+")
#: What may follow ``api_key =`` or ``key =``, whole or broken off, and what stands before the ``@`` of a URL.
_SECRETS = (
    re.compile(
        r"""(?P<before>\b(?:api_)?key\b[^=\n]*=[ \t]*)"""
        r"""(?P<secret>\"{3}.*?(?:\"{3}|\Z)|'{3}.*?(?:'{3}|\Z)|"(?:\\.|[^"\\\n])*"?|'[^'\n]*'?|[^\s,}#]+)""",
        re.DOTALL,
    ),
    re.compile(r"""(?P<before>://)(?P<secret>[^/@\s"']+)(?=@)"""),
)


class Fault(msgspec.Struct, frozen=True, kw_only=True):
    """One fault; ``str`` of it is one line, ``file:line:column: path: what is wrong``.

    Of a fault in the environment ``file`` is the variable's name, and line and column are 0.
    """

    file: str
    line: int  #: from 1
    column: int  #: from 1, in characters
    path: str  #: such as ``backends.ollama.slots``; empty where the text is not TOML
    message: str
    source: str  #: the whole line of the file, secrets blotted out

    def __str__(self) -> str:
        path = f"{self.path}: " if self.path else ""
        place = f":{self.line}:{self.column}" if self.line else ""
        return f"{self.file}{place}: {path}{self.message}"

    def display(self) -> str:
        """The one line; of a file also its line, and a caret under the place."""
        if not self.line:
            return str(self)
        # Tabs stay, so that the caret stands where the terminal puts the character.
        indent = re.sub(r"[^\t]", " ", self.source[: self.column - 1])
        return f"{self}\n    {self.source}\n    {indent}^"


class FaultyFile(ConfigError):
    """A file with faults, in the order of the file."""

    def __init__(self, found: Sequence[Fault]) -> None:
        super().__init__([str(fault) for fault in found])
        self.found = tuple(found)


def dotted(path: Path) -> str:
    """``("routes", "coder-*", "targets", 1)`` -> ``routes."coder-*".targets[1]``."""
    text = ""
    for part in path:
        if isinstance(part, int):
            text += f"[{part}]"
        else:
            text += ("." if text else "") + (part if _BARE.fullmatch(part) else quoted(part))
    return text


def quoted(text: str) -> str:
    """Text in double quotes on one line, whatever it holds."""
    escaped = text.replace("\\", "\\\\").replace('"', '\\"')
    return '"' + "".join(c if c.isprintable() else c.encode("unicode_escape").decode() for c in escaped) + '"'


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """``did you mean "drain"?``, or all that there is to choose from."""
    names = list(known)
    if near := difflib.get_close_matches(word, names, n=1):
        return f"did you mean {quoted(near[0])}?"
    return f"known: {', '.join(names)}" if names else "there are none"


def blot(text: str) -> str:
    """The same text, character for character, with every key and password in it starred out."""
    for pattern in _SECRETS:
        text = pattern.sub(lambda match: match["before"] + re.sub(r"[^\n]", "*", match["secret"]), text)
    return text
