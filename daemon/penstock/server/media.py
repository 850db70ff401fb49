"""What a body may call itself."""

from __future__ import annotations

from quart import Request

from penstock.errors import UnsupportedMedia


def require_json(request: Request) -> None:
    """Raises UnsupportedMedia for a foreign media type; none at all is accepted, some clients send none."""
    media_type = request.headers.get("Content-Type", "").partition(";")[0].strip().lower()
    if media_type and media_type != "application/json" and not media_type.endswith("+json"):
        raise UnsupportedMedia(f"the body is '{media_type}'; send it as application/json")
