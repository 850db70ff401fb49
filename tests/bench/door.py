"""What guard and keys cost a request: both together, in a process that does nothing else."""

from __future__ import annotations

import timeit
from collections.abc import Callable
from time import process_time

from penstock.config.model import Key, Server
from penstock.config.secrets import Reference
from penstock.policy.guard import cors, rules_of
from penstock.policy.keys import build_keys, digest_text
from penstock.server import guarding

from .load import Figures, Job

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
    (b"authorization", b"Bearer sk-0"),
    (b"content-length", b"4096"),
]
#: in one round
REQUESTS = 2000


def request(keys: int) -> Callable[[], None]:
    """All that is decided on one request before its handler runs, where so many keys are configured."""
    specs = [Key(name=str(number), key=Reference.parse(digest_text(f"sk-{number}"))) for number in range(keys)]
    known = build_keys(specs, lambda reference: reference)
    rules = rules_of([("127.0.0.1", 11435)], Server())
    scope = {"type": "http", "method": "POST", "headers": HEADERS, "server": ("127.0.0.1", 11435)}

    def decide() -> None:
        asked = guarding.look(scope)  # type: ignore[arg-type]
        cors(rules, asked)
        guarding.admit(rules, known, asked, scope)  # type: ignore[arg-type]
        guarding.authorize("openai.chat_completions")
        assert guarding.holder().may_ask("qwen3:8b", "chat")

    return decide


def door(job: Job) -> Figures:
    """The least of several rounds, with ``clients`` keys."""
    spent = timeit.repeat(request(job.clients), timer=process_time, repeat=job.rounds, number=REQUESTS)
    return {"door_us": min(spent) / REQUESTS * 1e6}
