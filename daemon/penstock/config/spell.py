"""The model's values as a file would say them: ``90.0`` -> ``"90s"``, ``16777216`` -> ``"16MiB"``."""

from __future__ import annotations

import json
from collections.abc import Iterator

import msgspec
from msgspec import UNSET, inspect

from penstock.config.positions import Path
from penstock.config.secrets import MASK, Reference
from penstock.config.units import format_duration, format_size


def plain(wanted: inspect.Type, value: object, form: str | None = None) -> object:
    """Text, numbers, booleans, lists and tables, as TOML and JSON have them.  Secrets are masked."""
    match wanted, value:
        case inspect.Metadata(), _:
            return plain(wanted.type, value, (wanted.extra or {}).get("form", form))
        case inspect.UnionType(), None:
            return "off"
        case inspect.UnionType(), _:
            return plain(wanted.types[0], value, form)
        case inspect.VarTupleType(), tuple():
            return [plain(wanted.item_type, item) for item in value]
        case inspect.StructType(), msgspec.Struct():
            return {name: plain(kind, inner) for name, kind, inner in settings(wanted, value)}
        case inspect.DictType(), dict():
            return {name: plain(wanted.value_type, item) for name, item in value.items()}
        case _, Reference():
            return value.reveal() if value.scheme else MASK
        case _, float() if form == "duration":
            return format_duration(value)
        case _, int() if form == "size":
            return format_size(value)
        case _:
            return value


def toml(value: object) -> str:
    """A plain value on one line of TOML."""
    if isinstance(value, dict):
        inner = ", ".join(f"{json.dumps(name, ensure_ascii=False)} = {toml(item)}" for name, item in value.items())
        return f"{{ {inner} }}" if inner else "{}"
    if isinstance(value, list):
        return f"[{', '.join(map(toml, value))}]"
    # What JSON writes for text, numbers and booleans is TOML too.
    return json.dumps(value, ensure_ascii=False)


def settings(wanted: inspect.StructType, value: msgspec.Struct) -> Iterator[tuple[str, inspect.Type, object]]:
    """The key, type and value of each field; without what was left out."""
    for field in wanted.fields:
        inner = getattr(value, field.name)
        if inner is not UNSET and (inner is not None or may_be_off(field.type)):
            yield field.encode_name, field.type, inner


def may_be_off(wanted: inspect.Type) -> bool:
    """Whether a file says None, and then as "off"; of everything else None means that nothing was said."""
    wanted = _bare(wanted)
    return isinstance(wanted, inspect.UnionType) and isinstance(_bare(wanted.types[0]), inspect.FloatType)


def leaves(wanted: inspect.Type, value: object, path: Path = ()) -> Iterator[tuple[Path, inspect.Type, object]]:
    """Every single setting below a value, with its path and its type."""
    match _bare(wanted), value:
        case inspect.StructType() as table, msgspec.Struct():
            for name, kind, inner in settings(table, value):
                yield from leaves(kind, inner, (*path, name))
        case inspect.DictType() as tables, dict():
            for name, inner in value.items():
                yield from leaves(tables.value_type, inner, (*path, name))
        case inspect.VarTupleType(item_type=inspect.StructType() as table), tuple():
            for number, inner in enumerate(value):
                yield from leaves(table, inner, (*path, number))
        case _:
            yield path, wanted, value


def _bare(wanted: inspect.Type) -> inspect.Type:
    """The type itself, without what is said of it."""
    while isinstance(wanted, inspect.Metadata):
        wanted = wanted.type
    return wanted
