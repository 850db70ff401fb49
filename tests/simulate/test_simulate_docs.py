"""docs/simulate.md says what the code's tables say."""

from __future__ import annotations

from pathlib import Path

import pytest

from penstock.cli.simulate import command
from penstock.simulate.asked import ROUTES
from penstock.simulate.faults import KINDS
from penstock.simulate.pages import STATES
from penstock.simulate.records import ConnectionRecord, Counters, RequestRecord
from penstock.simulate.script import parameters

DOCS = (Path(__file__).parents[2] / "docs" / "simulate.md").read_text()

PARAMETERS = [
    f"| `{name}` | {f'`{default}`' if default else ''} | {line} |" for name, (default, line) in parameters().items()
]
FAULTS = [f"| `{name}{'@N' if kind.placed else ''}` | {kind.line} |" for name, kind in KINDS.items()]


@pytest.mark.parametrize("rows", [PARAMETERS, FAULTS], ids=["parameters", "faults"])
def test_the_tables_are_the_codes(rows: list[str]) -> None:
    table = "\n".join(rows)
    assert table in DOCS, f"put this into docs/simulate.md:\n{table}"


@pytest.mark.parametrize(
    "names",
    [
        [f"POST {path}" for path in ROUTES],
        [option for parameter in command.params for option in parameter.opts],
        list(STATES),
        [*ConnectionRecord.__struct_fields__, *RequestRecord.__struct_fields__, *Counters.__struct_fields__],
    ],
    ids=["paths", "options", "states", "records"],
)
def test_every_name_is_explained(names: list[str]) -> None:
    assert [name for name in names if f"`{name}" not in DOCS] == []
