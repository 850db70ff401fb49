"""A TOML table read after the model's types: every fault of it, or the frozen structs.

The types come from ``msgspec.inspect``, ranges and choices with them; ``form`` in a type's ``extra`` names the grammar
of a text.  Knows paths, but neither file nor line.
"""

from __future__ import annotations

import datetime
import functools
import math
import operator
import re
from collections.abc import Callable, Collection

import msgspec
from msgspec import inspect

from penstock.config.addresses import (
    check_exposure,
    check_host,
    check_listen,
    check_origin,
    check_url,
    parse_listen,
)
from penstock.config.faults import did_you_mean, quoted
from penstock.config.model import MANNER, OPENAI_ONLY, SPEAK_OPENAI, Config, Route
from penstock.config.positions import Path
from penstock.config.secrets import Reference
from penstock.config.targets import parse_target
from penstock.config.units import format_duration, format_size, parse_duration, parse_size

_NAMES: tuple[tuple[type, str], ...] = (
    (str, "text"),
    # before int, of which it is a kind
    (bool, "true or false"),
    (int, "a whole number"),
    (float, "a number with a fraction"),
    (list, "a list"),
    (dict, "a table"),
    (datetime.date, "a date"),
    (datetime.time, "a time"),
)
_FORM_NAMES = {"duration": 'a duration such as "90s"', "size": 'a size such as "16MiB"'}
_FORMATS: dict[str | None, Callable[[float], str]] = {
    "duration": format_duration,
    "size": lambda size: format_size(int(size)),
}
#: TOML 1.0 promises no more than 64 bits.
_LARGEST = 2**63 - 1
#: Stands for a value that has a problem; no configuration is made of it.
_NOTHING = object()

#: What a backend and a key may be called.
NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]*")

_Number = inspect.FloatType | inspect.IntType


class Problem(msgspec.Struct, frozen=True):
    path: Path
    message: str
    #: whether the key is to blame rather than its value
    at_key: bool = False


