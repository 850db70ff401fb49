from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.load import load, loads
from penstock.config.model import Backend, Config, Limits, Route, Server, TimeoutOverrides, Timeouts
from penstock.config.secrets import Reference
from penstock.errors import ConfigError

WHOLE = """
[server]
listen = ["localhost:1", "unix:/run/p.sock"]
heartbeat = 1
grace = 0
drain = "1m"
log_level = "debug"
log_format = "json"

[timeouts]
queue = "1m30s"
liveness = "20s"
total = 60.5

[limits]
body = "1GiB"
line = 2048
idle_connections = 0

[backends.gpu-0]
kind = "llamacpp"
url = "http://127.0.0.1:8080"
slots = 2
timeouts = { first_token = "10m", liveness = "off" }

[backends.cloud]
kind = "openai"
url = "https://api.example.com/v1"
api_key = "env:CLOUD_KEY"

[routes]
"*" = ["gpu-0"]
"org/model:?b" = { targets = ["cloud/org/model:7b", "gpu-0"], class = "agent" }

[routes.fim]
targets = ["gpu-0/coder"]
class = "autocomplete"
timeouts.total = "5s"
"""


def test_a_whole_file() -> None:
    assert loads(WHOLE, "penstock.toml") == Config(
        server=Server(
            listen=("localhost:1", "unix:/run/p.sock"),
            heartbeat=1.0,
            grace=0.0,
            drain=60.0,
            log_level="debug",
            log_format="json",
        ),
        timeouts=Timeouts(queue=90.0, liveness=20.0, total=60.5),
        limits=Limits(body=1 << 30, line=2048, idle_connections=0),
        backends={
            "gpu-0": Backend(
                kind="llamacpp",
                url="http://127.0.0.1:8080",
                slots=2,
                timeouts=TimeoutOverrides(first_token=600.0, liveness=None),
            ),
            "cloud": Backend(kind="openai", url="https://api.example.com/v1", api_key=Reference("env:CLOUD_KEY")),
        },
        routes={
            "*": Route(targets=("gpu-0",)),
            "org/model:?b": Route(targets=("cloud/org/model:7b", "gpu-0"), class_="agent"),
            "fim": Route(targets=("gpu-0/coder",), class_="autocomplete", timeouts=TimeoutOverrides(total=5.0)),
        },
    )


def test_whole_seconds_become_floats() -> None:
    assert isinstance(loads("[server]\nheartbeat = 1", "f").server.heartbeat, float)


def test_an_empty_file_is_the_defaults() -> None:
    assert loads("", "f") == Config()


def test_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_bytes("\ufeff# ä\r\n[server]\r\ndrain = 3\r\n".encode())
    assert load(path).server.drain == 3.0


def test_a_fault_names_the_file(tmp_path: Path) -> None:
    path = tmp_path / "penstock.toml"
    path.write_text("drain = 3")
    with pytest.raises(ConfigError) as refusal:
        load(path)
    assert refusal.value.faults == [
        f"{path}:1:1: drain: unknown key; known: server, timeouts, limits, backends, routes, keys"
    ]


def test_a_file_that_cannot_be_read(tmp_path: Path) -> None:
    def told(path: Path) -> list[str]:
        with pytest.raises(ConfigError) as refusal:
            load(path)
        return refusal.value.faults

    assert told(tmp_path / "none.toml") == [f"{tmp_path}/none.toml: cannot be read: No such file or directory"]
    assert told(tmp_path) == [f"{tmp_path}: cannot be read: Is a directory"]
    assert told(Path("/dev/zero")) == ["/dev/zero: is larger than 1MiB; that is no configuration"]
    (tmp_path / "latin.toml").write_bytes("[server]\nname = 'é".encode() + b"\xe9'")
    assert told(tmp_path / "latin.toml") == [f"{tmp_path}/latin.toml:2:10: is not UTF-8 text"]
