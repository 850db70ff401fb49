"""Every setting with the place that it comes from."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.explain import explain
from penstock.config.load import loads, read
from penstock.config.model import Config

FILE = """\
[server]
drain = "90s"
[timeouts]
liveness = "off"
[limits]
body = 65536
[backends.a]
kind = "ollama"
url = "http://a"
api_key = "sk-very-secret"
timeouts = { first_token = "10m", liveness = "off" }
[backends."b.c"]
kind = "openai"
url = "http://b"
api_key = "env:B_KEY"
[routes]
"*" = ["a"]
[routes.fim]
targets = ["a/x"]
class = "autocomplete"
"""


@pytest.fixture
def told(tmp_path: Path) -> dict[str, tuple[str, str]]:
    main = tmp_path / "penstock.toml"
    main.write_text(FILE)
    (tmp_path / "conf.d").mkdir()
    (tmp_path / "conf.d/k.toml").write_text('[[keys]]\nname = "x"\nkey = "sk-other-secret"\n[server]\ngrace = 1\n')
    environ = {
        "PENSTOCK__SERVER__LISTEN": '["127.0.0.1:1"]',
        "PENSTOCK__LIMITS__BODY": "1MiB",
        "PENSTOCK__BACKENDS__B_C__API_KEY": "sk-third-secret",
    }
    settings = explain(read(main, environ))
    return {setting.path: (setting.value, setting.origin.replace(f"{tmp_path}/", "")) for setting in settings}


@pytest.mark.parametrize(
    ("path", "value", "origin"),
    [
        ("server.listen", '["127.0.0.1:1"]', "PENSTOCK__SERVER__LISTEN"),
        ("server.drain", '"90s"', "penstock.toml:2"),
        ("server.grace", '"1s"', "conf.d/k.toml:5"),
        ("server.heartbeat", '"5s"', "default"),
        ("timeouts.liveness", '"off"', "penstock.toml:4"),
        ("timeouts.total", '"30m"', "default"),
        ("limits.body", '"1MiB"', "PENSTOCK__LIMITS__BODY"),
        ("limits.connections", "512", "default"),
        ("backends.a.api_key", '"***"', "penstock.toml:10"),
        ("backends.a.timeouts.first_token", '"10m"', "penstock.toml:11"),
        ("backends.a.timeouts.liveness", '"off"', "penstock.toml:11"),
        ("backends.a.slots", "1", "default"),
        ('backends."b.c".url', '"http://b"', "penstock.toml:14"),
        ('backends."b.c".api_key', '"***"', "PENSTOCK__BACKENDS__B_C__API_KEY"),
        ('routes."*".targets', '["a"]', "penstock.toml:17"),
        ('routes."*".class', '"chat"', "default"),
        ("routes.fim.targets", '["a/x"]', "penstock.toml:19"),
        ("routes.fim.class", '"autocomplete"', "penstock.toml:20"),
        ("keys[0].name", '"x"', "conf.d/k.toml:2"),
        ("keys[0].key", '"***"', "conf.d/k.toml:3"),
        ("keys[0].admin", "false", "default"),
    ],
)
def test_a_setting(path: str, value: str, origin: str, told: dict[str, tuple[str, str]]) -> None:
    assert told[path] == (value, origin)


def test_what_is_left_to_the_wider_setting_is_not_shown(told: dict[str, tuple[str, str]]) -> None:
    assert "backends.a.timeouts.queue" not in told
    assert "routes.fim.timeouts.total" not in told


def test_no_key_is_shown(told: dict[str, tuple[str, str]]) -> None:
    assert "secret" not in str(told)


def test_references_are_shown_in_full(tmp_path: Path) -> None:
    file = tmp_path / "f"
    file.write_text('[backends.a]\nkind = "openai"\nurl = "http://a"\napi_key = "env:A_KEY"\n')
    assert '"env:A_KEY"' in [setting.value for setting in explain(read(file, {}))]


def test_what_is_shown_reads_back_as_the_same() -> None:
    shown = "".join(f"{setting.path} = {setting.value}\n" for setting in explain(read(None, {})))
    assert loads(shown, "f") == Config()
