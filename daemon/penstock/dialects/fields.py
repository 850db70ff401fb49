"""Typed reading of a client's JSON object: one function a type, each failure a sentence that names the field.

Every function takes the object, the key, and ``where``, the dotted path of the object itself (with its final dot), so
that a message says ``'messages[2].role' must be a string``.  An absent key and a null are the same: not said.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import NoReturn

from penstock.dialects.jsontext import encode
from penstock.errors import BadRequest

Object = Mapping[str, object]

#: The largest count of tokens: servers keep it in 32 bits, and some take the lowest 32 of a larger number.
MOST = 2**31 - 1
#: Above this every temperature is the same noise.
HOTTEST = 100


def text(body: Object, key: str, *, default: str | None = None, where: str = "") -> str | None:
    """A string."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, str):
        refuse(where + key, "a string", value)
    return value


def required(body: Object, key: str, where: str = "", *, empty: bool = False) -> str:
    """A string that must be there, and not be empty unless it may."""
    value = text(body, key, where=where)
    if value is None or not (value or empty):
        raise BadRequest(f"'{where}{key}' is missing", param=where + key)
    return value


def boolean(body: Object, key: str, *, default: bool | None = None, where: str = "") -> bool | None:
    """true or false; no other value stands for them."""
    value = body.get(key)
    if value is None:
        return default
    if not isinstance(value, bool):
        refuse(where + key, "true or false", value)
    return value


def integer(
    body: Object,
    key: str,
    *,
    default: int | None = None,
    low: int | None = None,
    high: int | None = None,
    where: str = "",
) -> int | None:
    """A whole number from ``low`` to ``high``; 3.0 is one."""
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, float) and value.is_integer():
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or not _within(value, low, high):
        refuse(where + key, "an integer" + _range(low, high), value)
    return value


def number(
    body: Object,
    key: str,
    *,
    default: float | None = None,
    low: float | None = None,
    high: float | None = None,
    where: str = "",
) -> float | None:
    """A number from ``low`` to ``high``."""
    value = body.get(key)
    if value is None:
        return default
    if isinstance(value, bool) or not isinstance(value, int | float) or not _within(value, low, high):
        refuse(where + key, "a number" + _range(low, high), value)
    return value


def strings(body: Object, key: str, *, where: str = "") -> tuple[str, ...]:
    """A string or a list of strings."""
    value = body.get(key)
    if value is None:
        return ()
    if isinstance(value, str):
        return (value,)
    if not isinstance(value, list):
        refuse(where + key, "a string or a list of strings", value)
    for position, item in enumerate(value):
        if not isinstance(item, str):
            refuse(f"{where}{key}[{position}]", "a string", item)
    return tuple(value)


def mapping(body: Object, key: str, *, where: str = "") -> Object | None:
    """An object."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, dict):
        refuse(where + key, "an object", value)
    return value


def sequence(body: Object, key: str, *, where: str = "") -> list[object] | None:
    """A list."""
    value = body.get(key)
    if value is None:
        return None
    if not isinstance(value, list):
        refuse(where + key, "a list", value)
    return value


def objects(body: Object, key: str, *, where: str = "") -> list[tuple[Object, str]]:
    """A list of objects, each with its own ``where``; an absent list is empty."""
    found: list[tuple[Object, str]] = []
    for position, item in enumerate(sequence(body, key, where=where) or ()):
        path = f"{where}{key}[{position}]"
        if not isinstance(item, dict):
            refuse(path, "an object", item)
        found.append((item, path + "."))
    return found


def refuse(path: str, expected: str, value: object) -> NoReturn:
    """Raise BadRequest: this field must be ``expected`` and is not."""
    got = encode(value).decode()
    if len(got) > 60:
        got = got[:57] + "..."
    raise BadRequest(f"'{path}' must be {expected}", param=path, got=got)


def _within(value: float, low: float | None, high: float | None) -> bool:
    return (low is None or value >= low) and (high is None or value <= high)


def _range(low: float | None, high: float | None) -> str:
    match low, high:
        case None, None:
            return ""
        case None, _:
            return f" of at most {high}"
        case _, None:
            return f" of at least {low}"
        case _:
            return f" between {low} and {high}"
