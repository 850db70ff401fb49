"""The openai SDK before penstock: what an application sees, beside what it sees before the backend itself.

The simulated backend is asked directly, through penstock in its own dialect, and through penstock as an Ollama server.
"""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from typing import Any

import openai
import pytest
from daemons import DEADLINE, TEARDOWN, Penstock, Simulated
from openai.types.chat import ChatCompletion


@dataclass
class Seen:
    """What of a chat reached the application."""

    text: str = ""
    thinking: str = ""
    finish: str | None = None
    usage: int | None = None  #: completion tokens
    error: openai.APIError | None = None


@pytest.fixture(scope="module")
def clients(backend: Simulated, proxies: dict[str, Penstock]) -> Iterator[dict[str, openai.OpenAI]]:
    """A client of the backend itself and one of each penstock before it."""
    servers = {"direct": backend, **proxies}
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(
                openai.OpenAI(base_url=f"{server.url}/v1", api_key="none", max_retries=0, timeout=DEADLINE)
            )
            for name, server in servers.items()
        }


def ask(client: openai.OpenAI, script: str, stream: bool) -> Any:
    wanted: dict[str, Any] = {"model": f"sim:{script}", "messages": [{"role": "user", "content": "Count."}]}
    if stream:
        wanted |= {"stream": True, "stream_options": {"include_usage": True}}
    return client.chat.completions.create(**wanted)


def talk(client: openai.OpenAI, script: str, stream: bool) -> Seen:
    """One chat, to its end or its error."""
    seen = Seen()
    try:
        answer = ask(client, script, stream)
        if stream:
            gather(answer, seen)
        else:
            read(answer, seen)
    except openai.APIError as error:
        seen.error = error
    return seen


def gather(chunks: openai.Stream[openai.types.chat.ChatCompletionChunk], seen: Seen) -> None:
    for chunk in chunks:
        if chunk.usage:
            seen.usage = chunk.usage.completion_tokens
        for choice in chunk.choices:
            delta = choice.delta
            seen.text += delta.content or ""
            seen.thinking += getattr(delta, "reasoning_content", None) or ""
            seen.finish = choice.finish_reason or seen.finish


def read(answer: ChatCompletion, seen: Seen) -> None:
    (choice,) = answer.choices
    seen.text = choice.message.content or ""
    seen.thinking = getattr(choice.message, "reasoning_content", None) or ""
    seen.finish = choice.finish_reason
    seen.usage = answer.usage.completion_tokens if answer.usage else None


@pytest.mark.parametrize(
    "script",
    [
        "tokens=40",
        "tokens=9,text=awkward",
        "tokens=9,finish=length",
        "tokens=0",
        "tokens=9,thinking=5",
        "tokens=4,text=awkward,fault=dribble@2,gap=0.1ms",
        "tokens=4,fault=crlf",
        "tokens=4,ping=10ms,first=50ms",
    ],
)
def test_an_answer_is_the_same(script: str, stream: bool, way: str, clients: dict[str, openai.OpenAI]) -> None:
    through, direct = talk(clients[way], script, stream), talk(clients["direct"], script, stream)
    assert through == direct
    assert through.error is None


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
    fault: str, said: str, stream: bool, way: str, clients: dict[str, openai.OpenAI]
) -> None:
    """Before the backend itself some of these end as if all were well, and most say "Connection error."."""
    seen = talk(clients[way], f"tokens=9,rate=200,fault={fault}", stream)
    assert seen.error is not None
    assert said in seen.error.message
    assert seen.finish in (None, "error")
    assert seen.text == (" t0 t1 t2" if stream else "")


def test_the_backend_itself_can_look_finished(clients: dict[str, openai.OpenAI]) -> None:
    seen = talk(clients["direct"], "tokens=9,fault=truncate@3", True)
    assert (seen.text, seen.error) == (" t0 t1 t2", None)


@pytest.mark.parametrize("status", [400, 404, 413, 429, 500, 503])
def test_a_refusal_is_the_same_exception(
    status: int, stream: bool, way: str, clients: dict[str, openai.OpenAI]
) -> None:
    through, direct = (talk(clients[name], f"status={status},retry-after=7", stream).error for name in (way, "direct"))
    assert isinstance(through, openai.APIStatusError)
    assert isinstance(direct, openai.APIStatusError)
    assert type(through) is type(direct)
    assert through.status_code == status
    assert "simulated failure after 0 tokens" in through.message
    assert through.response.headers.get("retry-after") == "7"


def test_a_key_that_is_wrong_is_not_the_client_s(stream: bool, way: str, clients: dict[str, openai.OpenAI]) -> None:
    """An AuthenticationError would have the user look for a fault in the key that he gave to his editor."""
    error = talk(clients[way], "status=401", stream).error
    assert isinstance(error, openai.InternalServerError)
    assert "the backend refused penstock's key (HTTP 401): simulated failure" in error.message


def test_closing_before_the_first_token_closes_the_backend(
    way: str, clients: dict[str, openai.OpenAI], backend: Simulated, proxies: dict[str, Penstock]
) -> None:
    """…which the application can do before the backend has said anything: the head comes with a heartbeat."""
    name = f"openai-sdk-{way}-prefill"
    model = f"sim:first=60s,id={name}"
    chunks = ask(clients[way], model.removeprefix("sim:"), True)
    left = time.monotonic()
    chunks.close()
    assert backend.closed_at(name) - left <= TEARDOWN
    assert proxies[way].outcome(model)["reason"] == "client_gone"


def test_giving_up_on_a_whole_answer_closes_the_backend(
    way: str, clients: dict[str, openai.OpenAI], backend: Simulated, proxies: dict[str, Penstock]
) -> None:
    name = f"openai-sdk-{way}-whole"
    model = f"sim:tokens=1000,rate=100,first=50ms,id={name}"
    began = time.monotonic()
    with pytest.raises(openai.APITimeoutError):
        ask(clients[way].with_options(timeout=openai.Timeout(DEADLINE, read=0.3)), model.removeprefix("sim:"), False)
    left = time.monotonic()
    assert began <= backend.closed_at(name) <= left + TEARDOWN
    assert proxies[way].outcome(model)["reason"] == "client_gone"


def test_models(way: str, clients: dict[str, openai.OpenAI]) -> None:
    client = clients[way]
    assert [model.id for model in client.models.list()] == ["coder", "writer"]
    assert client.models.retrieve("coder").id == "coder"
    with pytest.raises(openai.NotFoundError, match="model 'coda' not found; near names: coder"):
        client.models.retrieve("coda")


def test_a_repeat_by_the_sdk_itself(way: str, clients: dict[str, openai.OpenAI], backend: Simulated) -> None:
    """A backend that says Retry-After is asked again by the SDK, through penstock too."""
    script = f"tokens=2,fault=loading,retry-after=0,id=openai-sdk-{way}-loading"
    seen = talk(clients[way].with_options(max_retries=2), script, True)
    assert (seen.text, seen.error) == (" t0 t1", None)
