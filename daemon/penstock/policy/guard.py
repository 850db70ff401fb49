"""May this request come in at all?  Decided on its headers alone, before routing, keys and body.

A daemon on the loopback is within reach of every web page that the user opens.  No single header tells such a request
from an editor's: ``Host`` gives away a rebound name and ``0.0.0.0``, ``Origin`` a script's POST and a WebSocket,
``Sec-Fetch-Site`` a plain GET from a page to ``localhost``.  So all three are looked at; tools outside of browsers send
only the first.  Unix sockets have no names and no browsers: their mode and the peer's uid stand in for these rules.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence

import msgspec

from penstock.config.model import Server
from penstock.errors import ForeignOrigin, RequestError, UnsupportedMedia, WrongHost

#: Names and values as they came, names in lower case.
Headers = Iterable[tuple[bytes, bytes]]

#: What a browser says of a request that no other site had a hand in (W3C Fetch Metadata).
_OWN_SITES = frozenset({b"none", b"same-origin"})
#: What ``curl -d`` calls JSON when nobody told it: Ollama's own examples do.
_UNTOLD = frozenset({b"", b"application/x-www-form-urlencoded"})
#: What files come in, for audio and images; paths that take JSON refuse them.
FILE_TYPES = frozenset({"multipart/form-data", "application/octet-stream"})
_FILES = frozenset(kind.encode() for kind in FILE_TYPES)
#: A list of header names, as in ``Access-Control-Request-Headers``.
_NAMES = re.compile(rb"[a-z0-9!#$%&'*+.^_`|~-]+(?:, ?[a-z0-9!#$%&'*+.^_`|~-]+)*")
_LONGEST_NAMES = 1024
_WITH_PORT = re.compile(r":[0-9]+$")
#: How much of a client's header is repeated to it.
_SHOWN = 80


class GuardRules(msgspec.Struct, frozen=True):
    """What is allowed: whole ``Host`` texts with their ports, whole origins, and schemes whose every origin is."""

    hosts: frozenset[bytes] = frozenset()
    origins: frozenset[bytes] = frozenset()
    schemes: frozenset[bytes] = frozenset()

    def allows(self, origin: bytes) -> bool:
        """Whether pages of this origin may ask; ``null``, the origin of nobody in particular, never."""
        scheme, mark, _ = origin.partition(b"://")
        return origin in self.origins or (mark != b"" and scheme in self.schemes)


class Asked(msgspec.Struct, frozen=True):
    """What the guard looks at; every header as often as it came."""

    method: str
    hosts: Sequence[bytes]
    origins: Sequence[bytes]
    sites: Sequence[bytes]  #: Sec-Fetch-Site
    types: Sequence[bytes]  #: Content-Type
    has_body: bool
    unix: bool = False
    codings: Sequence[bytes] = ()  #: Content-Encoding

    @property
    def by_browser(self) -> bool:
        """Whether only a browser would have sent this.  Node's ``fetch`` sends ``Sec-Fetch-Mode``, and no site."""
        return bool(self.origins or self.sites)


def rules_of(bound: Iterable[tuple[str, int]], server: Server) -> GuardRules:
    """The rules for listeners on these IP addresses and ports, with the names that the owner added."""
    hosts = set()
    for address, port in bound:
        hosts |= {f"{name}:{port}" for name in _names_of(address)}
        hosts |= {name if _WITH_PORT.search(name) else f"{name}:{port}" for name in server.allowed_hosts}
    # A client leaves out the port that its scheme has anyway.
    hosts |= {host.removesuffix(":80") for host in hosts}
    schemes = {origin.removesuffix("://*") for origin in server.allowed_origins if origin.endswith("://*")}
    return GuardRules(
        hosts=frozenset(host.encode() for host in hosts),
        origins=frozenset(origin.encode() for origin in server.allowed_origins if not origin.endswith("://*")),
        schemes=frozenset(scheme.encode() for scheme in schemes),
    )


def _names_of(address: str) -> tuple[str, ...]:
    """By which names this machine's own clients reach a listener."""
    match address:
        case "127.0.0.1" | "0.0.0.0":  # noqa: S104
            return ("localhost", "127.0.0.1")
        case "::1" | "::":
            return ("localhost", "[::1]")
        case _:
            return (address,) if address.startswith("127.") else ()


