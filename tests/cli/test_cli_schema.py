from __future__ import annotations

import json

from click.testing import CliRunner

from penstock.cli.main import main


def test_the_schema_is_printed() -> None:
    result = CliRunner().invoke(main, ["schema"])
    assert (result.exit_code, result.stderr) == (0, "")
    assert json.loads(result.stdout)["title"] == "penstock.toml"
    assert result.stdout.endswith("}\n")
