from __future__ import annotations

import pytest

from penstock.config.model import TimeoutOverrides, Timeouts
from penstock.config.targets import Target, effective, parse_target


@pytest.mark.parametrize(
    ("text", "target"),
    [
        ("ollama", Target("ollama")),
        ("ollama/qwen2.5-coder:7b", Target("ollama", "qwen2.5-coder:7b")),
        ("cloud/meta-llama/Llama-3:free", Target("cloud", "meta-llama/Llama-3:free")),
        ("cloud//model", Target("cloud", "/model")),
    ],
)
def test_a_target_is_read(text: str, target: Target) -> None:
    assert parse_target(text) == target


@pytest.mark.parametrize("text", ["", "/", "/model", "ollama/"])
def test_what_is_no_target_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match='is no target; write "BACKEND" or "BACKEND/MODEL"'):
        parse_target(text)


def test_the_narrower_budget_wins() -> None:
    server = Timeouts(queue=1, connect=2, silence=3, liveness=4)
    backend = TimeoutOverrides(connect=20, silence=30)
    route = TimeoutOverrides(silence=300)
    assert effective(server, backend, route) == Timeouts(queue=1, connect=20, silence=300, liveness=4)


@pytest.mark.parametrize(
    ("server", "backend", "route", "held"),
    [(9, 5, 7, 5), (9, 7, 5, 5), (3, 5, 7, 3), (9, None, 5, 5), (9, None, None, 9)],
)
def test_the_tightest_total_wins(server: float, backend: float | None, route: float | None, held: float) -> None:
    def overrides(total: float | None) -> TimeoutOverrides:
        return TimeoutOverrides() if total is None else TimeoutOverrides(total=total)

    assert effective(Timeouts(total=server), overrides(backend), overrides(route)).total == held


def test_liveness_can_be_switched_off_where_it_is_on() -> None:
    on, off = TimeoutOverrides(liveness=9), TimeoutOverrides(liveness=None)
    assert effective(Timeouts(liveness=5), off, TimeoutOverrides()).liveness is None
    assert effective(Timeouts(), off, on).liveness == 9
    assert effective(Timeouts(liveness=5), on, off).liveness is None


def test_overrides_know_the_same_budgets_as_the_server() -> None:
    assert TimeoutOverrides.__struct_fields__ == Timeouts.__struct_fields__
