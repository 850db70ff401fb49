"""What a route's target says: which backend, which model, and which budgets hold there."""

from __future__ import annotations

import msgspec
from msgspec import UNSET

from penstock.config.faults import quoted
from penstock.config.model import TimeoutOverrides, Timeouts


class Target(msgspec.Struct, frozen=True):
    """One item of ``targets``; ``model`` None takes the name that the client said."""

    backend: str
    model: str | None = None


def parse_target(text: str) -> Target:
    """``"cloud/org/model:7b"`` -> backend ``cloud``, model ``org/model:7b``.  Raises ValueError."""
    backend, slash, model = text.partition("/")
    if not backend or (slash and not model):
        raise ValueError(f'{quoted(text)} is no target; write "BACKEND" or "BACKEND/MODEL"')
    return Target(backend, model or None)


def effective(server: Timeouts, backend: TimeoutOverrides, route: TimeoutOverrides) -> Timeouts:
    """The budgets of a stream: the route's over the backend's over the server's; of ``total`` the tightest."""
    changes: dict[str, float | None] = {}
    for overrides in (backend, route):
        changes |= {
            name: value for name in overrides.__struct_fields__ if (value := getattr(overrides, name)) is not UNSET
        }
    totals = [total for total in (backend.total, route.total) if total is not UNSET]
    return msgspec.structs.replace(server, **changes | {"total": min([server.total, *totals])})
