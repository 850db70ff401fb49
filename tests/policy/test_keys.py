"""Clients' keys: where they are read, how they are compared, what each may do."""

from __future__ import annotations

import hashlib
import hmac
from base64 import urlsafe_b64encode
from collections.abc import Callable
from itertools import product

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config.model import CLASSES, RouteClass
from penstock.config.model import Key as KeySpec
from penstock.config.secrets import Reference, Secret
from penstock.errors import ConfigError
from penstock.policy import keys as module
from penstock.policy.keys import ANYONE, NOBODY, OFFERED, Key, Keys, build_keys, digest_text, presented

Head = list[tuple[bytes, bytes]]
Carrier = Callable[[bytes], tuple[bytes, bytes]]


def key(name: str, text: bytes, **more: object) -> Key:
    return Key(name=name, digest=hashlib.sha256(text).digest(), routes=("*",), **more)  # type: ignore[arg-type]


def offered(text: bytes) -> bytes:
    """base64url without padding (RFC 4648 5)."""
    return urlsafe_b64encode(text).rstrip(b"=")


LAPTOP, PHONE = key("laptop", b"sk-laptop"), key("phone", "clé".encode())
KEYS = Keys([LAPTOP, PHONE])

#: A header for a key, in each form that is read.
CARRIERS: dict[str, Carrier] = {
    "bearer": lambda text: (b"authorization", b"Bearer " + text),
    "bearer in another case": lambda text: (b"authorization", b"bEARER   " + text + b" "),
    "x-api-key": lambda text: (b"x-api-key", text),
    "api-key": lambda text: (b"api-key", text),
    "subprotocol": lambda text: (b"sec-websocket-protocol", b"penstock.chat, " + OFFERED + offered(text)),
    "subprotocol first": lambda text: (b"sec-websocket-protocol", OFFERED + offered(text) + b" ,penstock.chat"),
}


@pytest.mark.parametrize("carry", CARRIERS.values(), ids=CARRIERS)
def test_a_key_is_known_in_every_carrier(carry: Carrier) -> None:
    """P9: what holds for one header holds for all."""
    assert KEYS.holder([carry(b"sk-laptop")]) is LAPTOP
    assert KEYS.holder([carry("clé".encode())]) is PHONE
    for wrong in (b"", b"sk-lapto", b"sk-laptopp", b"SK-LAPTOP", b"sk-laptop\0", b"\xff\xfe", b"x" * 1_000_000):
        assert KEYS.holder([carry(wrong)]) is NOBODY


@pytest.mark.parametrize(("one", "other"), list(product(CARRIERS.values(), repeat=2)))
def test_two_keys_that_differ_are_none(one: Carrier, other: Carrier) -> None:
    """P9: also when both are good."""
    assert KEYS.holder([one(b"sk-laptop"), other(b"sk-laptop")]) is LAPTOP
    assert KEYS.holder([one(b"sk-laptop"), other(b"")]) is LAPTOP
    assert KEYS.holder([one(b"sk-laptop"), other(b"wrong")]) is NOBODY
    assert KEYS.holder([one(b"sk-laptop"), other("clé".encode())]) is NOBODY


@pytest.mark.parametrize(
    "header",
    [
        (b"authorization", b"sk-laptop"),
        (b"authorization", b"Basic sk-laptop"),
        (b"authorization", b"Bearer: sk-laptop"),
        (b"authorization", b"Bearer\tsk-laptop"),
        (b"proxy-authorization", b"Bearer sk-laptop"),
        (b"x-auth-token", b"sk-laptop"),
        (b"x-goog-api-key", b"sk-laptop"),
        (b"cookie", b"api-key=sk-laptop"),
        (b"x-forwarded-user", b"laptop"),
        (b"x-penstock-key", b"laptop"),
        (b"sec-websocket-protocol", b"sk-laptop"),
        (b"sec-websocket-protocol", b"bearer.sk-laptop"),
        (b"sec-websocket-protocol", b"Bearer.c2stbGFwdG9w"),
        (b"sec-websocket-protocol", b"x, bearer.?c2stbGFwdG9w"),
        (b"sec-websocket-key", b"c2stbGFwdG9w"),
    ],
    ids=lambda header: header[0].decode(),
)
def test_no_other_header_is_a_key(header: tuple[bytes, bytes]) -> None:
    """P10: headers that claim to say who is asking have no effect."""
    assert KEYS.holder([header]) is NOBODY


def test_another_kind_of_authorization_spoils_a_good_key() -> None:
    assert KEYS.holder([(b"x-api-key", b"sk-laptop"), (b"authorization", b"Basic bWU6cHc=")]) is NOBODY