def read(method: str, headers: Headers, *, unix: bool = False) -> Asked:
    """The headers of a request -> what the guard looks at."""
    found: dict[bytes, list[bytes]] = {
        b"host": [],
        b"origin": [],
        b"sec-fetch-site": [],
        b"content-type": [],
        b"content-length": [],
        b"transfer-encoding": [],
        b"content-encoding": [],
    }
    for name, value in headers:
        if name in found:
            found[name].append(value)
    hosts, origins, sites, types, lengths, transfers, codings = found.values()
    has_body = bool(transfers) or any(length.strip(b"0") for length in lengths)
    return Asked(method, hosts, origins, sites, types, has_body, unix, codings)


def refusal(rules: GuardRules, asked: Asked) -> RequestError | None:
    """Why the request may not come in, or None."""
    if not asked.unix:
        if len(asked.hosts) != 1 or asked.hosts[0].lower() not in rules.hosts:
            return WrongHost(
                f"penstock is not {_shown(b', '.join(asked.hosts)) or 'a host without a name'}; "
                "if it is meant to be, add this name to server.allowed_hosts"
            )
        if asked.origins:
            if len(asked.origins) != 1 or not rules.allows(asked.origins[0]):
                return ForeignOrigin(
                    f"a page of origin {_shown(b', '.join(asked.origins)) or '(empty)'} asks; "
                    "if it is meant to, add this origin to server.allowed_origins"
                )
        elif not _OWN_SITES.issuperset(asked.sites):
            return ForeignOrigin(
                f"a page of another site asks (Sec-Fetch-Site: {_shown(b', '.join(asked.sites))}); "
                "if it is meant to, add its origin to server.allowed_origins"
            )
    return _media_refusal(asked) if asked.has_body else None


def _media_refusal(asked: Asked) -> RequestError | None:
    """A page may send without a preflight what is not JSON, so from a page nothing else is taken.

    Nothing is unpacked: a few bytes may become very many.
    """
    packed = b", ".join(asked.codings)
    if packed and packed.lower() != b"identity":
        return UnsupportedMedia(f"the body comes in Content-Encoding {_shown(packed)}; send it as it is")
    kinds = {value.partition(b";")[0].strip().lower() for value in asked.types} or {b""}
    for kind in kinds:
        is_json = kind == b"application/json" or (kind.startswith(b"application/") and kind.endswith(b"+json"))
        if not is_json and (asked.by_browser or kind not in _UNTOLD | _FILES):
            told = f"is '{_shown(kind)}'" if kind else "does not say what it is"
            return UnsupportedMedia(f"the body {told}; send it as application/json")
    return None


def cors(rules: GuardRules, asked: Asked) -> list[tuple[bytes, bytes]]:
    """The headers by which a browser lets a page of an allowed origin read the answer; none for anybody else."""
    if not (rules.origins or rules.schemes):
        return []
    headers = [(b"vary", b"Origin")]
    if len(asked.origins) == 1 and rules.allows(asked.origins[0]):
        headers.append((b"access-control-allow-origin", asked.origins[0]))
    return headers


def preflight(rules: GuardRules, asked: Asked, headers: Headers) -> dict[str, str] | None:
    """The headers of the answer to a browser's preflight, beside those of :func:`cors`; None: it is not one.

    Call it when :func:`refusal` had nothing to say.
    """
    if asked.method != "OPTIONS" or not asked.origins or not rules.allows(asked.origins[0]):
        return None
    said = dict(headers)
    if b"access-control-request-method" not in said:
        return None
    answer = {"Access-Control-Allow-Methods": "GET, POST, DELETE", "Access-Control-Max-Age": "600"}
    names = said.get(b"access-control-request-headers", b"").lower()
    if len(names) <= _LONGEST_NAMES and _NAMES.fullmatch(names):
        answer["Access-Control-Allow-Headers"] = names.decode("ascii")
    if said.get(b"access-control-request-private-network") == b"true":
        answer["Access-Control-Allow-Private-Network"] = "true"
    return answer


def may_connect(uid: int, own: int) -> bool:
    """Whether a process of this user may use a unix socket of ours."""
    return uid in (0, own)


def _shown(value: bytes) -> str:
    """A client's text as it may be told: short, and of printable ASCII."""
    text = value[:_SHOWN].decode("ascii", "replace")
    return "".join(c if " " <= c <= "~" else "?" for c in text)
