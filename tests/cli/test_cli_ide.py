"""What each tool is told, and that it is in the language of that tool."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import tomli
from click.testing import CliRunner

from penstock.cli.ide import Setting, guide, snippet
from penstock.cli.main import main
from penstock.cli.tools import TOOLS

BASE = "http://127.0.0.1:11435"
SETTING = Setting(base=BASE, models=("coder", "fim"), autocomplete=("fim",), has_keys=False)
#: A name with everything that could break out of its quotes.
ODD = 'org/m:7b"\\x'

FILE = """\
[backends.a]
kind = "ollama"
url = "http://127.0.0.1:1"
[routes]
"*" = ["a"]
coder = ["a/x"]
[routes.fim]
targets = ["a/y"]
class = "autocomplete"
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text(FILE)
    return path


def ide(*args: str | Path) -> tuple[int, str, str]:
    result = CliRunner().invoke(main, ["ide", *map(str, args)], env={"PENSTOCK_CONFIG": "", "HOME": "/nowhere"})
    return result.exit_code, result.stdout, result.stderr


def read(tool: str, setting: Setting = SETTING) -> Any:
    return json.loads(snippet(TOOLS[tool], setting))


def test_alone_it_lists_the_tools() -> None:
    status, told, _ = ide()
    assert status == 0
    assert [line.split()[0] for line in told.splitlines()] == list(TOOLS)


def test_an_unknown_tool_is_a_wrong_command_line() -> None:
    status, _, fault = ide("emacs")
    assert status == 2
    assert all(name in fault for name in TOOLS)


def test_a_whole_guide(file: Path) -> None:
    assert ide("continue", "--config", file) == (
        0,
        """\
Continue: ~/.continue/config.yaml

name: penstock
version: 0.0.1
schema: v1
models:
  - name: "coder"
    provider: openai
    model: "coder"
    apiBase: http://127.0.0.1:11435/v1
    apiKey: none
    roles: [chat, edit, apply]
  - name: "fim"
    provider: ollama
    model: "fim"
    apiBase: http://127.0.0.1:11435
    apiKey: none
    roles: [autocomplete]

Then: Choose the model in the list at the chat's input.
A model whose route has class = "autocomplete" is entered for completion while you type.
""",
        "",
    )


@pytest.mark.parametrize("tool", [name for name, tool in TOOLS.items() if tool.language == "json"])
@pytest.mark.parametrize("models", [("coder",), ("coder", "fim"), (ODD,)])
def test_json_is_json(tool: str, models: tuple[str, ...]) -> None:
    told = json.dumps(read(tool, Setting(base=BASE, models=models, autocomplete=(), has_keys=True)))
    assert BASE in told
    if "$model" in TOOLS[tool].template:
        assert all(json.dumps(model) in told for model in models[:1])


def test_opencode() -> None:
    told = read("opencode")
    assert told["model"] == "penstock/coder"
    assert told["provider"]["penstock"]["options"] == {"baseURL": f"{BASE}/v1", "apiKey": "none"}
    assert told["provider"]["penstock"]["models"] == {"coder": {"name": "coder"}, "fim": {"name": "fim"}}


def test_copilot() -> None:
    (group,) = read("copilot")
    assert [model["id"] for model in group["models"]] == ["coder", "fim"]
    assert {model["url"] for model in group["models"]} == {f"{BASE}/v1/chat/completions"}


def test_codex() -> None:
    told = tomli.loads(snippet(TOOLS["codex"], Setting(base=BASE, models=(ODD,), autocomplete=(), has_keys=False)))
    assert told["model"] == ODD
    assert told["model_providers"][told["model_provider"]]["base_url"] == f"{BASE}/v1"


@pytest.mark.parametrize("tool", TOOLS)
def test_nothing_is_left_to_be_filled_in(tool: str) -> None:
    told = guide(TOOLS[tool], SETTING).replace('"$schema"', "")
    assert "$" not in told
    assert BASE in told


@pytest.mark.parametrize("tool", TOOLS)
def test_with_keys_a_place_for_one_is_shown(tool: str) -> None:
    told = guide(TOOLS[tool], Setting(base=BASE, models=("coder",), autocomplete=(), has_keys=True))
    assert "YOUR-KEY stands for a key: penstock key new" in told


@pytest.mark.parametrize(
    ("listen", "base"),
    [
        ('["0.0.0.0:80", "unix:/a"]', "http://127.0.0.1:80"),
        ('["unix:/a", "[::1]:9000"]', "http://[::1]:9000"),
        ('["127.0.0.1:0", "localhost:9000"]', "http://localhost:9000"),
    ],
)
def test_the_address_is_one_to_connect_to(listen: str, base: str, file: Path) -> None:
    keys = '[[keys]]\nname = "a"\nkey = "env:A"\n'
    file.write_text(f'[server]\nlisten = {listen}\nallowed_hosts = ["box"]\n{FILE}{keys}')
    assert f'"api_url": "{base}"' in ide("zed", "--config", file)[1]


def test_without_a_port_there_is_nothing_to_tell(file: Path) -> None:
    file.write_text('[server]\nlisten = ["unix:/a", "127.0.0.1:0"]\n')
    assert ide("zed", "--config", file) == (
        1,
        "",
        "Error: server.listen has no TCP address with a fixed port, and editors want one\n",
    )


def test_without_a_model_it_says_so(file: Path) -> None:
    file.write_text('[server]\nlisten = ["127.0.0.1:1"]\n[backends.a]\nkind = "ollama"\nurl = "http://127.0.0.1:2"\n')
    _, told, _ = ide("aider", "--config", file)
    assert 'model: "openai/MODEL"' in told
    assert "MODEL stands for a model's name" in told


def test_a_faulty_file_is_told(file: Path) -> None:
    file.write_text("drain = 3")
    status, _, fault = ide("zed", "--config", file)
    assert status == 78
    assert fault.startswith(f"{file}:1:1: drain: unknown key")