class Reader:
    """Reads one file's table; ``problems`` is empty exactly when what ``config`` returned is whole."""

    def __init__(self) -> None:
        self.problems: list[Problem] = []
        self.backends: Collection[str] = ()
        self.forms: dict[str, Callable[[str], object]] = {
            "duration": parse_duration,
            "size": parse_size,
            "listen": check_listen,
            "host": check_host,
            "origin": check_origin,
            "url": check_url,
            "secret": Reference.parse,
            "key": _client_key,
            "client": _client_name,
            "backend": _backend_name,
            "route": _route_name,
            "target": self.target,
        }

    def config(self, table: dict[str, object]) -> Config | None:
        # Known before anything is read: a target may name a backend that is itself at fault.
        backends = table.get("backends")
        self.backends = backends.keys() if isinstance(backends, dict) else ()
        config = self.read(_config_type(), table, ())
        if not isinstance(config, Config):
            return None
        self.together(config)
        return None if self.problems else config

    def together(self, config: Config) -> None:
        """What each for itself is good, and is not together."""
        for number, text in enumerate(config.server.listen):
            try:
                check_exposure(
                    parse_listen(text), has_keys=bool(config.keys), has_names=bool(config.server.allowed_hosts)
                )
            except ValueError as error:
                self.problem(("server", "listen", number), str(error))
        for name, backend in config.backends.items():
            if backend.kind not in SPEAK_OPENAI:
                for word in OPENAI_ONLY:
                    if getattr(backend, word) != getattr(MANNER, word):
                        text = f"is for servers that speak OpenAI, and this one is of kind {quoted(backend.kind)}"
                        self.problem(("backends", name, word), text, at_key=True)
        names: set[str] = set()
        for number, key in enumerate(config.keys):
            if key.name in names:
                self.problem(("keys", number, "name"), f"another key is called {quoted(key.name)} too")
            names.add(key.name)

    def read(self, wanted: inspect.Type, value: object, path: Path, form: str | None = None) -> object:
        """The value as the model has it."""
        match wanted:
            case inspect.Metadata():
                return self.read(wanted.type, value, path, (wanted.extra or {}).get("form", form))
            case inspect.UnionType():
                inner, _ = wanted.types
                if value == "off" and _form(inner) == "duration":
                    return None
                return self.read(inner, value, path, form)
            case inspect.StructType():
                return self.struct(wanted, value, path)
            case inspect.DictType():
                return self.mapping(wanted, value, path)
            case inspect.VarTupleType():
                return self.items(wanted, value, path)
            case inspect.LiteralType():
                return self.choice(wanted, value, path)
            case inspect.BoolType():
                return value if isinstance(value, bool) else self.wrong_type(path, "true or false", value)
            case inspect.FloatType() | inspect.IntType():
                return self.number(wanted, value, path, form)
            case inspect.StrType() | inspect.CustomType():
                return self.text(value, path, form)
            case _:
                raise NotImplementedError(f"the model has a type that no file can say: {wanted}")

    def struct(self, wanted: inspect.StructType, value: object, path: Path) -> object:
        fields = {field.encode_name: field for field in wanted.fields}
        has_short_form = wanted.cls is Route
        if has_short_form and isinstance(value, list):
            targets = self.read(fields["targets"].type, value, path)
            return _NOTHING if self.problems else wanted.cls(targets=targets)
        if not isinstance(value, dict):
            table = 'a list of targets such as ["ollama"], or a table' if has_short_form else "a table"
            return self.wrong_type(path, table, value)
        for name in value:
            if name not in fields:
                self.problem((*path, name), f"unknown key; {did_you_mean(name, fields)}", at_key=True)
        for name, field in fields.items():
            if field.required and name not in value:
                self.problem((*path, name), f"is missing: {_meaning(field)}", at_key=True)
        values = {
            field.name: self.read(field.type, value[name], (*path, name))
            for name, field in fields.items()
            if name in value
        }
        return _NOTHING if self.problems else wanted.cls(**values)

    def mapping(self, wanted: inspect.DictType, value: object, path: Path) -> object:
        if not isinstance(value, dict):
            return self.wrong_type(path, "a table", value)
        for name in value:
            try:
                self.forms[_form(wanted.key_type) or ""](name)
            except ValueError as error:
                self.problem((*path, name), str(error), at_key=True)
        return {name: self.read(wanted.value_type, item, (*path, name)) for name, item in value.items()}

    def items(self, wanted: inspect.VarTupleType, value: object, path: Path) -> object:
        if not isinstance(value, list):
            return self.wrong_type(path, "a list", value)
        if len(value) < (wanted.min_length or 0):
            return self.problem(path, "is empty")
        return tuple(self.read(wanted.item_type, item, (*path, number)) for number, item in enumerate(value))

    def choice(self, wanted: inspect.LiteralType, value: object, path: Path) -> object:
        choices = [str(choice) for choice in wanted.values]
        if not isinstance(value, str):
            return self.wrong_type(path, " or ".join(quoted(choice) for choice in choices), value)
        if value not in choices:
            return self.problem(path, f"{quoted(value)} is no choice; {did_you_mean(value, choices)}")
        return value

    def number(self, wanted: _Number, value: object, path: Path, form: str | None) -> object:
        if form and isinstance(value, str):
            if value == "off":
                return self.problem(path, "cannot be off")
            value = self.parsed(form, value, path)
            if value is _NOTHING:
                return value
        name = _FORM_NAMES.get(form or "", "a number" if isinstance(wanted, inspect.FloatType) else "a whole number")
        numeric: tuple[type, ...] = (int, float) if isinstance(wanted, inspect.FloatType) else (int,)
        if isinstance(value, bool) or not isinstance(value, numeric):
            return self.wrong_type(path, name, value)
        assert isinstance(value, int | float)
        if not math.isfinite(value) or abs(value) > _LARGEST:
            return self.problem(path, "is out of range")
        show = _FORMATS.get(form, str)
        for limit, holds, words in (
            (wanted.gt, operator.gt, "above"),
            (wanted.ge, operator.ge, "at least"),
            (wanted.le, operator.le, "at most"),
        ):
            if limit is not None and not holds(value, limit):
                return self.problem(path, f"must be {words} {show(limit)}, not {show(value)}")
        return float(value) if isinstance(wanted, inspect.FloatType) else value

    def text(self, value: object, path: Path, form: str | None) -> object:
        if not isinstance(value, str):
            return self.wrong_type(path, "text", value)
        return self.parsed(form, value, path) if form else value

    def target(self, text: str) -> str:
        backend = parse_target(text).backend
        if backend not in self.backends:
            raise ValueError(f"no backend is called {quoted(backend)}; {did_you_mean(backend, self.backends)}")
        return text

    def parsed(self, form: str, text: str, path: Path) -> object:
        try:
            return self.forms[form](text)
        except ValueError as error:
            return self.problem(path, str(error))

    def wrong_type(self, path: Path, wanted: str, value: object) -> object:
        # Names the type and not the value: that may be a key.
        name = next(name for kind, name in _NAMES if isinstance(value, kind))
        return self.problem(path, f"must be {wanted}, not {name}")

    def problem(self, path: Path, message: str, *, at_key: bool = False) -> object:
        self.problems.append(Problem(path, message, at_key))
        return _NOTHING


@functools.cache
def _config_type() -> inspect.Type:
    return inspect.type_info(Config)


def _form(wanted: inspect.Type) -> str | None:
    return (wanted.extra or {}).get("form") if isinstance(wanted, inspect.Metadata) else None


def _meaning(field: inspect.Field) -> str:
    assert isinstance(field.type, inspect.Metadata)
    return str((field.type.extra_json_schema or {})["description"])


def _backend_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError('a backend\'s name begins with a letter or digit and goes on with these, ".", "_" and "-"')
    return name


def _client_name(name: str) -> str:
    if not NAME.fullmatch(name):
        raise ValueError('a key\'s name begins with a letter or digit and goes on with these, ".", "_" and "-"')
    return name


def _client_key(text: str) -> Reference:
    if text.startswith("sha256:") and not re.fullmatch("sha256:[0-9a-f]{64}", text):
        raise ValueError('"sha256:" takes the 64 hexadecimal digits that "penstock key new" prints')
    return Reference.parse(text)


def _route_name(name: str) -> str:
    if not name or not name.isprintable():
        raise ValueError("a route's name is a model name, or a glob")
    if "[" in name:
        raise ValueError('the wildcards of a glob are "*" and "?"; "[" has no meaning here')
    return name
