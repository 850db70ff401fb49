"""One field of a multipart form, found without taking the form apart (RFC 7578, RFC 2046 5.1)."""

from __future__ import annotations

import re

from penstock.errors import BadRequest

_BOUNDARY = re.compile(r';\s*boundary=(?:"([^"]{1,70})"|([^\s";]{1,70}))', re.IGNORECASE)
_NAME = re.compile(rb'^content-disposition:[^\r\n]*;\s*name="([^"\r\n]*)"', re.IGNORECASE | re.MULTILINE)
#: The head of a part.
_LONGEST_HEAD = 4096


def field(body: bytes, content_type: str, name: str) -> tuple[int, int] | None:
    """Where the value of this field begins and ends in the body; None where there is none.

    Raises BadRequest for more than one: which of them counts is for every reader to say.
    """
    found = _BOUNDARY.search(content_type)
    if found is None:
        return None
    mark = b"--" + (found[1] or found[2]).encode()
    spans: list[tuple[int, int]] = []
    start = body.find(mark)
    while start >= 0:
        start += len(mark)
        following = body.find(b"\r\n" + mark, start)
        if following < 0:
            break
        head_end = body.find(b"\r\n\r\n", start, min(following, start + _LONGEST_HEAD))
        if head_end >= 0:
            said = _NAME.search(body[start:head_end])
            if said is not None and said[1] == name.encode():
                spans.append((head_end + 4, following))
        start = following + 2
    if len(spans) > 1:
        raise BadRequest(f"the form says '{name}' more than once", param=name)
    return spans[0] if spans else None
