"""Every client's language over every kind of backend: one table, one test a cell, streamed and in one piece.

Daemon, backend and client are joined by real sockets.  What the table says to be lost is seen to be lost as it says.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from typing import get_args

import msgspec
import pytest
import trio

from matrix import backends
from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.clients_paths import LMStudioChat
from matrix.estate import ALONE, HASTE, Estate, named
from matrix.facts import Answer, Asked
from matrix.scenarios import BAD, GOOD, PLAIN, Scenario
from matrix.table import FEATURES, KINDS, RULES, VARIANTS, dropped, rule_of
from penstock.config.model import BackendKind
from penstock.dialects.registry import NORTHBOUND
from rawhttp import answered, get, post


def is_variant(client: Client, kind: str) -> bool:
    """Whether only the heavy tests ask this cell: it differs from another in words that no test is about."""
    return kind in VARIANTS or isinstance(client, LMStudioChat)


CELLS = [
    pytest.param(client, kind, id=f"{client.name}-{kind}", marks=[pytest.mark.heavy] * is_variant(client, kind))
    for client in CLIENTS.values()
    for kind in KINDS
]
#: Seconds in which everything here is over, on a machine that is busy with other things.
DEADLINE = 60.0


def test_every_language_is_in_the_table() -> None:
    assert {client.dialect for client in CLIENTS.values()} == set(NORTHBOUND)
    assert {*KINDS, "simulate"} == set(get_args(BackendKind))


def test_every_feature_is_tried() -> None:
    assert {scenario.feature for scenario in GOOD.values()} == set(FEATURES)
    said = {feature for feature in FEATURES if feature not in ("text", "thinking", "usage")}
    assert all(set(client.says) == said for client in CLIENTS.values())


def test_no_feature_has_two_rules_and_no_rule_is_about_nobody() -> None:
    for client in CLIENTS:
        for kind in KINDS:
            for feature in FEATURES:
                rule_of(client, kind, feature)
    assert all(set(rule.clients) <= set(CLIENTS) and set(rule.kinds) <= set(KINDS) for rule in RULES)


def beat(client: Client, kind: str, stream: bool) -> bytes:
    """A sign of life; where a stream is passed on event by event, a comment, which takes no number."""
    if stream and client.dialect == "responses" and kind in VARIANTS:
        return b": keep-alive\n"
    return client.beat(stream)


async def both_ways(client: Client, check: Callable[[bool], Awaitable[None]]) -> None:
    """Streamed and in one piece at the same time, as far as there is both."""
    with trio.fail_after(DEADLINE):
        async with trio.open_nursery() as nursery:
            for stream in client.ways:
                nursery.start_soon(check, stream)


# --- good answers ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("kind", VARIANTS)
async def test_a_kind_of_servers_that_speak_openai(estate: Estate, kind: str) -> None:
    """A few of its cells every day; the heavy tests ask the others."""
    for name in ("OpenAI chat", "Ollama chat", "Anthropic messages", "KoboldCpp generate", "LM Studio chat"):
        await good_answer(estate, CLIENTS[name], kind, "two calls")
        await good_answer(estate, CLIENTS[name], kind, "sampling")


@pytest.mark.parametrize("scenario", GOOD)
@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_good_answer(estate: Estate, client: Client, kind: str, scenario: str) -> None:
    await good_answer(estate, client, kind, scenario)


async def good_answer(estate: Estate, client: Client, kind: str, scenario: str) -> None:
    it = GOOD[scenario]
    rule = rule_of(client.name, kind, it.feature)
    how = rule.how if rule else None
    unsaid = how in ("dropped", "unread")

    async def check(stream: bool) -> None:
        server = ALONE if (kind, it.feature) == ("koboldcpp", "usage") else kind
        name, model = named(server, without_tools(it.script) if unsaid else it.script)
        said = client.says.get(it.feature, {})
        status, headers, body = await client.answered(estate.daemon, model, stream=stream, **said)
        if how == "refused":
            assert status == 400
            assert rule is not None and rule.says in client.refusal(body)
            assert not await estate.asked(name)
            return
        assert status == 200, body
        assert headers["x-penstock-target"] == f"{server}/{model}"
        assert headers.get("x-penstock-dropped") == dropped(client.name, kind, it.feature)
        assert told(client, body, it, stream) == expected(it, client, kind, stream)
        record = await estate.record(name)
        asked = Asked() if unsaid else it.partly if how == "partly" else it.asked
        assert heard(record["path"], record["body"], it.feature) == asked

    await both_ways(client, check)


def without_tools(script: str) -> str:
    """The script of a backend that is shown no tools, and so calls none."""
    return ",".join([part for part in script.split(",") if not part.startswith("tools=")])


def told(client: Client, body: bytes, it: Scenario, stream: bool) -> Answer:
    """What the client was told; of the counts only where the scenario is about them."""
    answer = client.read(body, stream=stream)
    if it.feature != "usage":
        answer.usage = None
    return answer


def expected(it: Scenario, client: Client, kind: str, stream: bool) -> Answer:
    """What the client must be told: all of it, but for what the table says."""
    answer = msgspec.structs.replace(it.answer)
    if rule_of(client.name, kind, "tools") is not None:
        answer.calls = []
        answer.finish = "stop" if answer.finish == "tool_calls" else answer.finish
    if rule_of(client.name, kind, "thinking") is not None:
        answer.thinking = ""
    if it.feature == "usage" and rule_of(client.name, kind, "usage") is not None:
        answer.usage = None if stream else answer.usage
    return answer


def heard(path: str, body: str, feature: str) -> Asked:
    """What the backend was asked; of the sampling only where the scenario is about it."""
    asked = backends.asked(path, body)
    if feature != "sampling":
        asked.sampling = Asked().sampling
    return asked


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_backend_that_cannot_stream(estate: Estate, client: Client, kind: str) -> None:
    """Its client gets heartbeats while it works, and then a stream like any other, in pieces."""

    async def check(stream: bool) -> None:
        said = client.says["tools"] if rule_of(client.name, kind, "tools") is None else {}
        script = f"tokens=40,thinking=1,tools=2,fault=no-stream,first={3 * HASTE}"
        _, model = named(f"whole-{kind}", script if said else without_tools(script))
        status, _, body = await client.answered(estate.impatient, model, stream=stream, **said)
        if chatless(client, kind):
            assert status == 400
            return
        assert status == 200
        assert client.beat(stream) in body[: body.index(b"t0")]
        answer = client.read(body, stream=stream)
        assert answer.text == "".join([f" t{number}" for number in range(40)])
        assert answer.thinking == ("" if rule_of(client.name, kind, "thinking") else " r0")
        assert (len(answer.calls), answer.finish, answer.error) == (
            (2, "tool_calls", None) if said else (0, "stop", None)
        )
        if stream:
            piece = body[body.index(b"t0") :].partition(b"\n")[0]
            assert b"t19" in piece
            assert b"t25" not in piece

    await both_ways(client, check)


@pytest.mark.parametrize("kind", KINDS)
async def test_tokens_are_counted_where_the_backend_can(estate: Estate, kind: str) -> None:
    """The stand-in counts characters; for all others penstock guesses."""
    client = CLIENTS["Anthropic messages"]
    body = json.dumps(client.body(named(kind, "")[1], False)).encode()
    status, _, answer = await answered(estate.daemon, post("/v1/messages/count_tokens", body))
    assert (status, json.loads(answer)) == (200, {"input_tokens": 5 if kind == "anthropic" else 6})


# --- bad answers -----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_refusal_keeps_its_status(estate: Estate, client: Client, kind: str) -> None:
    async def check(stream: bool) -> None:
        _, model = named(kind, "status=429,retry-after=7")
        status, headers, body = await client.answered(estate.daemon, model, stream=stream)
        if chatless(client, kind):
            assert status == 400
            return
        assert (status, headers["retry-after"], headers["content-type"]) == (429, "7", "application/json")
        assert client.refusal(body) == "simulated failure after 0 tokens"

    await both_ways(client, check)


@pytest.mark.parametrize("failure", BAD)
@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_failure_in_mid_answer(estate: Estate, client: Client, kind: str, failure: str) -> None:
    it = BAD[failure]

    async def check(stream: bool) -> None:
        _, model = named(kind, f"tokens=5,fault={it.fault}@2")
        status, _, body = await client.answered(estate.daemon, model, stream=stream)
        if chatless(client, kind):
            assert status == 400
        elif stream:
            assert status == 200
            answer = client.read(body, stream=True)
            assert (answer.text, answer.finish) == (" t0 t1", None)
            assert answer.error is not None and it.message in answer.error
        else:
            assert status in it.statuses
            assert it.message in client.refusal(body)

    await both_ways(client, check)


def chatless(client: Client, kind: str) -> bool:
    """Whether nothing can be asked in this cell."""
    rule = rule_of(client.name, kind, "text")
    return rule is not None and rule.how == "refused"


# --- waiting and leaving ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_slow_first_token_is_bridged_by_heartbeats(estate: Estate, client: Client, kind: str) -> None:
    async def check(stream: bool) -> None:
        _, model = named(kind, f"tokens=3,first={5 * HASTE}")
        status, _, body = await client.answered(estate.impatient, model, stream=stream)
        if chatless(client, kind):
            assert status == 400
            return
        assert status == 200
        assert beat(client, kind, stream) in body[: body.index(b"t0")]
        answer = client.read(body, stream=stream)
        assert (answer.text, answer.finish, answer.error) == (PLAIN.text, PLAIN.finish, None)

    await both_ways(client, check)


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
async def test_heartbeats_between_tokens_disturb_nothing(estate: Estate, client: Client) -> None:
    """Where frames are passed on, and where they are made anew."""

    async def check(stream: bool) -> None:
        for kind in {"llamacpp", client.dialect} & set(KINDS):
            script = f"tokens=2,thinking=2,tools=1,fragments=1,rate={1 / (3 * HASTE)}"
            said = client.says["tools"] if rule_of(client.name, kind, "tools") is None else {}
            name, model = named(kind, script if said else without_tools(script))
            _, _, body = await client.answered(estate.impatient, model, stream=stream, **said)
            assert beat(client, kind, stream) in body
            answer = client.read(body, stream=stream)
            assert (answer.text, answer.error, len(answer.calls)) == (" t0 t1", None, 1 if said else 0), name

    await both_ways(client, check)


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_heartbeats_go_on_until_the_client_leaves(estate: Estate, client: Client, kind: str) -> None:
    async def check(stream: bool) -> None:
        name, model = named(kind, "first=1h")
        asker = await client.ask(estate.impatient, model, stream=stream)
        async with asker.stream:
            status, _ = await asker.head()
            if chatless(client, kind):
                assert status == 400
                return
            for _ in range(3):
                await asker.until(beat(client, kind, stream))
        assert (await estate.record(name, "ended"))["end"] == "peer_closed"

    await both_ways(client, check)


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_failure_after_a_heartbeat_is_told_in_the_body(estate: Estate, client: Client, kind: str) -> None:
    async def check(stream: bool) -> None:
        _, model = named(kind, f"tokens=3,first={5 * HASTE},status=503")
        asker = await client.ask(estate.impatient, model, stream=stream)
        async with asker.stream:
            status, headers = await asker.head()
            if chatless(client, kind):
                assert status == 400
                return
            assert status == 200
            if stream:
                assert client.read(await asker.body(headers), stream=True).error == "simulated failure after 0 tokens"
                return
            # A body in one piece has no form for it: it is cut, so that nobody takes it for an answer.
            with pytest.raises((trio.BrokenResourceError, AssertionError)):
                await asker.body(headers)

    await both_ways(client, check)


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_the_backend_sees_the_client_leave(estate: Estate, client: Client, kind: str) -> None:
    async def check(stream: bool) -> None:
        name, model = named(kind, "tokens=100000,rate=100")
        asker = await client.ask(estate.daemon, model, stream=stream)
        async with asker.stream:
            if chatless(client, kind):
                assert (await asker.head())[0] == 400
                return
            if stream:
                await asker.until(b" t1")
            else:
                await estate.record(name, "token")
        record = await estate.record(name, "ended")
        assert record["end"] == "peer_closed"
        assert record["tokens_at_close"] < 500, "later than five seconds"

    await both_ways(client, check)


async def test_at_last_nothing_is_left(estate: Estate) -> None:
    """Of all that went on above: no stream, no slot, no place in a queue, no connection in use."""
    with trio.fail_after(DEADLINE):
        for address in (estate.daemon, estate.impatient):
            while (left := await holds(address)) != (0, 0):
                await trio.sleep(0.01)
            assert left == (0, 0)


async def holds(address: str) -> tuple[int, int]:
    """Streams, and connections, slots and places in queues of all backends."""
    _, _, body = await answered(address, get("/health"))
    health = json.loads(body)
    backends = health["backends"].values()
    return sum(health["streams"].values()), sum(b["connections"] + b["busy"] + b["waiting"] for b in backends)
