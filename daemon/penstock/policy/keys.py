"""Who is asking: the one reader of clients' keys, and what each key may do.

Keys are kept as SHA-256 digests and compared as such, all of them each time: how long a look-up takes tells nothing of
how close a guess was.  Any header may hold any bytes; nothing here decodes them.
"""

from __future__ import annotations

import binascii
import fnmatch
from base64 import b64decode
from collections.abc import Callable, Iterable, Sequence
from hashlib import sha256
from hmac import compare_digest

import msgspec

from penstock.config.model import CLASSES, RouteClass
from penstock.config.model import Key as KeySpec
from penstock.config.secrets import Reference, Secret
from penstock.errors import ConfigError

#: How the configuration names a key by its digest.
DIGEST = "sha256:"
_BEARER = b"bearer"
#: How a web page shows its key where browsers let it set no header: as one of the subprotocols that it offers, in
#: base64url without padding, as Kubernetes' API server takes it (apiserver/pkg/authentication/request/websocket).
OFFERED = b"bearer."


class Key(msgspec.Struct, frozen=True, kw_only=True):
    """A client as the configuration has it.

    ``routes`` are the model names that it may ask for, or globs of them, ``classes`` those of the routes behind them.
    """

    name: str | None
    digest: bytes
    routes: tuple[str, ...]
    classes: tuple[RouteClass, ...] = CLASSES
    admin: bool = False
    max_streams: int | None = None  #: at a time

    def may_ask(self, model: str, class_: RouteClass) -> bool:
        """Whether this model, whose route has this class, exists for the client."""
        if class_ not in self.classes:
            return False
        if "*" in self.routes:
            return True
        # "[" has no meaning in the globs of the configuration.
        globs = [glob.replace("[", "[[]") for glob in self.routes]
        return any(fnmatch.fnmatchcase(name, glob) for glob in globs for name in (model, model.removesuffix(":latest")))


#: Everybody, where no keys are in use.
ANYONE = Key(name=None, digest=b"", routes=("*",), admin=True)
#: A client that has shown no good key where keys are in use.
NOBODY = Key(name=None, digest=b"", routes=())


class Keys:
    """The keys of one configuration; without any, everybody is welcome."""

    def __init__(self, keys: Sequence[Key] = ()) -> None:
        self._keys = tuple(keys)

    def __bool__(self) -> bool:
        return bool(self._keys)

    @property
    def digests(self) -> dict[str, bytes]:
        """What is known of each key, by the client's name."""
        return {key.name: key.digest for key in self._keys if key.name is not None}

    def holder(self, headers: Iterable[tuple[bytes, bytes]]) -> Key:
        """Whose request this is: NOBODY's without a key, with a wrong one, and with two that differ."""
        if not self._keys:
            return ANYONE
        shown = presented(headers)
        found = NOBODY
        if len(shown) == 1:
            digest = sha256(shown.pop()).digest()
            for key in self._keys:
                if compare_digest(key.digest, digest):
                    found = key
        return found


def presented(headers: Iterable[tuple[bytes, bytes]]) -> set[bytes]:
    """Every key that a request shows, in whatever header; names in lower case.  An empty one is none.

    An ``Authorization`` that is not ``Bearer`` counts as a key that nobody has, as does what is no base64url.
    """
    shown = set()
    for name, value in headers:
        if name == b"authorization":
            scheme, _, credentials = value.partition(b" ")
            shown.add(credentials.strip() if scheme.lower() in (_BEARER, b"") else name + b": " + value)
        elif name in (b"x-api-key", b"api-key"):
            shown.add(value.strip())
        elif name == b"sec-websocket-protocol":
            offers = [offer.strip() for offer in value.split(b",")]
            shown |= {_offered(offer.removeprefix(OFFERED)) for offer in offers if offer.startswith(OFFERED)}
    shown.discard(b"")
    return shown


def _offered(text: bytes) -> bytes:
    try:
        return b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except binascii.Error:
        return OFFERED + text


def build_keys(specs: Iterable[KeySpec], resolve: Callable[[Reference], Secret]) -> Keys:
    """The keys of a configuration, fetched from where they are kept.  Raises ConfigError."""
    keys: dict[bytes, Key] = {}
    for spec in specs:
        text = spec.key.reveal()
        if text.startswith(DIGEST):
            digest = bytes.fromhex(text.removeprefix(DIGEST))
        else:
            digest = sha256(resolve(spec.key).reveal().strip().encode()).digest()
        if digest in keys:
            raise ConfigError([f'keys: "{keys[digest].name}" and "{spec.name}" are the same key'])
        keys[digest] = Key(
            name=spec.name,
            digest=digest,
            routes=spec.routes,
            classes=spec.classes,
            admin=spec.admin,
            max_streams=spec.max_streams,
        )
    return Keys(tuple(keys.values()))


def digest_text(key: str) -> str:
    """A key -> how the configuration may name it."""
    return DIGEST + sha256(key.encode()).hexdigest()
