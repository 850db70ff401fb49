"""The heads of HTTP/1.1 messages: a request's made by httpx and h11, an answer's read in two searches.

Of a request to one path of one backend only the length differs from call to call, so its head is made once and kept.
An answer's head is read for every request: h11, which builds an event and a state from it, takes five times as long.
"""

from __future__ import annotations

import re

import h11
import httpx
import msgspec

from penstock.relay.unchunk import garbled

#: How large the head of an answer may be.
LARGEST_HEAD = 65536

_START = b"HTTP/"
_END = re.compile(rb"\n\r?\n")
_TOKEN = r"[-!#$%&'*+.^_`|~0-9A-Za-z]+"
_TEXT = r"[^\x00\r\n\v\f]*"
#: It may go on in the next line after white space, as it once could (RFC 9112 5.2).
_VALUE = rf"{_TEXT}(?:\r?\n[ \t]{_TEXT})*"
_FIELD = re.compile(rf"({_TOKEN}):({_VALUE})\r?\n")
#: Status line and fields (RFC 9112 4 and 5); the reason may be missing, and so may the space before it.
_HEAD = re.compile(rf"HTTP/([0-9]\.[0-9]) ([1-9][0-9]{{2}})(?: {_TEXT})?\r?\n((?:{_TOKEN}:{_VALUE}\r?\n)*)\r?\n")
_FOLD = re.compile(r"[ \t]*\r?\n[ \t]+")


class Head(msgspec.Struct, frozen=True):
    """The head of an answer; field names in lower case, fields of the same name joined by commas."""

    version: str  #: "1.1"
    status_code: int
    headers: dict[str, str]

    @property
    def is_success(self) -> bool:
        return 200 <= self.status_code < 300

    @property
    def length(self) -> int | None:
        """What Content-Length says, said more than once or not (RFC 9110 8.6).  Raises BackendGarbled."""
        value = self.headers.get("content-length")
        if value is None:
            return None
        lengths = {length.strip(" \t") for length in value.split(",")}
        length = lengths.pop()
        if lengths or len(length) > 20 or not (length.isascii() and length.isdecimal()):
            raise garbled("bad Content-Length")
        return int(length)

    @property
    def chunked(self) -> bool:
        """Whether the body comes in chunks, the only transfer coding there is for us.  Raises BackendGarbled."""
        coding = self.headers.get("transfer-encoding")
        if coding is not None and coding.lower() != "chunked":
            raise garbled("the only Transfer-Encoding that is understood is chunked")
        return coding is not None


def end_of_head(data: bytes, searched: int = 0) -> int | None:
    """Where the body begins; None while the head is not all here, of which ``searched`` bytes were looked at before.

    Raises BackendGarbled as soon as it is sure that no head will come.
    """
    if not data.startswith(_START) and not _START.startswith(data):
        raise garbled("it does not begin with HTTP/", data[:20])
    found = _END.search(data, max(0, searched - 2))
    if found is not None:
        return found.end()
    if len(data) > LARGEST_HEAD:
        raise garbled(f"its head is larger than {LARGEST_HEAD} bytes")
    return None


def read_head(data: bytes) -> Head:
    """The head of an answer, with the blank line at its end.  Raises BackendGarbled (layer "http")."""
    text = data.decode("latin-1")
    head = _HEAD.fullmatch(text)
    if head is None:
        raise garbled("its head is malformed")
    version, status, fields = head.groups()
    headers: dict[str, str] = {}
    for name, value in _FIELD.findall(fields):
        name, value = name.lower(), value.strip(" \t")
        if "\n" in value:
            value = _FOLD.sub(" ", value)
        headers[name] = f"{headers[name]}, {value}" if name in headers else value
    return Head(version, int(status), headers)


def request_head(request: httpx.Request) -> bytes:
    """A request -> its head but for Content-Length and the blank line.  Raises h11.LocalProtocolError."""
    fields = [(name, value) for name, value in request.headers.raw if name.lower() != b"content-length"]
    head = h11.Connection(h11.CLIENT).send(
        h11.Request(method=request.method, target=request.url.raw_path, headers=fields)
    )
    assert head is not None
    return head[:-2]


def with_body(head: bytes, method: str, body: bytes) -> bytes:
    """A whole request; a POST has a length even without a body (RFC 9110 8.6)."""
    if body or method == "POST":
        return b"%bContent-Length: %d\r\n\r\n%b" % (head, len(body), body)
    return head + b"\r\n"
