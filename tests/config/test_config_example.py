"""``etc/penstock.toml`` says every key of the model, in its words and at its default."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from penstock.config.load import loads
from penstock.config.model import Backend, Config, Key, Limits, Route, Server, Timeouts
from penstock.config.secrets import Reference

TEXT = (Path(__file__).parents[2] / "etc/penstock.toml").read_text()

#: What the settings that are not taken into use become without their "#".
IN_USE = re.sub(r"^#(?=[^ :\n])", "", TEXT, flags=re.MULTILINE)


def meaning(field: msgspec.inspect.Field) -> str:
    assert isinstance(field.type, msgspec.inspect.Metadata)
    assert field.type.extra_json_schema
    return str(field.type.extra_json_schema["description"])


def fields(kind: type[msgspec.Struct]) -> list[msgspec.inspect.Field]:
    wanted = msgspec.inspect.type_info(kind)
    assert isinstance(wanted, msgspec.inspect.StructType)
    return list(wanted.fields)


def section(header: str) -> str:
    """The text of the tables whose header begins so."""
    return "".join(re.findall(rf"^\[+{header}[^\n]*\][^\n]*\n(?:(?!\[).*\n)*", IN_USE, flags=re.MULTILINE))


SECTIONS = {"server": Server, "timeouts": Timeouts, "limits": Limits, "backends": Backend, "routes": Route, "keys": Key}
KEYS = [(header, field) for header, kind in SECTIONS.items() for field in fields(kind)]


def test_the_file_as_shipped_is_the_defaults() -> None:
    assert loads(TEXT, "etc/penstock.toml") == Config()


def test_the_examples_are_good_once_they_are_taken_into_use() -> None:
    config = loads(IN_USE, "etc/penstock.toml")
    assert set(config.backends) == {"ollama", "cloud"}
    assert set(config.routes) == {"*", "coder", "fim"}
    assert config.keys == (Key(name="laptop", key=Reference("credential:laptop")),)
    assert msgspec.structs.replace(config, backends={}, routes={}, keys=()) == Config()


@pytest.mark.parametrize(("header", "field"), KEYS, ids=[f"{header}.{field.encode_name}" for header, field in KEYS])
def test_every_key_stands_there_below_its_meaning(header: str, field: msgspec.inspect.Field) -> None:
    line = re.search(rf"# {re.escape(meaning(field))}\n{field.encode_name} = (.*)\n", section(header))
    assert line, f"{header}.{field.encode_name} is missing, or its meaning differs from the model's"
    assert isinstance(field.type, msgspec.inspect.Metadata)
    if isinstance(field.type.type, msgspec.inspect.LiteralType):
        assert {str(choice) for choice in field.type.type.values} == set(line[1].partition("  # ")[2].split(", "))


@pytest.mark.parametrize("field", fields(Config), ids=[field.name for field in fields(Config)])
def test_every_table_stands_there_below_its_meaning(field: msgspec.inspect.Field) -> None:
    assert re.search(rf"# {re.escape(meaning(field))}\n\[+{field.name}\b", IN_USE)


def test_nothing_but_the_model_stands_there() -> None:
    known = {field.encode_name for _, field in KEYS} | {'"*"', '"coder"'}
    assert set(re.findall(r"^(\S+) =", IN_USE, flags=re.MULTILINE)) == known
