"""A text cut into pieces, never inside of what a reader sees as one character.

The rules are those of Unicode's extended grapheme clusters (UAX 29) as far as the standard library's tables go, and
where these do not say they keep together rather than cut: a mark stays with its letter, a modifier and a joiner with
their emoji, the two letters of a flag, the parts of a Hangul syllable, CR with LF.
"""

from __future__ import annotations

from unicodedata import category, combining

#: However long a text is, it has no more pieces than this: those of a longer one are longer.
MOST = 4096

_JOINER = "\u200d"
_VIRAMA = 9  # the combining class of what joins two consonants


def cut(text: str, size: int) -> list[str]:
    """Pieces of ``size`` characters or a few more, which make the text when put together; none of an empty one."""
    size = max(size, -(-len(text) // MOST))
    pieces: list[str] = []
    start = 0
    while len(text) - start > size:
        end = start + size
        while end < len(text) and _joined(text, start, end):
            end += 1
        pieces.append(text[start:end])
        start = end
    return [*pieces, text[start:]] if start < len(text) else pieces


def _joined(text: str, start: int, at: int) -> bool:
    """Whether the characters before and after a place belong together; ``start`` is a place where a piece begins."""
    before, after = text[at - 1], text[at]
    if before < "\u0300" and after < "\u0300":
        return before == "\r" and after == "\n"
    if category(after)[0] == "M" or after == _JOINER or before == _JOINER or combining(before) == _VIRAMA:
        return True
    if "\U0001f3fb" <= after <= "\U0001f3ff" or "\U000e0020" <= after <= "\U000e007f":
        return True
    if _is_flag_letter(before) and _is_flag_letter(after):
        first = at - 1
        while first > start and _is_flag_letter(text[first - 1]):
            first -= 1
        return (at - first) % 2 == 1
    return _is_hangul(before) and "\u1160" <= after <= "\u11ff"


def _is_flag_letter(character: str) -> bool:
    return "\U0001f1e6" <= character <= "\U0001f1ff"


def _is_hangul(character: str) -> bool:
    return "\u1100" <= character <= "\u11ff" or "\uac00" <= character <= "\ud7a3"
