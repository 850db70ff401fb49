"""``docs/configuration.md`` has one entry for each key, and each entry is true."""

from __future__ import annotations

import re
from pathlib import Path

import msgspec
import pytest

from penstock.config.load import loads
from penstock.config.model import Backend, Config, Key, Limits, Route, Server, Timeouts

TEXT = (Path(__file__).parents[2] / "docs/configuration.md").read_text()

SECTIONS: dict[str, type[msgspec.Struct]] = {
    "server": Server,
    "timeouts": Timeouts,
    "limits": Limits,
    "backends.NAME": Backend,
    "routes.NAME": Route,
    "keys": Key,
}
KEYS = {
    f"{section}.{field.encode_name}": field
    for section, kind in SECTIONS.items()
    for field in msgspec.structs.fields(kind)
}
#: What must stand beside an example, for the file to be whole.
REST = {
    "backends.NAME.kind": 'url = "http://a"',
    "backends.NAME.url": 'kind = "openai"',
    "backends.NAME": 'kind = "openai"\nurl = "http://a"',
    "routes.NAME.targets": "",
    "routes.NAME": 'targets = ["ollama"]',
    "keys.name": 'key = "secret"',
    "keys.key": 'name = "laptop"',
    "keys": 'name = "laptop"\nkey = "secret"',
}
BACKENDS = "".join(f'[backends.{name}]\nkind = "ollama"\nurl = "http://{name}"\n' for name in ("ollama", "cloud"))


def entries() -> dict[str, dict[str, str]]:
    """Path -> what stands under meaning, default, allowed and example."""
    found = {}
    for path, body in re.findall(r"^### (\S+)\n\n((?:[- ] .*\n)+)", TEXT, flags=re.MULTILINE):
        parts = re.findall(r"^- (\w+): (.*(?:\n  .*)*)", body, flags=re.MULTILINE)
        assert [title for title, _ in parts] == ["Meaning", "Default", "Allowed", "Example"], path
        found[path] = {title: re.sub(r"\s+", " ", text) for title, text in parts}
    return found


ENTRIES = entries()


def read(path: str, setting: str) -> Config:
    section = path.rpartition(".")[0]
    rest = REST.get(path, REST.get(section, ""))
    header = f"[[{section}]]" if section == "keys" else f"[{section}]"
    return loads(f"{header}\n{setting}\n{rest}\n{BACKENDS}", path)


def test_every_key_has_an_entry_and_no_other_has() -> None:
    assert sorted(ENTRIES) == sorted(KEYS)
    assert len(re.findall("^### ", TEXT, flags=re.MULTILINE)) == len(KEYS)


@pytest.mark.parametrize("path", KEYS)
def test_an_entry_begins_with_the_models_words(path: str) -> None:
    (meaning,) = [
        meta.description for meta in KEYS[path].type.__metadata__ if isinstance(meta, msgspec.Meta) and meta.description
    ]
    assert ENTRIES[path]["Meaning"].startswith(meaning)


@pytest.mark.parametrize("path", KEYS)
def test_an_entry_says_the_default(path: str) -> None:
    said = ENTRIES[path]["Default"].strip("`")
    if KEYS[path].required:
        assert said == "none, must be given"
    elif path == "backends.NAME.api_key":
        assert said == "none is sent"
        assert KEYS[path].default is None
    else:
        section, _, key = path.rpartition(".")
        assert read(path, f"{key} = {said}") == read(path, "")
        assert f"[{section}]" in TEXT


@pytest.mark.parametrize("path", KEYS)
def test_an_example_can_be_used(path: str) -> None:
    example = ENTRIES[path]["Example"].strip("`")
    assert example.startswith(f"{path.rpartition('.')[2]} = ")
    read(path, example)


@pytest.mark.parametrize("path", KEYS)
def test_the_allowed_values_are_the_models(path: str) -> None:
    section, _, key = path.rpartition(".")
    wanted = msgspec.inspect.type_info(SECTIONS[section])
    assert isinstance(wanted, msgspec.inspect.StructType)
    (kind,) = [field.type for field in wanted.fields if field.encode_name == key]
    allowed = ENTRIES[path]["Allowed"]
    while isinstance(kind, msgspec.inspect.Metadata):
        kind = kind.type
    match kind:
        case msgspec.inspect.LiteralType():
            assert set(re.findall(r'"(\w+)"', allowed)) == {str(choice) for choice in kind.values}
        case msgspec.inspect.IntType(ge=least, le=most):
            assert str(least) in allowed or allowed.endswith("at least 1KiB")
            assert most is None or allowed.endswith(f"to {most}")
        case msgspec.inspect.FloatType(gt=None):
            assert allowed == "a duration, 0 included"
        case msgspec.inspect.FloatType():
            assert allowed == "a duration above 0"
        case _:
            assert allowed


def test_the_sample_files_can_be_used() -> None:
    samples = re.findall(r"```toml\n(.*?)```", TEXT, flags=re.DOTALL)
    assert samples
    for sample in samples:
        loads(f"{sample}\n{BACKENDS}", "docs/configuration.md")


@pytest.mark.parametrize(
    "fact",
    [
        "exit status 78",
        "$PENSTOCK_CONFIG",
        "~/.config/penstock/penstock.toml",
        "/etc/penstock/penstock.toml",
        "listens on `127.0.0.1:11435`",
        "| Ollama | `127.0.0.1:11434` |",
        "| llama.cpp | `127.0.0.1:8080` |",
        "| LM Studio | `127.0.0.1:1234` |",
        "| KoboldCpp | `127.0.0.1:5001` |",
        "| vLLM | `127.0.0.1:8000` |",
    ],
)
def test_the_guide_tells(fact: str) -> None:
    assert fact in TEXT
