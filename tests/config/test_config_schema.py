"""The JSON Schema against the loader: what the one takes the other takes too, as far as a schema can tell."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import tomli
from msgspec import inspect

from penstock.cli.schema import text
from penstock.config.load import loads
from penstock.config.model import Config
from penstock.config.schema import schema
from penstock.errors import ConfigError

ROOT = Path(__file__).parents[2]
SHIPPED = ROOT / "etc/penstock.schema.json"
EXAMPLE = (ROOT / "etc/penstock.toml").read_text()
GUIDE = (ROOT / "docs/configuration.md").read_text()
BACKENDS = "".join(f'[backends.{name}]\nkind = "ollama"\nurl = "http://{name}"\n' for name in ("ollama", "cloud"))
#: What a table needs beside the one key, to be whole.
REST = {
    "backends.NAME": {"kind": "openai", "url": "http://a"},
    "routes.NAME": {"targets": ["ollama"]},
    "keys": {"name": "laptop", "key": "secret"},
}
EXAMPLES = dict(re.findall(r"^### (\S+)\n(?:.*\n)+?- Example: `(.*)`$", GUIDE, flags=re.MULTILINE))

VALIDATOR = jsonschema.Draft7Validator(schema())


def faults(table: Any) -> list[str]:
    return [f"{'.'.join(map(str, error.absolute_path))}: {error.message}" for error in VALIDATOR.iter_errors(table)]


def nested(section: str, settings: dict[str, Any]) -> dict[str, Any]:
    """``backends.NAME`` and its settings -> the table of a whole file."""
    if section == "keys":
        return {"keys": [settings]}
    for name in reversed(section.split(".")):
        settings = {name: settings}
    return settings


def test_it_is_a_schema() -> None:
    jsonschema.Draft7Validator.check_schema(schema())


def test_the_shipped_one_is_fresh() -> None:
    assert SHIPPED.read_text() == text(), "run: penstock schema > etc/penstock.schema.json"


def test_the_example_names_it_and_validates() -> None:
    assert EXAMPLE.splitlines()[0] == f"#:schema ./{SHIPPED.name}"
    assert faults(tomli.loads(EXAMPLE)) == []
    assert faults(tomli.loads(re.sub(r"^#(?=[^ :\n])", "", EXAMPLE, flags=re.MULTILINE))) == []


@pytest.mark.parametrize("path", EXAMPLES)
def test_every_key_of_the_guide_is_taken(path: str) -> None:
    section = path.rpartition(".")[0]
    assert faults(nested(section, REST.get(section, {}) | tomli.loads(EXAMPLES[path]))) == []


def test_the_guide_has_every_key_of_the_schema() -> None:
    tables = schema()["properties"]
    assert isinstance(tables, dict)
    known = {
        f"{section}.{key}" for section in ("server", "timeouts", "limits") for key in tables[section]["properties"]
    }
    known |= {f"backends.NAME.{key}" for key in tables["backends"]["additionalProperties"]["properties"]}
    known |= {f"routes.NAME.{key}" for key in tables["routes"]["additionalProperties"]["anyOf"][1]["properties"]}
    known |= {f"keys.{key}" for key in tables["keys"]["items"]["properties"]}
    assert set(EXAMPLES) == known


@pytest.mark.parametrize("section", ["", "server", "timeouts", "limits", "backends.NAME", "routes.NAME", "keys"])
def test_an_unknown_key_is_refused(section: str) -> None:
    settings = REST.get(section, {}) | {"colour": "red"}
    table = nested(section, settings) if section else settings
    assert any("colour" in fault or "not valid under any" in fault for fault in faults(table))


def test_a_route_may_be_a_list() -> None:
    assert faults({"routes": {"*": ["ollama"], "coder": {"targets": ["ollama"]}}}) == []


#: A setting, and whether it is good.
VALUES = [
    ('server.drain = "90s"', True),
    ('server.drain = "1h30m"', True),
    ('server.drain = "1.5s"', True),
    ("server.drain = 0", True),
    ("server.drain = 1.5", True),
    ('server.drain = ""', False),
    ('server.drain = "off"', False),
    ('server.drain = "30m1h"', False),
    ('server.drain = "10x"', False),
    ("server.drain = -1", False),
    ("server.drain = true", False),
    ("server.heartbeat = 0", False),
    ('timeouts.liveness = "off"', True),
    ('timeouts.liveness = "20s"', True),
    ("timeouts.liveness = 20", True),
    ('timeouts.liveness = "of"', False),
    ("timeouts.liveness = 0", False),
    ('timeouts.silence = "off"', False),
    ('limits.body = "16MiB"', True),
    ("limits.body = 4096", True),
    ('limits.body = "16MB"', False),
    ("limits.body = 1.5", False),
    ("limits.body = 1023", False),
    ("limits.depth = 512", True),
    ("limits.depth = 513", False),
    ('limits.depth = "64"', False),
    ('server.log_level = "debug"', True),
    ('server.log_level = "loud"', False),
    ('server.listen = ["127.0.0.1:1", "unix:/a"]', True),
    ("server.listen = []", False),
    ('server.listen = "127.0.0.1:1"', False),
    ('routes.coder = ["ollama/a", "cloud"]', True),
    ("routes.coder = []", False),
    ("routes.coder = {}", False),
    ('routes.coder = {targets = ["ollama"], class = "agent", timeouts = {total = "5s"}}', True),
    ('routes.coder = {targets = ["ollama"], class = "fast"}', False),
    ('routes."[a]" = ["ollama"]', False),
    ('routes."org/model:?b" = ["ollama"]', True),
    ('backends."a b" = {kind = "ollama", url = "http://a"}', False),
    ('backends.a = {kind = "ollama"}', False),
    ('backends.a = {kind = "ollama", url = "http://a", slots = 0}', False),
    ('backends.a = {kind = "ollama", url = "http://a", timeouts = {liveness = "off"}}', True),
    ('keys = [{name = "a", key = "env:A", admin = true}]', True),
    ('keys = [{name = "a"}]', False),
    ('keys = [{name = "a", key = "env:A", admin = "yes"}]', False),
]


@pytest.mark.parametrize(("setting", "good"), VALUES, ids=[setting for setting, _ in VALUES])
def test_the_schema_and_the_loader_agree(setting: str, good: bool) -> None:
    file = f"{setting}\n{BACKENDS}"
    assert (faults(tomli.loads(file)) == []) is good
    if good:
        loads(file, "f")
    else:
        with pytest.raises(ConfigError):
            loads(file, "f")


def test_every_setting_has_its_meaning_and_its_default() -> None:
    server = json.loads(text())["properties"]["server"]["properties"]
    assert server["drain"]["description"] == "how long running streams may go on after SIGTERM"
    assert (server["drain"]["default"], server["listen"]["default"]) == ("10s", ["127.0.0.1:11435"])
    wanted = inspect.type_info(Config)
    assert isinstance(wanted, inspect.StructType)
    tables = json.loads(text())["properties"]
    assert list(tables) == [field.encode_name for field in wanted.fields]
    assert all(table["description"] for table in tables.values())


@pytest.mark.heavy
def test_taplo_checks_by_it(tmp_path: Path) -> None:
    """Taplo is what Even Better TOML runs on."""
    npm = shutil.which("npm")
    if (
        npm is None
        or subprocess.run([npm, "install", "--prefix", tmp_path, "@taplo/cli"], capture_output=True).returncode
    ):
        pytest.skip("taplo cannot be installed here")
    taplo = tmp_path / "node_modules/.bin/taplo"
    good = subprocess.run([taplo, "check", ROOT / "etc/penstock.toml"], capture_output=True, text=True)
    assert good.returncode == 0, good.stderr
    (tmp_path / "bad.toml").write_text(f"#:schema {SHIPPED}\n[server]\nheartbeat = 0\n")
    bad = subprocess.run([taplo, "check", "bad.toml"], cwd=tmp_path, capture_output=True, text=True)
    assert bad.returncode == 1
    assert "bad.toml:3:13" in bad.stderr
