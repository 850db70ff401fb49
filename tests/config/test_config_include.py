"""``conf.d``: what further files add, and how a fault in one of them is told."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.config.faults import FaultyFile
from penstock.config.load import load
from penstock.errors import ConfigError


@pytest.fixture
def main(tmp_path: Path) -> Path:
    path = tmp_path / "penstock.toml"
    path.write_text('[server]\ndrain = "3s"\n[backends.a]\nkind = "ollama"\nurl = "http://a"\n')
    return path


def include(main: Path, **files: str) -> None:
    (main.parent / "conf.d").mkdir(exist_ok=True)
    for name, text in files.items():
        (main.parent / f"conf.d/{name}.toml").write_text(text)


def faults(main: Path) -> list[str]:
    with pytest.raises(ConfigError) as refusal:
        load(main, {})
    return [fault.replace(f"{main.parent}/", "") for fault in refusal.value.faults]


def test_each_file_adds_its_part(main: Path) -> None:
    include(
        main,
        keys='[[keys]]\nname = "x"\nkey = "env:X"\n[[keys]]\nname = "y"\nkey = "env:Y"\n',
        more_keys='[[keys]]\nname = "z"\nkey = "env:Z"\n',
        cloud='[server]\ngrace = "1s"\n[backends.cloud]\nkind = "openai"\nurl = "http://b"\n',
        route='[routes]\nc = ["a", "cloud"]\n',
    )
    config = load(main, {})
    assert (config.server.drain, config.server.grace) == (3.0, 1.0)
    assert list(config.backends) == ["a", "cloud"]
    assert config.routes["c"].targets == ("a", "cloud")
    assert [key.name for key in config.keys] == ["x", "y", "z"]


def test_only_toml_files_that_are_not_hidden(main: Path) -> None:
    include(main)
    for name in (".hidden.toml", "penstock.toml.bak", "README"):
        (main.parent / "conf.d" / name).write_text("[server]\ndrain = 9")
    assert load(main, {}).server.drain == 3.0


def test_what_is_set_twice_names_both_places(main: Path) -> None:
    include(main, b="[server]\ndrain = 4\n", c='[backends.a]\nslots = 2\nkind = "openai"\n')
    assert faults(main) == [
        "conf.d/b.toml:2:1: server.drain: is set twice, first in penstock.toml:2",
        "conf.d/c.toml:3:1: backends.a.kind: is set twice, first in penstock.toml:4",
    ]


def test_the_order_is_that_of_the_names(main: Path) -> None:
    include(main, b="[server]\ngrace = 1\n", a="[server]\ngrace = 2\n")
    assert faults(main) == ["conf.d/b.toml:2:1: server.grace: is set twice, first in conf.d/a.toml:2"]


def test_a_value_and_a_table_of_one_name_are_set_twice(main: Path) -> None:
    include(main, b="[server.drain]\nsoon = 1\n", c="backends = 1\n")
    assert faults(main) == [
        "conf.d/b.toml:1:9: server.drain: is set twice, first in penstock.toml:2",
        "conf.d/c.toml:1:1: backends: is set twice, first in penstock.toml:3",
    ]


def test_a_fault_has_the_place_in_its_own_file(main: Path) -> None:
    main.write_text(main.read_text() + "[limits]\nqueue = -1\n")
    include(
        main,
        a='[server]\nheartbeat = 0\ngracee = "red"\n[routes]\nx = ["b"]\n',
        b='[[keys]]\nname = "x"\nkey = "env:X"\n',
        c='[[keys]]\nname = "x"\nkey = "env:Y"\n[[keys]]\nkey = "env:Z"\n',
    )
    assert faults(main) == [
        "penstock.toml:7:9: limits.queue: must be at least 0, not -1",
        "conf.d/a.toml:2:13: server.heartbeat: must be above 0s, not 0s",
        'conf.d/a.toml:3:1: server.gracee: unknown key; did you mean "grace"?',
        'conf.d/a.toml:5:6: routes.x[0]: no backend is called "b"; known: a',
        "conf.d/c.toml:4:3: keys[1].name: is missing: what the log calls this client",
    ]


def test_names_of_keys_are_compared_over_all_files(main: Path) -> None:
    include(main, b='[[keys]]\nname = "x"\nkey = "env:X"\n', c='[[keys]]\nname = "x"\nkey = "env:Y"\n')
    assert faults(main) == ['conf.d/c.toml:2:8: keys[0].name: another key is called "x" too']


def test_syntax_faults_of_all_files_are_told_at_once(main: Path) -> None:
    include(main, a="[server\n", b="x = \n")
    assert [fault.partition(" ")[0] for fault in faults(main)] == ["conf.d/a.toml:1:8:", "conf.d/b.toml:1:5:"]


def test_a_fault_shows_the_line_of_its_own_file(main: Path) -> None:
    include(main, a="[server]\nheartbeat = 0\n")
    with pytest.raises(FaultyFile) as refusal:
        load(main, {})
    assert refusal.value.found[0].display().splitlines()[1:] == ["    heartbeat = 0", "                ^"]


def test_a_directory_that_cannot_be_read(main: Path) -> None:
    (main.parent / "conf.d").touch()
    assert faults(main) == ["conf.d: cannot be read: Not a directory"]


def test_there_is_a_most(main: Path) -> None:
    include(main, **{f"f{number}": "" for number in range(101)})
    assert faults(main) == ["conf.d: has more than 100 files"]
