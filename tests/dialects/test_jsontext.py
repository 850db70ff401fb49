"""JSON towards clients (strict), from backends (tolerant), on the way out (safe), and the typed reading of fields."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.config.model import Shape
from penstock.dialects import fields
from penstock.dialects.jsontext import decode, decode_request, encode
from penstock.errors import BadRequest

REFUSED = [
    (b"", "the body is empty; a JSON object was expected"),
    (b" \r\n", "the body is empty; a JSON object was expected"),
    (b"[]", "the body must be a JSON object, not a list"),
    (b"null", "the body must be a JSON object, not null"),
    (b'"x"', "the body must be a JSON object, not a string"),
    (b'{"a" 1}', "the body is not valid JSON: Expecting ':' delimiter (line 1, column 6)"),
    (b'{"a": 1,\n}', "(line 2, column 1)"),
    (b'{"a": "x', "Unterminated string"),
    (b'{"a": "\n"}', "Invalid control character"),
    (b'{"a": 1} x', "Extra data"),
    (b'{"a": "\xff"}', "the body is not UTF-8: byte 7 cannot be decoded"),
    ('{"a": 1}'.encode("utf-16"), "the body is not UTF-8"),
    (b'{"a": {"b": 1, "b": 2}}', "the body says 'b' twice in one object"),
    (b'{"a": NaN}', "the body holds NaN, which is not JSON"),
    (b'{"a": -Infinity}', "the body holds -Infinity, which is not JSON"),
    (b'{"a": 1e999}', "the number 1e999 in the body is out of range"),
    (b'{"a": 18446744073709551616}', "does not fit 64 bits"),
    (b'{"a": -9223372036854775809}', "does not fit 64 bits"),
    (b'{"a": ' + b"9" * 100_000 + b"}", "does not fit 64 bits"),
    (b'{"a": "\\ud800"}', "half of a surrogate pair"),
    (b'{"\\udc00x": 1}', "half of a surrogate pair"),
    (b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}", "the body nests deeper than 64 levels"),
    (b'{"a":' * 65, "the body nests deeper than 64 levels"),
    (b"[" * 1_000_000, "the body nests deeper than 64 levels"),
    (b'{"a": [' + b"0," * 250_000 + b"0]}", "the body holds more than 250000 values"),
    (b'{"a\\"]]]":' + b"[" * 70, "the body nests deeper than 64 levels"),
]


@pytest.mark.parametrize(("body", "message"), REFUSED, ids=[str(body[:24]) for body, _ in REFUSED])
def test_a_client_is_told_what_is_wrong(body: bytes, message: str) -> None:
    with pytest.raises(BadRequest) as caught:
        decode_request(body)
    assert message in caught.value.message


ACCEPTED = [
    (b'\xef\xbb\xbf \n{"a": 1}\n', {"a": 1}),
    (b'{"a": "\\ud83d\\ude00"}', {"a": "😀"}),
    (b'{"a": 18446744073709551615, "b": -9223372036854775808}', {"a": 2**64 - 1, "b": -(2**63)}),
    (b'{"a": "' + b"[{" * 1000 + b'\\"[[\\\\"}', {"a": "[{" * 1000 + '"[[\\'}),
    (b'{"a": ' + b"[" * 63 + b"]" * 63 + b"}", None),
    (b'{"a": [' + b"[], " * 1000 + b"{}]}", None),
]


@pytest.mark.parametrize(("body", "value"), ACCEPTED, ids=[str(body[:24]) for body, _ in ACCEPTED])
def test_a_client_may_say(body: bytes, value: object) -> None:
    assert decode_request(body) == (json.loads(body) if value is None else value)


def test_depth_is_the_callers_choice() -> None:
    assert decode_request(b'{"a": {"b": {}}}', shape=Shape(depth=3))
    with pytest.raises(BadRequest, match="deeper than 2 levels"):
        decode_request(b'{"a": {"b": {}}}', shape=Shape(depth=2))


@given(st.binary(max_size=60) | st.text('{}[]":,\\u0d8aNIe19.-tn \n', max_size=60).map(str.encode))
def test_no_body_raises_anything_else(body: bytes) -> None:
    try:
        value = decode_request(body)
    except BadRequest:
        return
    assert isinstance(value, dict)


TOLERATED = [
    (b'{"a": 1}', {"a": 1}),
    (b'\xef\xbb\xbf{"a": 1}', {"a": 1}),
    (b'{"a": "\\ud800"}', {"a": "\ud800"}),
    (b'{"a": "\xff"}', {"a": "\ufffd"}),
    (b'{"a": 1e999}', {"a": float("inf")}),
]


@pytest.mark.parametrize(("body", "value"), TOLERATED)
def test_a_backend_is_understood(body: bytes, value: object) -> None:
    assert decode(body) == value


@pytest.mark.parametrize("body", [b"", b"{", b"x", b"{'a': 1}", b"[" * 100_000])
def test_what_is_no_json_is_a_value_error(body: bytes) -> None:
    with pytest.raises(ValueError):  # noqa: PT011 -- the words are the parser's
        decode(body)


@given(
    st.recursive(
        st.none() | st.floats(allow_nan=False, allow_infinity=False) | st.text(),
        lambda inner: st.lists(inner),
        max_leaves=8,
    )
)
def test_what_was_encoded_is_decoded(value: object) -> None:
    text = encode(value)
    assert b"\n" not in text and b"\r" not in text
    assert decode(text) == json.loads(text) == value


@given(st.text(st.characters(codec=None, categories=["Cs", "Lu"])))
def test_halves_of_surrogate_pairs_leave_as_text(text: str) -> None:
    sent = json.loads(encode({"a": text}))["a"]
    assert sent.encode().decode() == sent
    assert encode("\ud83d\ude00") == '"😀"'.encode()
    assert encode({"a": "\ud800x", "b": float("nan")}) == '{"a":"\ufffdx","b":null}'.encode()


BODY: dict[str, object] = {"s": "x", "n": 1.5, "i": 3, "f": 3.0, "b": True, "l": ["a", "b"], "m": {"k": 1}, "z": None}


def test_fields_are_read_by_type() -> None:
    assert fields.text(BODY, "s") == "x"
    assert fields.text(BODY, "z", default="d") == "d" == fields.text(BODY, "absent", default="d")
    assert fields.number(BODY, "n", low=0, high=2) == 1.5
    assert fields.integer(BODY, "i") == 3 == fields.integer(BODY, "f")
    assert fields.boolean(BODY, "b") is True
    assert fields.strings(BODY, "s") == ("x",)
    assert fields.strings(BODY, "l") == ("a", "b")
    assert fields.strings(BODY, "z") == ()
    assert fields.mapping(BODY, "m") == {"k": 1}
    assert fields.sequence(BODY, "l") == ["a", "b"]
    assert fields.objects({"o": [{"k": 1}]}, "o") == [({"k": 1}, "o[0].")]


@pytest.mark.parametrize(
    ("read", "message", "param"),
    [
        (lambda: fields.text(BODY, "n"), "'n' must be a string (got 1.5)", "n"),
        (lambda: fields.number(BODY, "s", low=0, high=2), "'s' must be a number between 0 and 2 (got \"x\")", "s"),
        (lambda: fields.number(BODY, "n", high=1), "'n' must be a number of at most 1 (got 1.5)", "n"),
        (lambda: fields.number(BODY, "b"), "'b' must be a number (got true)", "b"),
        (lambda: fields.integer(BODY, "n"), "'n' must be an integer (got 1.5)", "n"),
        (lambda: fields.integer(BODY, "i", low=4), "'i' must be an integer of at least 4 (got 3)", "i"),
        (lambda: fields.boolean(BODY, "i"), "'i' must be true or false (got 3)", "i"),
        (lambda: fields.strings({"l": ["a", 1]}, "l", where="o."), "'o.l[1]' must be a string (got 1)", "o.l[1]"),
        (lambda: fields.mapping(BODY, "l"), '\'l\' must be an object (got ["a","b"])', "l"),
        (lambda: fields.sequence(BODY, "m"), "'m' must be a list (got {\"k\":1})", "m"),
        (lambda: fields.objects(BODY, "l"), "'l[0]' must be an object (got \"a\")", "l[0]"),
        (lambda: fields.text({"x": ["y" * 99]}, "x"), f"'x' must be a string (got [\"{'y' * 55}...)", "x"),
    ],
)
def test_a_wrong_field_is_named(read: object, message: str, param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        read()  # type: ignore[operator]
    assert (caught.value.message, caught.value.param) == (message, param)
