"""What one configuration's backends hand on to the next one's."""

from __future__ import annotations

from typing import Any

import pytest

from penstock.config.model import Backend as Spec
from penstock.config.model import Config, Limits
from penstock.dialects.registry import SOUTHBOUND
from penstock.relay.backends import Backend, build_backends, take_effect

URL = "http://127.0.0.1:11434"


def built(
    limits: dict[str, int], keys: dict[str, str], earlier: dict[str, Backend] | None = None, **spec: Any
) -> Backend:
    made = Spec(**({"kind": "openai", "url": URL} | spec))
    config = Config(backends={"a": made}, limits=Limits(**limits))
    return build_backends(config, SOUTHBOUND, keys, earlier or {})["a"]


@pytest.mark.parametrize(
    ("limits", "keys", "spec", "connections"),
    [
        ({}, {}, {}, True),
        ({"queue": 3, "line": 2048}, {}, {"slots": 9, "manage": True}, True),
        ({}, {}, {"url": f"{URL}/v1"}, True),
        ({}, {}, {"kind": "ollama"}, False),
        ({}, {"a": "sk-new"}, {}, False),
        ({"idle_connections": 0}, {}, {}, False),
    ],
)
def test_what_goes_on(limits: dict[str, int], keys: dict[str, str], spec: dict[str, Any], connections: bool) -> None:
    old = built({}, {})
    new = built(limits, keys, {"a": old}, **spec)
    assert (new.gate, new.questions, new.health) == (old.gate, old.questions, old.health)
    assert (new.transport is old.transport) is connections
    assert new.limits.line == limits.get("line", old.limits.line)
    assert new is not old


def test_another_server_is_another_one() -> None:
    old, new = built({}, {}), built({}, {})
    assert new.gate is not old.gate
    assert new.health is not old.health
    assert new.transport is not old.transport


def test_numbers_change_when_they_take_effect() -> None:
    old = built({"queue": 5}, {}, slots=1)
    config = Config(backends={"fast": Spec(kind="openai", url=URL, slots=4)}, limits=Limits(queue=7))
    backends = build_backends(config, SOUTHBOUND, {}, {"fast": old})
    gate = backends["fast"].gate
    assert (gate.backend, gate.slots, gate.queue) == ("a", 1, 5)
    take_effect(config, backends)
    assert (gate.backend, gate.slots, gate.queue) == ("fast", 4, 7)
