"""``penstock key new``."""

from __future__ import annotations

import tomli
from click.testing import CliRunner, Result

from penstock.cli.main import main
from penstock.config.load import loads
from penstock.config.secrets import Secret
from penstock.policy.keys import build_keys


def new(*args: str) -> Result:
    return CliRunner().invoke(main, ["key", "new", *args])


def test_the_entry_knows_the_key() -> None:
    result = new("phone")
    assert result.exit_code == 0
    told, entry = result.stdout.split("\n\n")
    key = told.splitlines()[1]
    assert key.startswith("sk-penstock-")
    assert key not in entry
    assert tomli.loads(entry)["keys"][0].keys() == {"name", "key"}
    keys = build_keys(loads(entry, "f").keys, lambda _: Secret("never asked for"))
    assert keys.holder([(b"authorization", b"Bearer " + key.encode())]).name == "phone"


def test_no_key_comes_twice() -> None:
    keys = {new().stdout.splitlines()[1] for _ in range(50)}
    assert len(keys) == 50
    assert min(map(len, keys)) >= len("sk-penstock-") + 43


def test_a_name_that_the_configuration_would_refuse_is_refused() -> None:
    result = new('a"\nb')
    assert (result.exit_code, result.stdout) == (2, "")
    assert "Invalid value for NAME: a key's name begins with a letter or digit" in result.stderr
