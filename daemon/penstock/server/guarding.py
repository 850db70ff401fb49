"""The guard and the keys at the door of the application; what they decide stands in :mod:`penstock.policy`.

Whether a request may come in, and whose it is, is settled before its body is read; what its key may do, before
anything is dispatched and at the route that was found.  What is open to everybody is a list: a route that is not on it
needs a key, and so does every path that leads nowhere.
"""

from __future__ import annotations

import socket
from collections.abc import Iterable
from contextvars import ContextVar

from hypercorn.typing import HTTPScope

from penstock.config.addresses import TcpAddress, check_exposure
from penstock.config.model import Config
from penstock.errors import ConfigError, Forbidden, Unauthorized
from penstock.policy import guard
from penstock.policy.guard import Asked, GuardRules
from penstock.policy.keys import NOBODY, Key, Keys

#: Where clients look whether anybody is there, before they have a key.
PUBLIC = frozenset({"ollama.probe", "ollama.version", "admin.health"})
#: What wants a key with ``admin``: a blueprint, or one route.  Other clients' prompts may stand in llama.cpp's slots.
ADMIN = ("admin.", "opaque.slots", "opaque.manage", "opaque.has_blob")

_holder: ContextVar[Key] = ContextVar("holder", default=NOBODY)


def rules_for(sockets: Iterable[socket.socket], config: Config) -> GuardRules:
    """The rules for these listening sockets.  Raises ConfigError when others reach one of them unasked."""
    bound = [TcpAddress(*sock.getsockname()[:2]) for sock in sockets if sock.family != socket.AF_UNIX]
    for address in bound:
        try:
            check_exposure(address, has_keys=bool(config.keys), has_names=bool(config.server.allowed_hosts))
        except ValueError as error:
            raise ConfigError([f"{address}: {error}"]) from None
    return guard.rules_of([(address.host, address.port) for address in bound], config.server)


def holder() -> Key:
    """Whose request runs in this task; NOBODY's until :func:`admit` found out."""
    return _holder.get()


def look(scope: HTTPScope) -> Asked:
    """What the guard looks at of this request."""
    # Hypercorn has no address for a unix socket.
    return guard.read(scope["method"], scope["headers"], unix=scope["server"] is None)


def admit(rules: GuardRules, keys: Keys, asked: Asked, scope: HTTPScope) -> None:
    """Let the request in, and note whose it is.  Raises WrongHost, ForeignOrigin, UnsupportedMedia, Unauthorized."""
    refusal = guard.refusal(rules, asked)
    if refusal is not None:
        raise refusal
    key = keys.holder(scope["headers"])
    if key is NOBODY and asked.has_body:
        # None of the public routes takes a body, so a stranger's is not read.
        raise Unauthorized
    _holder.set(key)


def preflight(rules: GuardRules, scope: HTTPScope) -> dict[str, str] | None:
    """The headers of the answer to a browser's preflight; None: it is not one."""
    return guard.preflight(rules, look(scope), scope["headers"])


def authorize(endpoint: str | None) -> None:
    """Let the request's key go to this endpoint; None leads nowhere.  Raises Unauthorized, Forbidden."""
    if endpoint in PUBLIC:
        return
    key = holder()
    if key is NOBODY:
        raise Unauthorized
    if not key.admin and endpoint is not None and endpoint.startswith(ADMIN):
        raise Forbidden(f"key '{key.name}' may not look here; it would need admin = true")
