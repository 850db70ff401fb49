"""The text of an answer: every token says which one it is, so that a lost, doubled or reordered one shows.

Content counts `` t0 t1 t2 …``, thinking `` r0 r1 r2 …``.  Pieces come escaped for the inside of a JSON string, and in
one run their lengths never fall; :mod:`penstock.simulate.wire` builds on that.
"""

from __future__ import annotations

import time
from functools import lru_cache

import msgspec

from penstock.simulate.script import Script

# what a careless line splitter, escaper or decoder trips over; the piece before it stays the number
_AWKWARD = msgspec.json.encode('\n\ndata: "\\é€🚰\u2028')[1:-1]


def pieces(script: Script, thinking: bool, index: int, count: int) -> list[bytes]:
    """The texts of ``count`` tokens from number ``index`` on."""
    if script.text == "clock":
        return [b" %020d" % time.monotonic_ns()] * count
    return _counted(b" r%d" if thinking else b" t%d", script.text == "awkward", script.width, index, count)


def whole(script: Script, thinking: bool, count: int) -> str:
    """The texts of the first ``count`` tokens as one plain string."""
    escaped = b"".join(pieces(script, thinking, 0, count))
    return msgspec.json.decode(b'"' + escaped + b'"', type=str)


# streams of one benchmark ask for the same ranges again and again
@lru_cache(maxsize=256)
def _counted(pattern: bytes, awkward: bool, width: int, index: int, count: int) -> list[bytes]:
    after = _AWKWARD if awkward else b""
    return [(pattern % number + after).ljust(width, b".") for number in range(index, index + count)]
