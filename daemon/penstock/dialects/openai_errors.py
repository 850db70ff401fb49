"""Errors in OpenAI's shape, ``{"error": {"message", "type", "param", "code"}}``, as clients are told them.

The words decide what clients do.  A ``type`` of "server_error" or a ``code`` of 5xx inside a stream makes Continue and
opencode repeat the turn in silence; "upstream_error" is shown to the user at once.  ``context_length_exceeded`` is
acted upon by Codex and aider, so a backend's own code is kept.
"""

from __future__ import annotations

from penstock.dialects import jsontext
from penstock.errors import BackendRefused, PenstockError

_INVALID = frozenset({400, 404, 405, 408, 413, 414, 415, 421, 431})


def body(error: PenstockError) -> bytes:
    """The JSON of an answer with ``error.status``."""
    if error.status in _INVALID:
        kind = "invalid_request_error"
    elif error.status == 401:
        kind = "authentication_error"
    elif error.status == 403:
        kind = "permission_error"
    else:
        kind = "upstream_error"
    return jsontext.encode(_object(error, kind))


def frame(error: PenstockError) -> bytes:
    """The same as an event of a stream whose status went out long ago."""
    return b"data: %b\n\n" % jsontext.escape(jsontext.encode(_object(error, "upstream_error")))


def _object(error: PenstockError, kind: str) -> object:
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": getattr(error, "param", None),
            "code": code_of(error),
        }
    }


def code_of(error: PenstockError) -> str:
    """The backend's own code where it has one that makes no client repeat the turn, else ours."""
    if isinstance(error, BackendRefused) and error.backend_code:
        code = error.backend_code
        if not code.isdecimal() and code not in ("server_error", "internal_server_error"):
            return code
    return error.code
