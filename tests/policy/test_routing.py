"""Which targets a model name means."""

from __future__ import annotations

import pytest

from penstock.config.model import Backend, Config, Route, TimeoutOverrides, Timeouts
from penstock.errors import UnknownModel
from penstock.policy.routing import Router

BACKENDS = {
    "local": Backend(kind="ollama", url="http://127.0.0.1:11434"),
    "cloud": Backend(kind="openai", url="https://api.example.com/v1", timeouts=TimeoutOverrides(connect=9.0)),
}


def router(**routes: tuple[str, ...] | Route) -> Router:
    named = {name: route if isinstance(route, Route) else Route(targets=route) for name, route in routes.items()}
    return Router(Config(backends=BACKENDS, routes=named))


@pytest.mark.parametrize(
    ("asked", "targets"),
    [
        ("coder", ["local/qwen2.5-coder:7b", "cloud/coder-large"]),  # exact before glob
        ("coder-fast", ["cloud/coder-fast"]),  # the longer glob
        ("coding", ["local/coding"]),
        ("anything", ["cloud/anything"]),  # the catch-all
        ("coder:latest", ["local/qwen2.5-coder:7b", "cloud/coder-large"]),  # as Ollama's lists name it
    ],
)
def test_exact_first_then_the_longest_glob(asked: str, targets: list[str]) -> None:
    routes = router(
        **{
            "*": ("cloud",),
            "cod*": ("local",),
            "coder-*": ("cloud",),
            "coder": ("local/qwen2.5-coder:7b", "cloud/coder-large"),
        }
    )
    assert [str(target) for target in routes.targets(asked, {})] == targets


def test_a_catch_all_over_two_backends_prefers_the_one_that_has_the_model() -> None:
    routes = router(**{"*": ("local", "cloud")})
    known = {"local": {"llama3:latest"}, "cloud": {"gpt-oss"}}
    assert [t.backend for t in routes.targets("gpt-oss", known)] == ["cloud", "local"]
    assert [t.backend for t in routes.targets("llama3", known)] == ["local", "cloud"]
    assert [t.backend for t in routes.targets("nobody-has-it", known)] == ["local", "cloud"]


def test_an_unknown_model_lists_near_names_of_routes_and_catalogues() -> None:
    routes = router(coder=("local",))
    with pytest.raises(UnknownModel, match="model 'codr' not found; near names: coder, coderx") as caught:
        routes.targets("codr", {"local": {"coderx", "zzz"}})
    assert caught.value.status == 404


def test_budgets_come_from_route_over_backend_over_server_and_the_tightest_total_wins() -> None:
    route = Route(targets=("cloud",), timeouts=TimeoutOverrides(first_token=5.0, total=3600.0))
    (target,) = router(fim=route).targets("fim", {})
    server = Timeouts()
    assert (target.timeouts.first_token, target.timeouts.connect) == (5.0, 9.0)
    assert target.timeouts.silence == server.silence
    assert target.timeouts.total == server.total
