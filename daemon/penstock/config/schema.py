"""The JSON Schema of a configuration file as people write it, for editors that complete and check TOML.

Made from the model, as the loader's reading is.  What a schema cannot say, such as which backends a route may name, the
loader does: ``penstock check``.
"""

from __future__ import annotations

import re

import msgspec
from msgspec import inspect

from penstock.config.model import Config, Route
from penstock.config.reader import NAME
from penstock.config.spell import may_be_off, plain
from penstock.config.units import DURATION, SIZE

Schema = dict[str, object]

#: What a text is like, by its form; names of groups are Python's own, and left out.
_PATTERNS = {
    "duration": f"^(?=.){re.sub('[?]P<[a-z]+>', '?:', DURATION.pattern)}$",
    "size": f"^{re.sub('[?]P<[a-z]+>', '?:', SIZE.pattern)}$",
    "backend": f"^{NAME.pattern}$",
    "client": f"^{NAME.pattern}$",
    "route": r"^[^\[]+$",
}


def schema() -> Schema:
    """The whole file's."""
    wanted = inspect.type_info(Config)
    assert isinstance(wanted, inspect.StructType)
    return {
        "$schema": "http://json-schema.org/draft-07/schema#",
        "title": "penstock.toml",
        "description": "The configuration of penstock, a proxy for language-model streams.",
        **_table(wanted),
    }


def _of(wanted: inspect.Type, form: str | None = None) -> Schema:
    match wanted:
        case inspect.Metadata():
            inner = _of(wanted.type, (wanted.extra or {}).get("form", form))
            # what a key means stands before what it may be
            return {**(wanted.extra_json_schema or {}), **inner}
        case inspect.UnionType():
            inner = _of(wanted.types[0], form)
            return inner | {"pattern": f"^off$|{inner['pattern']}"} if may_be_off(wanted) else inner
        case inspect.StructType() if wanted.cls is Route:
            targets = next(field.type for field in wanted.fields if field.name == "targets")
            return {"anyOf": [_of(targets), _table(wanted)]}
        case inspect.StructType():
            return _table(wanted)
        case inspect.DictType():
            return {
                "type": "object",
                "propertyNames": _of(wanted.key_type),
                "additionalProperties": _of(wanted.value_type),
            }
        case inspect.VarTupleType():
            least = {"minItems": wanted.min_length} if wanted.min_length else {}
            return {"type": "array", **least, "items": _of(wanted.item_type)}
        case inspect.LiteralType():
            return {"enum": list(wanted.values)}
        case inspect.BoolType():
            return {"type": "boolean"}
        case inspect.FloatType() | inspect.IntType():
            number = _number(wanted)
            if form is None:
                return number
            # The pattern is for text only, and the limits are for numbers only.
            text = _text(form)
            return {**text, **number, "type": [text["type"], number["type"]]}
        case _:
            return _text(form)


def _table(wanted: inspect.StructType) -> Schema:
    properties: Schema = {}
    for field in wanted.fields:
        properties[field.encode_name] = inner = _of(field.type)
        if _has_default(field):
            inner["default"] = plain(field.type, field.default)
    required = [field.encode_name for field in wanted.fields if field.required]
    return {
        "type": "object",
        "properties": properties,
        **({"required": required} if required else {}),
        "additionalProperties": False,
    }


def _has_default(field: inspect.Field) -> bool:
    """Whether there is one that a file could say."""
    if field.default is None:
        return may_be_off(field.type)
    return field.default is not msgspec.NODEFAULT and not isinstance(field.default, msgspec.Struct)


def _number(wanted: inspect.FloatType | inspect.IntType) -> Schema:
    limits = {"exclusiveMinimum": wanted.gt, "minimum": wanted.ge, "maximum": wanted.le}
    return {
        "type": "number" if isinstance(wanted, inspect.FloatType) else "integer",
        **{word: limit for word, limit in limits.items() if limit is not None},
    }


def _text(form: str | None) -> Schema:
    pattern = _PATTERNS.get(form or "")
    return {"type": "string", **({"pattern": pattern} if pattern else {})}
