"""Frames that strict parsing refuses, as they may have been meant: some backends write a bare NaN, and worse."""

from __future__ import annotations

from typing import TypeVar

import msgspec

from penstock.dialects import jsontext, refusal
from penstock.errors import BackendGarbled

T = TypeVar("T")


def parsed(data: bytes) -> object:
    """A frame's JSON.  Raises BackendGarbled (parse)."""
    try:
        return jsontext.decode(data)
    except ValueError as error:
        text = f"the backend sent a frame that is not JSON: {error}: {refusal.excerpt(data)}"
        raise BackendGarbled(text, "parse") from None


def shaped(value: object, kind: type[T], data: bytes) -> T:
    """That JSON as a type; ``data`` is shown where it is none.  Raises BackendGarbled (schema)."""
    try:
        return msgspec.convert(value, kind)
    except (msgspec.ValidationError, RecursionError) as error:
        text = f"the backend sent a frame of another shape: {error}: {refusal.excerpt(data)}"
        raise BackendGarbled(text, "schema") from None
