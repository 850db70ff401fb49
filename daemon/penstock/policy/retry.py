"""May the next target be tried after this one failed?  Only before the first content, and only where it can help."""

from __future__ import annotations

from penstock.errors import (
    BackendError,
    BackendRefused,
    PenstockError,
    QueueFull,
    QueueTimeout,
)

#: Refusals that another backend might not repeat: it has other models, other limits, another key, another load.
ELSEWHERE = frozenset({401, 402, 403, 404, 408, 409, 425, 429})


def may_try_next(error: PenstockError, *, content_sent: bool) -> bool:
    """Whether the failure of one target allows the next one."""
    if content_sent:
        return False
    if isinstance(error, BackendRefused):
        return error.status >= 500 or error.status in ELSEWHERE
    return isinstance(error, BackendError | QueueFull | QueueTimeout)
