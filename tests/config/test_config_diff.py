"""Two configurations side by side: what differs, and what only a restart brings."""

from __future__ import annotations

import pytest

from penstock.config.diff import changes
from penstock.config.load import loads

BASE = """
[server]
listen = ["127.0.0.1:1000", "[::1]:1000"]
[backends.a]
kind = "ollama"
url = "http://127.0.0.1:11434"
[backends.b]
kind = "openai"
url = "https://b.example/v1"
api_key = "credential:b"
[routes]
"*" = ["a"]
coder = ["b/large"]
[[keys]]
name = "laptop"
key = "sk-laptop"
[[keys]]
name = "ci"
key = "env:CI_KEY"
"""


def told(old: str, new: str) -> list[str]:
    return [str(change) for change in changes(loads(old, "old"), loads(new, "new"))]


@pytest.mark.parametrize(
    ("old", "new", "expected"),
    [
        ("", "", []),
        ('kind = "ollama"', 'kind = "ollama"\nslots = 1', []),
        ('name = "laptop"', 'name = "laptop"\nroutes = ["*"]', []),
        ('kind = "ollama"', 'kind = "ollama"\nslots = 4', ["~ backends.a.slots = 4, was 1"]),
        ("[backends.a]", '[timeouts]\nsilence = "2m"\n[backends.a]', ['~ timeouts.silence = "2m", was "1m"']),
        ("[backends.a]", '[timeouts]\nliveness = "9s"\n[backends.a]', ['~ timeouts.liveness = "9s", was "off"']),
        ("[backends.a]", '[limits]\nbody = "1MiB"\n[backends.a]', ['~ limits.body = "1MiB", was "32MiB"']),
        (
            'kind = "ollama"',
            'kind = "ollama"\ntimeouts = { queue = "5s" }',
            ['+ backends.a.timeouts.queue = "5s"'],
        ),
        (
            'coder = ["b/large"]',
            'coder = ["b/large", "a"]',
            ['~ routes.coder.targets = ["b/large", "a"], was ["b/large"]'],
        ),
        (
            'coder = ["b/large"]',
            'fim = ["a"]',
            ['+ routes.fim = { "targets" = ["a"] }', '- routes.coder = { "targets" = ["b/large"] }'],
        ),
        ('api_key = "credential:b"', "", ['- backends.b.api_key = "credential:b"']),
        (
            'api_key = "credential:b"',
            'api_key = "file:/k"',
            ['~ backends.b.api_key = "file:/k", was "credential:b"'],
        ),
        # what is a secret itself is not shown, and neither is what it was
        ('api_key = "credential:b"', 'api_key = "sk-b"', ['~ backends.b.api_key = "***", was "credential:b"']),
        ('key = "sk-laptop"', 'key = "sk-other"', ["~ keys.laptop.key: another secret"]),
        (
            'name = "laptop"\nkey = "sk-laptop"\n[[keys]]\nname = "ci"',
            'name = "ci"',
            ['- keys.laptop = { "name" = "laptop", "key" = "***" }'],
        ),
        (
            '[[keys]]\nname = "ci"',
            '[[keys]]\nname = "desk"\nkey = "sk-d"\nadmin = true\n[[keys]]\nname = "ci"',
            ['+ keys.desk = { "name" = "desk", "key" = "***", "admin" = true }'],
        ),
        (
            '"[::1]:1000"]',
            '"[::1]:1001"]',
            [
                '~ server.listen = ["127.0.0.1:1000", "[::1]:1001"], was ["127.0.0.1:1000", "[::1]:1000"]; '
                "needs a restart"
            ],
        ),
        (
            '["127.0.0.1:1000", "[::1]:1000"]',
            '["[::1]:1000", "127.0.0.1:1000"]',
            ['~ server.listen = ["[::1]:1000", "127.0.0.1:1000"], was ["127.0.0.1:1000", "[::1]:1000"]'],
        ),
    ],
)
def test_what_differs(old: str, new: str, expected: list[str]) -> None:
    assert old in BASE
    assert told(BASE, BASE.replace(old, new, 1)) == expected


def test_the_order_of_names_is_a_difference() -> None:
    """The first of them is meant where a client names none."""
    old = '[backends]\n{}\n{}[routes]\n"*" = ["a"]\n'
    a, b = (f'{name} = {{ kind = "ollama", url = "http://{name}.example" }}' for name in "ab")
    assert told(old.format(a, b + "\n"), old.format(b, a + "\n")) == ['~ backends = ["b", "a"], was ["a", "b"]']


def test_another_secret_behind_the_same_reference() -> None:
    config = loads(BASE, "x")
    found = changes(config, config, {("backends", "b", "api_key"), ("keys", "ci", "key")})
    assert [str(change) for change in found] == [
        "~ backends.b.api_key: another secret",
        "~ keys.ci.key: another secret",
    ]
    assert not any(change.restart for change in found)
