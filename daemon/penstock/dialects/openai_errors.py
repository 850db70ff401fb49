"""Errors in OpenAI's shape, ``{"error": {"message", "type", "param", "code"}}``: read from backends, told to clients.

The words decide what clients do.  A ``type`` of "server_error" or a ``code`` of 5xx inside a stream makes Continue and
opencode repeat the turn in silence; "upstream_error" is shown to the user at once.  ``context_length_exceeded`` is
acted upon by Codex and aider, so a backend's own code is kept.
"""

from __future__ import annotations

from penstock.dialects import jsontext
from penstock.dialects import openai_wire as wire
from penstock.errors import BackendRefused, PenstockError

#: Seconds until a model that is being loaded is worth asking again.
_LOADING = 5.0
_INVALID = frozenset({400, 404, 405, 408, 413, 415})


def refusal(status: int, body: bytes) -> BackendRefused:
    """A backend's answer with an error status -> the error, in its own words where it has any."""
    message = _words(body) or wire.Message(_plain(body) or f"HTTP {status} from the backend")
    text = message.message
    shown = status
    if 300 <= status < 400:
        text, shown = f"the backend answered with a redirect (HTTP {status}): set the URL that it leads to", 502
    elif status in (401, 403, 407):
        text, shown = f"the backend refused penstock's key (HTTP {status}): {text}", 502
    elif not 400 <= status < 600:
        text, shown = f"the backend answered with HTTP {status}: {text}", 502
    return BackendRefused(
        text,
        status=shown,
        # llama.cpp says it in the type.
        backend_code="context_length_exceeded" if message.type == "exceed_context_size_error" else message.code,
        backend_type=message.type,
        retry_after=_LOADING if status == 503 else None,
    )


def body(error: PenstockError) -> bytes:
    """The JSON of an answer with ``error.status``."""
    if error.status in _INVALID:
        kind = "invalid_request_error"
    elif error.status == 401:
        kind = "authentication_error"
    else:
        kind = "upstream_error"
    return jsontext.encode(_object(error, kind))


def frame(error: PenstockError) -> bytes:
    """The same as an event of a stream whose status went out long ago."""
    return b"data: %b\n\n" % jsontext.encode(_object(error, "upstream_error"))


def _object(error: PenstockError, kind: str) -> object:
    return {
        "error": {
            "message": error.message,
            "type": kind,
            "param": getattr(error, "param", None),
            "code": _code(error),
        }
    }


def _code(error: PenstockError) -> str:
    if isinstance(error, BackendRefused) and error.backend_code:
        code = error.backend_code
        if not code.isdecimal() and code not in ("server_error", "internal_server_error"):
            return code
    return error.code


def _words(data: bytes) -> wire.Message | None:
    try:
        return wire.words(jsontext.decode(data))
    except ValueError:
        return None


def _plain(data: bytes) -> str:
    return " ".join(data[:1200].decode("utf-8", "replace").split())[:300]
