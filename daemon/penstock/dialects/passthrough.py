"""A client's own body for a backend of the same dialect: all of it, but for what would turn the request elsewhere."""

from __future__ import annotations

from collections.abc import Mapping

#: Other servers, and other people's keys for them (CVE-2024-6587 in LiteLLM).
_FORBIDDEN = frozenset(
    {
        "api_base",
        "api_key",
        "api_version",
        "base_url",
        "endpoint",
        "extra_headers",
        "headers",
        "host",
        "organization",
        "proxy",
        "url",
    }
)


def allowed(body: Mapping[str, object]) -> tuple[dict[str, object], list[str]]:
    """The body that may go on, and the names of what was left out of it."""
    return (
        {key: value for key, value in body.items() if key not in _FORBIDDEN},
        [key for key in body if key in _FORBIDDEN],
    )
