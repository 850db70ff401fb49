"""Settings from the environment: which variable sets what, and how a wrong one is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.load import load, read
from penstock.config.model import Backend, Config, Route, Server, TimeoutOverrides
from penstock.config.overrides import value_of
from penstock.config.secrets import Reference
from penstock.errors import ConfigError

FILE = """\
[server]
drain = "3s"
[backends.GPU-0]
kind = "ollama"
url = "http://127.0.0.1:11434"
[routes]
coder = ["GPU-0"]
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text(FILE)
    return path


def faults(path: Path | None, **environ: str) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(path, environ)
    return refusal.value.faults


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("90s", "90s"),
        ("3", 3),
        ("1.5", 1.5),
        ("true", True),
        ('"3"', "3"),
        ('["a", "b"]', ["a", "b"]),
        ('{ queue = "5s" }', {"queue": "5s"}),
        ("", ""),
        ("127.0.0.1:80", "127.0.0.1:80"),
        ("a # b", "a # b"),
        ("1\nother = 2", "1\nother = 2"),
        ("1\n[other]", "1\n[other]"),
        ("[" * 5000, "[" * 5000),
    ],
)
def test_a_value_is_toml_where_it_can_be(text: str, value: object) -> None:
    assert value_of(text) == value


def test_a_variable_stands_above_the_file(file: Path) -> None:
    assert load(file, {}).server.drain == 3.0
    assert load(file, {"PENSTOCK__SERVER__DRAIN": "7s"}).server.drain == 7.0


def test_without_a_file_it_stands_above_the_defaults() -> None:
    assert load(None, {}) == Config()
    environ = {"PENSTOCK__SERVER__LISTEN": '["127.0.0.1:9000"]', "PENSTOCK_CONFIG": "x", "PENSTOCK_KEY": "y"}
    assert load(None, environ) == Config(server=Server(listen=("127.0.0.1:9000",)))


def test_the_process_is_asked_when_no_environment_is_passed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PENSTOCK__SERVER__DRAIN", "8")
    assert load(file).server.drain == 8.0


def test_sections_and_names_match_without_regard_to_case_and_punctuation(file: Path) -> None:
    environ = {
        "PENSTOCK__Backends__gpu_0__Slots": "4",
        "PENSTOCK__BACKENDS__GPU_0__TIMEOUTS__FIRST_TOKEN": "10m",
        "PENSTOCK__ROUTES__CODER": '{ targets = ["GPU-0/qwen"], class = "agent" }',
    }
    config = load(file, environ)
    assert config.backends["GPU-0"] == Backend(
        kind="ollama", url="http://127.0.0.1:11434", slots=4, timeouts=TimeoutOverrides(first_token=600.0)
    )
    assert config.routes == {"coder": Route(targets=("GPU-0/qwen",), class_="agent")}


def test_a_whole_backend_can_come_from_variables() -> None:
    environ = {
        "PENSTOCK__BACKENDS__CLOUD__KIND": "openai",
        "PENSTOCK__BACKENDS__CLOUD__URL": "https://api.example.com/v1",
        "PENSTOCK__BACKENDS__CLOUD__API_KEY": "env:CLOUD_KEY",
    }
    cloud = Backend(kind="openai", url="https://api.example.com/v1", api_key=Reference("env:CLOUD_KEY"))
    assert load(None, environ).backends == {"cloud": cloud}


def test_a_wider_variable_comes_before_a_narrower_one(file: Path) -> None:
    config = load(file, {"PENSTOCK__TIMEOUTS__QUEUE": "9s", "PENSTOCK__TIMEOUTS": '{ silence = "8s" }'})
    assert (config.timeouts.queue, config.timeouts.silence) == (9.0, 8.0)


@pytest.mark.parametrize(
    ("name", "value", "fault"),
    [
        ("SERVER__DRAIN", "10x", 'server.drain: "10x" is no duration; write "250ms", "90s", "5m", "1h30m" or a number'),
        ("SERVER__LISTEN", "127.0.0.1:1", "server.listen: must be a list, not text"),
        ("SERVER__LISTEN", '["a"]', 'server.listen[0]: "a" is no address;'),
        ("SERVER__DRIAN", "1", 'server.drian: unknown key; did you mean "drain"?'),
        ("SERVICE__DRAIN", "1", 'service: unknown key; did you mean "server"?'),
        ("SERVER", "1", "server: must be a table, not a whole number"),
        ("SERVER__DRAIN__SOON", "1", "server.drain: is no table that has settings of its own; set it as a whole"),
        ("ROUTES__CODER__CLASS", "agent", "routes.coder: is no table that has settings of its own; set it as a whole"),
        ("BACKENDS__NEW__KIND", "ollama", "backends.new.url: is missing: where it is"),
        ("BACKENDS__GPU_0__API_KEY", "file:secret", 'backends.GPU-0.api_key: "file:" takes an absolute path'),
        ("", "1", '"": unknown key; known: server'),
    ],
)
def test_a_fault_names_the_variable(name: str, value: str, fault: str, file: Path) -> None:
    (told,) = faults(file, **{f"PENSTOCK__{name}": value})
    assert told.startswith(f"PENSTOCK__{name}: {fault}")


def test_faults_of_variables_come_after_those_of_the_file(file: Path) -> None:
    file.write_text("[server]\ngrace = -1\n")
    told = faults(file, PENSTOCK__SERVER__DRAIN="10x")
    assert [fault.partition(": ")[0] for fault in told] == [f"{file}:2:9", "PENSTOCK__SERVER__DRAIN"]


def test_what_two_variables_set_is_a_fault(file: Path) -> None:
    told = faults(file, PENSTOCK__SERVER__DRAIN="1", PENSTOCK__server__drain="2")
    assert told == ["PENSTOCK__server__drain: server.drain: is set twice, first by PENSTOCK__SERVER__DRAIN"]


def test_a_name_that_may_mean_two_is_a_fault(file: Path) -> None:
    file.write_text(FILE + '[backends.gpu_0]\nkind = "ollama"\nurl = "http://a"\n')
    told = faults(file, PENSTOCK__BACKENDS__GPU_0__SLOTS="2")
    assert told == ['PENSTOCK__BACKENDS__GPU_0__SLOTS: backends: may mean "GPU-0" or "gpu_0"; rename one of them']


def test_a_key_is_never_repeated(file: Path) -> None:
    with pytest.raises(ConfigError) as refusal:
        read(file, {"PENSTOCK__BACKENDS__GPU_0__API_KEY": "crediential:sk-secret"})
    assert "sk-secret" not in str(refusal.value)
