"""What a request's head must be beyond what h11 checks: nothing that two readers could read in two ways.

A request whose end or whose host is in doubt can carry another one past whoever stands before us (RFC 9112 section
11.2), so it is refused and its connection closed.  A bare line feed is taken for a line end, as RFC 9112 2.2 allows.
"""

from __future__ import annotations

import re

import h11

from penstock.errors import BadRequest

_FOLD = re.compile(rb"\n[ \t]")
#: The field as it came: h11 makes one of two equal ones.
_LENGTH = re.compile(rb"^content-length[ \t]*:[ \t]*(.*?)[ \t]*\r?$", re.IGNORECASE | re.MULTILINE)
_NUMBER = re.compile(rb"0|[1-9][0-9]*")
_AUTHORITY = re.compile(rb"(?:\[[0-9a-fA-F:.]+\]|[\w.~!$&'()*+;=%-]+)(?::([0-9]{0,5}))?", re.ASCII)
#: Not https: what is asked for over TLS may not be answered without (RFC 9110 7.4).
_ABSOLUTE = re.compile(rb"http://([^/?]*)(.*)", re.IGNORECASE)


def checked(request: h11.Request, head: bytes) -> h11.Request:
    """The request with a path as its target; ``head`` holds its bytes as they came.  Raises BadRequest."""
    fields = dict(request.headers)
    if request.http_version not in (b"1.1", b"1.0"):
        raise BadRequest("penstock speaks HTTP/1.1 and HTTP/1.0 only")
    if any(token.strip().lower() == b"h2c" for token in fields.get(b"upgrade", b"").split(b",")):
        raise BadRequest("penstock does not upgrade to HTTP/2")
    if _FOLD.search(head):
        raise BadRequest("a header line is folded")
    if b"transfer-encoding" in fields:
        if b"content-length" in fields:
            raise BadRequest("the request has both Content-Length and Transfer-Encoding")
        if request.http_version == b"1.0":
            raise BadRequest("HTTP/1.0 has no Transfer-Encoding")
    lengths = _LENGTH.findall(head)
    if len(lengths) > 1:
        raise BadRequest("the request has more than one Content-Length")
    if lengths and not _NUMBER.fullmatch(lengths[0]):
        raise BadRequest("Content-Length is no plain number")
    host = fields.get(b"host")
    if host is not None and not _is_authority(host):
        raise BadRequest("the Host header is no host with or without a port")
    return _with_path(request, host)


def _is_authority(host: bytes) -> bool:
    match = _AUTHORITY.fullmatch(host)
    return match is not None and int(match[1] or 0) <= 65535


def _with_path(request: h11.Request, host: bytes | None) -> h11.Request:
    """The same with its own authority taken off an absolute target (RFC 9112 3.2.2)."""
    target = request.target
    if b"#" in target:
        raise BadRequest("the target of a request has no fragment")
    if target.startswith(b"/"):
        return request
    match = _ABSOLUTE.fullmatch(target)
    if match is None or host is None or match[1].lower() != host.lower():
        raise BadRequest("the target of the request is no path on this server")
    path = match[2] if match[2].startswith(b"/") else b"/" + match[2]
    return h11.Request(method=request.method, target=path, headers=request.headers, http_version=request.http_version)
