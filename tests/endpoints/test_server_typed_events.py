"""Typed events end to end: scripts, EventSource, failures in and before the stream."""

from __future__ import annotations

import pytest
import trio
from between import events, house, simulated

from penstock.chat.reasons import Reason
from penstock.config.model import BackendKind

PATH = "/api/chat/stream"


@pytest.mark.parametrize("kind", ["openai", "ollama", "koboldcpp"])
@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_a_message_is_answered_in_named_events(nursery: trio.Nursery, kind: BackendKind, method: str) -> None:
    backend = await simulated(nursery, kind, "tokens=2,thinking=1,tools=1")
    async with house(nursery, {"b": backend}, {"m": ("b",)}) as it:
        asked = {"message": "what & why?"}
        answer = await (it.ask(method, PATH, asked) if method == "POST" else it.ask(method, PATH, params=asked))
        assert answer.headers["content-type"].startswith("text/event-stream")
        assert answer.content.startswith(b"id: " + answer.headers["x-penstock-stream"].encode() + b"\n")
        body = answer.content.partition(b"\n")[2]
        assert [name for name, _ in events(body)] == ["thinking", "token", "token", "tool", "done"]
        *_, (_, tool), (_, done) = events(body)
        assert (tool["name"], done["reason"]) == ("get_weather", "tool_calls")
        outcome = await it.outcome()
        assert (outcome.reason, outcome.dialect, outcome.model) == (Reason.COMPLETED, "typed_events", "m")


@pytest.mark.parametrize("method", ["GET", "POST"])
async def test_without_a_message_it_is_refused(nursery: trio.Nursery, method: str) -> None:
    async with house(nursery, {"b": await simulated(nursery, "openai")}) as it:
        answer = await it.ask(method, PATH, {} if method == "POST" else None)
        assert answer.status_code == 400
        assert set(answer.json()) == {"error", "reason"}


async def test_a_browser_that_connects_again_gets_no_second_answer(nursery: trio.Nursery) -> None:
    async with house(nursery, {"b": await simulated(nursery, "openai")}) as it:
        answer = await it.ask("GET", PATH, params={"message": "hi"}, headers={"Last-Event-ID": "7f3k"})
        assert (answer.status_code, answer.content) == (204, b"")
        assert it.daemon.state.backends["b"].transport.idle == 0, "nobody was asked"


async def test_a_failure_in_mid_answer_is_the_last_event(nursery: trio.Nursery) -> None:
    backend = await simulated(nursery, "openai", "tokens=4,fault=truncate@2")
    async with house(nursery, {"b": backend}, {"m": ("b",)}) as it:
        answer = await it.ask("POST", PATH, {"message": "hi"})
        assert answer.status_code == 200
        *_, (name, error) = events(answer.content.partition(b"\n")[2])
        assert (name, error["reason"]) == ("error", "backend_truncated")


async def test_the_model_may_be_named_or_is_the_first(nursery: trio.Nursery) -> None:
    backend = await simulated(nursery, "openai", "tokens=1", models={"first": "", "second": ""})
    async with house(nursery, {"b": backend}) as it:
        for asked, model in (({}, "first"), ({"model": "second"}, "second")):
            await it.ask("POST", PATH, {"message": "hi", **asked})
            assert (await it.outcome()).model == model
