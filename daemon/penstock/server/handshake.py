"""The opening handshake of a WebSocket (RFC 6455 4.2): a request's headers in, those of the answer 101 out.

No extension is ever agreed on: what ``permessage-deflate`` unpacks has no bound.  There is one language, and so one
subprotocol; a client need not ask for it, unless it offers its key beside it (:mod:`penstock.policy.keys`).
"""

from __future__ import annotations

import binascii
from base64 import b64decode
from collections.abc import Iterable

from wsproto.utilities import generate_accept_token

from penstock.errors import BadRequest, UpgradeRequired
from penstock.policy.keys import OFFERED

#: The one version (RFC 6455 4.1).
VERSION = b"13"
SUBPROTOCOL = b"penstock.chat"

Headers = Iterable[tuple[bytes, bytes]]


def is_handshake(headers: Headers) -> bool:
    """Whether the request asks for a WebSocket at all."""
    return any(name == b"upgrade" and b"websocket" in _tokens([value]) for name, value in headers)


def accept(http_version: str, headers: Headers) -> list[tuple[bytes, bytes]]:
    """The headers of a request (names in lower case) -> those of the answer.  Raises UpgradeRequired, BadRequest."""
    if http_version != "1.1":
        # HTTP/1.0 has no upgrades (RFC 9110 7.8).
        headers = ()
    found: dict[bytes, list[bytes]] = {}
    for name, value in headers:
        found.setdefault(name, []).append(value)
    if b"websocket" not in _tokens(found.get(b"upgrade", ())):
        raise UpgradeRequired("this path speaks WebSocket: connect to it as ws://, or POST to /api/chat/stream")
    if b"upgrade" not in _tokens(found.get(b"connection", ())):
        raise BadRequest("the WebSocket handshake has no 'Connection: Upgrade'")
    if b"content-length" in found or b"transfer-encoding" in found:
        raise BadRequest("a WebSocket handshake has no body")
    if found.get(b"sec-websocket-version") != [VERSION]:
        raise UpgradeRequired("penstock speaks version 13 of WebSocket (Sec-WebSocket-Version)")
    keys = found.get(b"sec-websocket-key", [])
    if len(keys) != 1 or not _is_key(keys[0]):
        raise BadRequest("the WebSocket handshake needs one Sec-WebSocket-Key of 16 bytes in base64")
    answer = [
        (b"upgrade", b"websocket"),
        (b"connection", b"Upgrade"),
        (b"sec-websocket-accept", generate_accept_token(keys[0])),
    ]
    offers = _listed(found.get(b"sec-websocket-protocol", ()))
    if SUBPROTOCOL in offers:
        answer.append((b"sec-websocket-protocol", SUBPROTOCOL))
    elif any(offer.startswith(OFFERED) for offer in offers):
        # Nobody may be answered with his key, and a browser whose offers are all passed over gives up.
        raise BadRequest("who offers a key as a subprotocol has to offer 'penstock.chat' beside it")
    return answer


def _listed(values: Iterable[bytes]) -> set[bytes]:
    return {token.strip() for value in values for token in value.split(b",")}


def _tokens(values: Iterable[bytes]) -> set[bytes]:
    return {token.lower() for token in _listed(values)}


def _is_key(key: bytes) -> bool:
    try:
        return len(b64decode(key, validate=True)) == 16
    except binascii.Error:
        return False
