"""What guard and keys cost each request."""

from __future__ import annotations

import timeit

import pytest
from door import key

from penstock.config.model import Server
from penstock.policy.guard import rules_of
from penstock.policy.keys import build_keys, digest_text
from penstock.server import guarding

#: A request of an OpenAI client.
HEADERS = [
    (b"host", b"localhost:11435"),
    (b"accept-encoding", b"gzip, deflate"),
    (b"connection", b"keep-alive"),
    (b"accept", b"application/json"),
    (b"content-type", b"application/json"),
    (b"user-agent", b"OpenAI/Python 3.1.0"),
    (b"x-stainless-lang", b"python"),
    (b"x-stainless-os", b"Linux"),
    (b"x-stainless-arch", b"x64"),
    (b"authorization", b"Bearer sk-3"),
    (b"content-length", b"4096"),
]
#: Seconds for a request, both together; a whole request takes some fifty times as much.
BOUND = 25e-6


@pytest.mark.heavy
@pytest.mark.parametrize("keys", [0, 1, 8])
def test_guard_and_keys_cost_less_than_25_microseconds(keys: int) -> None:
    specs = [key(str(number), digest_text(f"sk-{number + 3}")) for number in range(keys)]
    known = build_keys(specs, lambda reference: reference)
    rules = rules_of([("127.0.0.1", 11435)], Server())
    scope = {"type": "http", "method": "POST", "headers": HEADERS, "server": ("127.0.0.1", 11435)}

    def request() -> None:
        asked = guarding.look(scope)  # type: ignore[arg-type]
        guarding.allow_reading(rules, asked, None)  # type: ignore[arg-type]
        guarding.admit(rules, known, asked, scope)  # type: ignore[arg-type]
        guarding.authorize("openai.chat_completions")
        assert guarding.holder().may_ask("qwen3:8b")

    assert min(timeit.repeat(request, number=2000, repeat=10)) / 2000 < BOUND
