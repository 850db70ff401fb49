"""JSON as bytes: strict towards clients, tolerant towards backends, safe on the way out.

A client's body decides what is asked of a backend, so anything that two parsers could read differently is refused.  A
backend's frame is only reported, so whatever can be understood is: msgspec first, for speed, and the standard library
where msgspec is stricter than the servers out there (lone surrogates, NaN, a byte order mark, broken UTF-8).
"""

from __future__ import annotations

import json
import math
import re
from collections import Counter
from itertools import accumulate

import msgspec

from penstock.config.model import SHAPE, Shape
from penstock.errors import BadRequest

# Possessive quantifiers: a string that never ends is given up once, not once per quotation mark before it.
_STRINGS = re.compile(rb'"(?:[^"\\]++|\\.)*+"?', re.DOTALL)
_NOT_BRACKETS = bytes(set(range(256)) - set(b"[]{}"))
_STEPS = bytes.maketrans(b"[{]}", b"\x01\x01\xff\xff")
#: How much of a client's key is repeated to it.
_SHOWN = 60
_SURROGATE = re.compile(rb"\\u[dD][89a-fA-F]")

encode_strict = msgspec.json.Encoder().encode
_decode_strict = msgspec.json.Decoder().decode


def decode_request(data: bytes, *, shape: Shape = SHAPE) -> dict[str, object]:
    """A client's body -> the JSON object in it.  Raises BadRequest with one readable sentence for anything else."""
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise BadRequest(f"the body is not UTF-8: byte {error.start} cannot be decoded") from None
    commas = data.count(b",")
    _check_bones(data, commas, shape)
    try:
        value = _decode_checked(text)
        if _SURROGATE.search(data):
            encode_strict(value)
    except json.JSONDecodeError as error:
        if not text.strip():
            raise BadRequest("the body is empty; a JSON object was expected") from None
        where = f"line {error.lineno}, column {error.colno}"
        raise BadRequest(f"the body is not valid JSON: {error.msg} ({where})") from None
    except UnicodeEncodeError:
        raise BadRequest("the body holds half of a surrogate pair, which is no Unicode text") from None
    except RecursionError:
        raise BadRequest("the body nests too deep") from None
    if not isinstance(value, dict):
        raise BadRequest(f"the body must be a JSON object, not {kind(value)}")
    if commas >= shape.items or len(data) > shape.text:
        _check_parts(value, shape)
    return value


def decode(data: bytes) -> object:
    """A backend's JSON text -> its value, as much of it as can be understood.  Raises ValueError."""
    try:
        return _decode_strict(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    try:
        value: object = json.loads(data.decode("utf-8-sig", "replace"))
    except RecursionError:
        raise ValueError("nested too deep") from None
    return value


def is_cut(data: bytes) -> bool:
    """Whether this begins like a JSON object and is none: most likely its end is missing."""
    if not data.lstrip().startswith(b"{"):
        return False
    try:
        decode(data)
    except ValueError:
        return True
    return False


def encode(value: object) -> bytes:
    """Plain data -> compact JSON in UTF-8, on one line; never raises for what :func:`decode` returned."""
    try:
        return encode_strict(value)
    except UnicodeEncodeError:
        # Halves of a surrogate pair that stand side by side are joined, a lone one becomes U+FFFD.
        text = json.dumps(msgspec.to_builtins(value), ensure_ascii=False)
        return encode_strict(json.loads(text.encode("utf-16-le", "surrogatepass").decode("utf-16-le", "replace")))


def utf8(data: bytes) -> bytes:
    """The same.  Raises UnicodeDecodeError, as msgspec does not: it passes over fields that nobody asks for."""
    if not data.isascii():
        data.decode()
    return data


def is_utf8(data: bytes) -> bool:
    """Whether :func:`utf8` would not raise."""
    try:
        utf8(data)
    except UnicodeDecodeError:
        return False
    return True


def escape(text: bytes) -> bytes:
    """JSON text -> the same, without the characters at which Unicode ends a line.

    Python's ``str.splitlines``, by which httpx finds the lines of a body, cuts at them, and so do other clients.  JSON
    allows them in strings only, where an escape says the same; below U+0020 JSON itself asks for the escape.
    """
    if text.isascii():
        return text
    # A search for one byte costs next to nothing, one for three as much as parsing the line.
    if 0xE2 in text and (0xA8 in text or 0xA9 in text):
        text = text.replace(b"\xe2\x80\xa8", b"\\u2028").replace(b"\xe2\x80\xa9", b"\\u2029")
    return text.replace(b"\xc2\x85", b"\\u0085") if 0xC2 in text and 0x85 in text else text


def kind(value: object) -> str:
    """What a JSON value is called in a message to people."""
    match value:
        case None:
            return "null"
        case bool():
            return "a boolean"
        case int() | float():
            return "a number"
        case str():
            return "a string"
        case list():
            return "a list"
        case _:
            return "an object"


def _check_bones(data: bytes, commas: int, shape: Shape) -> None:
    """Refuse what would be costly to parse, by what stands outside of its strings."""
    if data.count(b"[") + data.count(b"{") <= shape.depth and commas < shape.values:
        return
    bones = _STRINGS.sub(b"", data)
    if bones.count(b",") >= shape.values:
        raise BadRequest(f"the body holds more than {shape.values} values (limits.values)")
    brackets = bones.translate(_STEPS, _NOT_BRACKETS)
    if max(accumulate(memoryview(brackets).cast("b")), default=0) > shape.depth:
        raise BadRequest(f"the body nests deeper than {shape.depth} levels (limits.depth)")


def _check_parts(value: object, shape: Shape) -> None:
    """Refuse what is too long a list, an object or a text; called only where the whole is long enough to hold one."""
    waiting = [value]
    while waiting:
        part = waiting.pop()
        match part:
            case str() if len(part) * 4 > shape.text and len(part.encode()) > shape.text:
                raise BadRequest(f"a text in the body is larger than {shape.text} bytes (limits.text)")
            case list() | dict() if len(part) > shape.items:
                raise BadRequest(f"{kind(part)} in the body has more than {shape.items} entries (limits.items)")
            case list():
                waiting += part
            case dict():
                waiting += part
                waiting += part.values()
            case _:
                pass


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    value = dict(pairs)
    if len(value) != len(pairs):
        twice = Counter(key for key, _ in pairs).most_common(1)[0][0][:_SHOWN]
        raise BadRequest(f"the body says '{twice}' twice in one object", param=twice)
    return value


def _constant(text: str) -> object:
    raise BadRequest(f"the body holds {text}, which is not JSON")


def _float(text: str) -> float:
    value = float(text)
    if math.isinf(value):
        raise BadRequest(f"the number {text} in the body is out of range")
    return value


def _integer(text: str) -> int:
    # 20 characters hold every number of 64 bits; longer ones are not even converted, which takes quadratic time.
    if len(text) > 20 or not -(2**63) <= (value := int(text)) < 2**64:
        raise BadRequest(f"the integer {text[:24]} in the body does not fit 64 bits")
    return value


#: Made once: ``json.loads`` with hooks makes a decoder for each text.
_decode_checked = json.JSONDecoder(
    object_pairs_hook=_unique, parse_constant=_constant, parse_float=_float, parse_int=_integer
).decode
