"""A backend's failure in its own words, whatever they are wrapped in: as a status, or as an error in its stream."""

from __future__ import annotations

import re

import msgspec

from penstock.chat.events import Failed
from penstock.dialects import jsontext
from penstock.errors import BackendRefused

#: Seconds until a backend that is busy or loads its model is worth asking again.
_BUSY = 5.0
#: ``{"error": {"detail": [{"msg": "…"}]}}`` has four; no server has more.
_WRAPPINGS = 5
#: The texts of Ollama, which has no codes, and of the llama.cpp server that it runs.
_CONTEXT_FULL = re.compile(r"exceeds? the available context size|exceed_context_size|exceeded max context length")


class Words(msgspec.Struct, frozen=True, gc=False):
    """An error in words."""

    message: str
    code: str | None = None
    type: str | None = None


def words(value: object) -> Words | None:
    """What stands under ``error``, or a whole error body -> its words; None where there are none.

    Known forms: text; ``{"message", "type", "code": text or number}``; ``{"detail": text, {"msg"} or [{"msg"}]}``;
    each also wrapped once more in ``error``.
    """
    for _ in range(_WRAPPINGS):
        match value:
            case {"error": (dict() | str()) as inner}:
                value = inner
            case {"message": str() as text, **more} if text.strip():
                code, kind = more.get("code"), more.get("type")
                return Words(
                    text.strip(),
                    str(code) if isinstance(code, str | int) and code != "" else None,
                    kind if isinstance(kind, str) else None,
                )
            case {"detail": inner} | {"msg": inner} | [inner, *_]:
                value = inner
            case _:
                break
    return Words(value.strip()) if isinstance(value, str) and value.strip() else None


def failed(error: object) -> Failed:
    """What stands under ``error`` in a stream, or a whole error body -> the event.

    Clients shorten the conversation when they see ``context_length_exceeded``, so every form of it gets that code.
    """
    told = words(error) or Words(f"the backend failed: {excerpt(jsontext.encode(error))}")
    code = told.code or ""
    full = told.type == "exceed_context_size_error" or _CONTEXT_FULL.search(told.message)
    return Failed(
        told.message,
        "context_length_exceeded" if full else told.code,
        told.type,
        int(code) if re.fullmatch("[45][0-9][0-9]", code) else None,
    )


def refusal(status: int, body: bytes) -> BackendRefused:
    """A backend's answer with an error status -> the error."""
    said = anything(body)
    if isinstance(said, str):
        said = " ".join(said.split())[:300] or f"HTTP {status} without a word"
    told = failed(said)
    message, shown, logged = told.message, 502, f"the backend answered with HTTP {status}"
    if 300 <= status < 400:
        message = logged = f"the backend answered with a redirect (HTTP {status}): set the URL that it leads to"
    elif status in (401, 403, 407):
        logged = f"the backend refused penstock's key (HTTP {status})"
        message = f"{logged}: {message}"
        if status == 403 and not body:
            message += "; an Ollama without keys refuses a host name that it does not know in this way"
    elif 400 <= status < 600:
        shown = status
    else:
        message = f"{logged}: {message}"
    return BackendRefused(
        message,
        status=shown,
        backend_code=told.code,
        backend_type=told.type,
        retry_after=_BUSY if status == 503 else None,
        logged=logged,
    )


#: The host of a URL, without what may stand before it for somebody's password.
_HOST = re.compile(r"(?:[a-z][a-z0-9+.-]*:)?//(?:[^/@?#]*@)?([][A-Za-z0-9._:-]{1,255})", re.IGNORECASE)


def leads_to(location: str) -> str:
    """Where a redirect points, as it goes into a message; nobody goes there (RFC 9110 10.2.2)."""
    host = _HOST.match(location)
    return f" (to {host[1]})" if host else ""


def anything(data: bytes) -> object:
    """JSON -> its value, anything else -> its text."""
    try:
        return jsontext.decode(data)
    except ValueError:
        return data.decode("utf-8", "replace")


def excerpt(data: bytes) -> str:
    """The beginning of what a backend sent, for a message."""
    text = data[:200].decode("utf-8", "replace")
    return text if len(data) <= 200 else text + "…"