@pytest.mark.parametrize(
    "headers",
    [
        [],
        [(b"authorization", b"")],
        [(b"authorization", b"Bearer ")],
        [(b"authorization", b"Bearer undefined")],
        [(b"authorization", b"Bearer noop"), (b"x-api-key", b"not-provided")],
        [(b"authorization", b"Basic \xff")],
    ],
)
def test_without_keys_everybody_is_welcome(headers: Head) -> None:
    assert Keys().holder(headers) is ANYONE
    assert not Keys()


@settings(deadline=None)
@given(st.lists(st.tuples(st.sampled_from([b"authorization", b"x-api-key", b"api-key"]), st.binary()), max_size=4))
def test_no_header_makes_the_reader_fail(headers: Head) -> None:
    known = {b"sk-laptop", "clé".encode()}
    shown = presented(headers)
    assert (KEYS.holder(headers) is NOBODY) == (len(shown) != 1 or not shown <= known)


def test_keys_are_compared_by_digest_and_all_of_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """P8: neither the place of a key in the list nor how much of it was guessed changes what is done."""
    compared: list[tuple[bytes, bytes]] = []

    def note(one: bytes, other: bytes) -> bool:
        compared.append((one, other))
        return hmac.compare_digest(one, other)

    monkeypatch.setattr(module, "compare_digest", note)
    for text in (b"sk-laptop", "clé".encode(), b"sk-lapto", b"wrong"):
        compared.clear()
        KEYS.holder([(b"api-key", text)])
        asked = hashlib.sha256(text).digest()
        assert compared == [(LAPTOP.digest, asked), (PHONE.digest, asked)]


@pytest.mark.parametrize(
    ("routes", "model", "may"),
    [
        (("*",), "anything/at:all", True),
        (("coder",), "coder", True),
        (("coder",), "coder:latest", True),
        (("coder",), "coder:7b", False),
        (("coder",), "coder2", False),
        (("coder",), "Coder", False),
        (("qwen*", "llama?"), "qwen3:8b", True),
        (("qwen*", "llama?"), "llama3", True),
        (("qwen*", "llama?"), "llama", False),
        (("q[aw]en",), "qwen", False),
        ((), "", False),
    ],
)
def test_a_key_opens_its_models(routes: tuple[str, ...], model: str, may: bool) -> None:
    assert Key(name="a", digest=b"", routes=routes).may_ask(model, "chat") is may


@pytest.mark.parametrize("class_", CLASSES)
def test_a_key_opens_its_classes(class_: RouteClass) -> None:
    autocomplete = Key(name="a", digest=b"", routes=("*",), classes=("autocomplete", "agent"))
    assert autocomplete.may_ask("coder", class_) is (class_ in ("autocomplete", "agent"))
    assert ANYONE.may_ask("coder", class_) and LAPTOP.may_ask("coder", class_)
    assert not NOBODY.may_ask("coder", class_)


def spec(name: str, text: str, **more: object) -> KeySpec:
    return KeySpec(name=name, key=Reference.parse(text), **more)  # type: ignore[arg-type]


def test_the_configurations_keys() -> None:
    places = {"env:PHONE": "sk-phone", "sk-literal": "sk-literal"}
    keys = build_keys(
        [
            spec("digest", digest_text("sk-laptop")),
            spec("place", "env:PHONE", routes=("coder",), classes=("agent",), admin=True, max_streams=2),
            spec("literal", "sk-literal"),
        ],
        lambda reference: Secret(places[reference.reveal()]),
    )
    found = {text: keys.holder([(b"api-key", text.encode())]) for text in ("sk-laptop", "sk-phone", "sk-literal")}
    assert [found[text].name for text in found] == ["digest", "place", "literal"]
    assert (found["sk-phone"].routes, found["sk-phone"].admin, found["sk-phone"].max_streams) == (("coder",), True, 2)
    assert (found["sk-phone"].classes, found["sk-laptop"].classes) == (("agent",), CLASSES)
    assert (found["sk-laptop"].routes, found["sk-laptop"].admin, found["sk-laptop"].max_streams) == (("*",), False, 512)


def test_a_digest_is_no_key() -> None:
    digest = digest_text("sk-laptop")
    keys = build_keys([spec("laptop", digest)], lambda _: Secret(""))
    for text in (digest, digest.removeprefix("sha256:"), "sha256:"):
        assert keys.holder([(b"api-key", text.encode())]) is NOBODY


def test_two_names_for_one_key_are_a_fault() -> None:
    with pytest.raises(ConfigError, match='"a" and "b" are the same key'):
        build_keys([spec("a", digest_text("x")), spec("b", "x")], lambda reference: Secret(reference.reveal()))
