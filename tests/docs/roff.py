"""Manual pages: the few requests of man(7) that ours need, and the Markdown of our pages as roff.

What the Markdown may hold is what docs/configuration.md holds: headings, paragraphs, lists, tables of two columns,
code, and within a line code, bold text and links.  A table becomes a list of terms, so that no preprocessor is needed.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator

#: What a formatter would set as typographic signs, and a shell could not read when it is copied from the page.
_SIGNS = {"\\": r"\(rs", "-": r"\-", "'": r"\(aq", "`": r"\(ga", "^": r"\(ha", "~": r"\(ti", '"': r"\(dq"}

_INLINE = re.compile(r"``(?P<double>.+?)``|`(?P<code>[^`]+)`|\*\*(?P<bold>.+?)\*\*|\[(?P<text>[^][]+)\]\([^)]+\)")
_BLOCK = re.compile(
    r"^(?P<level>\#{1,3})\ (?P<title>.+)\n"
    r"|^```\w*\n(?P<fenced>(?:.*\n)*?)```\n"
    r"|^(?P<indented>(?:\ {4}.*\n|\n(?=\ {4}))+)"
    r"|^(?P<table>(?:\|.*\n)+)"
    r"|^(?P<list>(?:(?:-|\d+\.)\ .*\n(?:\ {2,}.*\n)*)+)"
    r"|^(?P<paragraph>(?:[^\n#|].*\n)+)"
    r"|^\n",
    re.MULTILINE | re.VERBOSE,
)


def head(name: str, section: int, version: str, manual: str) -> str:
    return f'.TH "{name.upper()}" {section} "" "penstock {version}" "{manual}"'


def words(text: str) -> str:
    """Prose as roff; a line that begins like a request is none."""
    return _guarded("".join(_SIGNS[c] if c in "\\'`^~" else c for c in text))


def literal(text: str) -> str:
    """Code as roff: what stands there is what is shown."""
    return _guarded("".join(_SIGNS.get(c, c) for c in text))


def bold(text: str) -> str:
    return rf"\fB{literal(text)}\fR"


def section(title: str) -> str:
    # In capitals, as manuals have it, but for what is a name.
    return f'.SH "{words(title if title.startswith("[") else title.upper())}"'


def subsection(title: str) -> str:
    return f'.SS "{literal(title)}"'


def paragraph(text: str) -> str:
    return f".PP\n{text}"


def term(name: str, text: str) -> str:
    """One item of a list of terms; both as roff."""
    return f".TP\n{name}\n{text}"


def code(lines: Iterable[str]) -> str:
    told = "\n".join(literal(line.rstrip()) for line in lines)
    return f".PP\n.RS 4\n.nf\n{told}\n.fi\n.RE"


def markdown(text: str) -> Iterator[str]:
    """A page's blocks, in order, without its title.  Raises ValueError at what no rule above takes."""
    at = 0
    while at < len(text):
        block = _BLOCK.match(text, at)
        if block is None or block.end() == at:
            raise ValueError(f"cannot be read: {text[at : at + 60]!r}")
        at = block.end()
        yield from _rendered(block)


def _rendered(block: re.Match[str]) -> Iterator[str]:
    match block.lastgroup:
        case "title" if block["level"] == "##":
            yield section(block["title"])
        case "title" if block["level"] == "###":
            yield subsection(block["title"])
        case "fenced":
            yield code(block["fenced"].splitlines())
        case "indented":
            yield code(line[4:] for line in block["indented"].strip("\n").splitlines())
        case "table":
            # without the head and the line below it
            for line in block["table"].splitlines()[2:]:
                name, _, told = line.strip("| ").partition(" | ")
                yield term(_inline(name), _inline(told))
        case "list":
            yield from map(_item, re.findall(r"^(-|\d+\.) (.*\n(?: {2,}.*\n)*)", block["list"], re.MULTILINE))
        case "paragraph":
            yield paragraph(_inline(block["paragraph"]))


def _item(item: tuple[str, str]) -> str:
    mark, text = item
    title = re.match(r"(\w+): ", text)
    if title is None:
        return f".IP {mark if mark[0].isdigit() else '-'} 4\n{_inline(text)}"
    told = _inline(text[title.end() :])
    # What a setting means needs no title: it is what one reads first.
    return paragraph(told) if title[1] == "Meaning" else term(title[1], told)


def _inline(text: str) -> str:
    """The marks within a paragraph."""
    text = re.sub(r"\s+", " ", text).strip()
    told, at = "", 0
    for mark in _INLINE.finditer(text):
        told += _bare(text[at : mark.start()]) + _marked(mark)
        at = mark.end()
    return _guarded(told + _bare(text[at:]))


def _marked(mark: re.Match[str]) -> str:
    if mark["text"]:
        # A page has no links; what they are called says what they lead to.
        return _inline(mark["text"])
    return bold(mark["double"] or mark["code"] or mark["bold"].replace("`", ""))


def _bare(text: str) -> str:
    return words(text) if text else ""


def _guarded(text: str) -> str:
    """What begins a line with a dot or an apostrophe would be a request."""
    return rf"\&{text}" if text[:1] in (".", "'") else text
