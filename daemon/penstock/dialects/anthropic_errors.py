"""Errors in Anthropic's shape, ``{"type": "error", "error": {"type", "message"}}`` (Anthropic API, "Errors")."""

from __future__ import annotations

from penstock.dialects import jsontext
from penstock.errors import PenstockError

_TYPES = {
    401: "authentication_error",
    402: "billing_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    503: "overloaded_error",
    504: "timeout_error",
    529: "overloaded_error",
}


def body(error: PenstockError) -> bytes:
    """The JSON of an answer with ``error.status``."""
    kind = _TYPES.get(error.status) or ("invalid_request_error" if 400 <= error.status < 500 else "api_error")
    return jsontext.escape(jsontext.encode({"type": "error", "error": {"type": kind, "message": error.message}}))


def frame(error: PenstockError) -> bytes:
    """The same as an event of a stream; any other form is skipped by Anthropic's client libraries."""
    return b"event: error\ndata: %b\n\n" % body(error)
