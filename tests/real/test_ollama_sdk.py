"""The ollama SDK before penstock: what an application sees, beside what it sees before the backend itself.

The simulated backend is asked directly, through penstock in its own dialect, and through penstock as an OpenAI server.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import httpx
import ollama
import pytest
from daemons import DEADLINE, TEARDOWN, Penstock, Simulated


@dataclass
class Seen:
    """What of a chat reached the application."""

    text: str = ""
    thinking: str = ""
    done: str | None = None
    usage: tuple[int | None, int | None] | None = None
    error: ollama.ResponseError | None = None


@pytest.fixture(scope="module")
def clients(backend: Simulated, proxies: dict[str, Penstock]) -> Iterator[dict[str, ollama.Client]]:
    """A client of the backend itself and one of each penstock before it."""
    servers = {"direct": backend, **proxies}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(ollama.Client(host=server.url, timeout=DEADLINE))
            for name, server in servers.items()
        }


def ask(client: ollama.Client, script: str, stream: bool) -> Any:
    messages = [{"role": "user", "content": "Count."}]
    wanted: dict[str, Any] = {"model": f"sim:{script}", "messages": messages, "stream": stream}
    return client.chat(**wanted)


def talk(client: ollama.Client, script: str, stream: bool) -> Seen:
    """One chat, to its end or its error."""
    seen = Seen()
    try:
        answer = ask(client, script, stream)
        for part in answer if stream else [answer]:
            message = part.message
            seen.text += message.content or ""
            seen.thinking += message.thinking or ""
            if part.done:
                seen.done, seen.usage = part.done_reason, (part.prompt_eval_count, part.eval_count)
    except ollama.ResponseError as error:
        seen.error = error
    return seen


@pytest.mark.parametrize(
    "script",
    [
        "tokens=40",
        "tokens=9,finish=length",
        "tokens=9,thinking=5",
        "tokens=4,fault=dribble@2,gap=0.1ms",
        "tokens=4,fault=crlf",
        "tokens=4,ping=10ms,first=50ms",
    ],
)
def test_an_answer_is_the_same(script: str, stream: bool, way: str, clients: dict[str, ollama.Client]) -> None:
    through, direct = talk(clients[way], script, stream), talk(clients["direct"], script, stream)
    assert through == direct
    assert through.error is None


def test_text_that_the_sdk_trips_over(stream: bool, way: str, clients: dict[str, ollama.Client]) -> None:
    """httpx counts U+2028 among the line ends: before the backend itself such a text breaks the stream."""
    script = "tokens=9,text=awkward"
    with pytest.raises(json.JSONDecodeError):
        talk(clients["direct"], script, True)
    assert talk(clients[way], script, stream) == talk(clients["direct"], script, False)


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("error@3", "simulated failure after 3 tokens"),
        ("error-done@3", "simulated failure after 3 tokens"),
        ("truncate@3", "without a terminal marker"),
        ("cut@3", "closed the connection in mid-answer"),
        ("rst@3", "connection reset by peer"),
        ("garbage@3", "not JSON"),
        ("bad-chunk@3", "not HTTP/1.1: not a chunk size"),
    ],
)
def test_a_broken_answer_is_an_exception_that_says_why(
    fault: str, said: str, stream: bool, way: str, clients: dict[str, ollama.Client]
) -> None:
    """Before the backend itself some of these end as if all were well, others with what httpx or json raises."""
    seen = talk(clients[way], f"tokens=9,rate=200,fault={fault}", stream)
    assert seen.error is not None
    assert said in seen.error.error
    assert (seen.text, seen.done) == (" t0 t1 t2" if stream else "", None)


def test_the_backend_itself_can_look_finished(clients: dict[str, ollama.Client]) -> None:
    seen = talk(clients["direct"], "tokens=9,rate=200,fault=truncate@3", True)
    assert (seen.text, seen.error) == (" t0 t1 t2", None)


@pytest.mark.parametrize("status", [400, 404, 429, 500, 503])
def test_a_refusal_is_the_same_exception(
    status: int, stream: bool, way: str, clients: dict[str, ollama.Client]
) -> None:
    through, direct = (talk(clients[name], f"status={status}", stream).error for name in (way, "direct"))
    assert through is not None
    assert direct is not None
    assert (through.status_code, through.error) == (direct.status_code, direct.error) == (status, direct.error)
    assert "simulated failure after 0 tokens" in through.error


def test_giving_up_before_the_first_token_closes_the_backend(
    stream: bool, way: str, backend: Simulated, proxies: dict[str, Penstock]
) -> None:
    """A generator that waits for its first part cannot be closed; its client can lose patience."""
    name = f"ollama-sdk-{way}-prefill-{stream}"
    script = f"first=60s,id={name}"
    with ollama.Client(host=proxies[way].url, timeout=httpx.Timeout(DEADLINE, read=0.3)) as client:
        began = time.monotonic()
        with pytest.raises(httpx.ReadTimeout):
            list(ask(client, script, stream))
        left = time.monotonic()
    assert began <= backend.closed_at(name) <= left + TEARDOWN
    assert proxies[way].outcome(f"sim:{script}")["reason"] == "client_gone"


def test_loading_a_model(way: str, clients: dict[str, ollama.Client]) -> None:
    for name in (way, "direct"):
        answer = clients[name].generate(model="coder")
        assert (answer.response, answer.done, answer.done_reason) == ("", True, "load")


def test_models(way: str, clients: dict[str, ollama.Client]) -> None:
    client, direct = clients[way], clients["direct"]
    names = [model.model for model in direct.list().models]
    assert [model.model for model in client.list().models] == names == ["coder", "writer"]
    assert [model.model for model in client.ps().models] == [model.model for model in direct.ps().models]
    assert "completion" in (client.show("coder").capabilities or [])
    if way == "ollama":
        assert client.show("coder") == direct.show("coder")
        assert client.list() == direct.list()
