"""Every client's language over every kind of backend that cannot stream: the same cells, over whole answers."""

from __future__ import annotations

import pytest

from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.estate import Estate, named
from matrix.facts import Asked
from matrix.scenarios import GOOD
from matrix.table import KINDS, dropped, rule_of
from matrix.test_matrix import both_ways, expected, heard, told, without_tools

pytestmark = pytest.mark.heavy

CELLS = [
    pytest.param(client, kind, id=f"{client.name}-{kind}")
    for client in CLIENTS.values()
    for kind in KINDS
    if (rule := rule_of(client.name, kind, "text")) is None or rule.how != "refused"
]


def like(client: Client, kind: str) -> str:
    """The kind by whose rules a cell goes: responses are asked for as chats here, of those too that have them."""
    return "openai" if client.dialect == "responses" and kind in ("lmstudio", "vllm") else kind


@pytest.mark.parametrize("scenario", GOOD)
@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_good_answer(estate: Estate, client: Client, kind: str, scenario: str) -> None:
    it = GOOD[scenario]
    rules = like(client, kind)
    rule = rule_of(client.name, rules, it.feature)
    how = rule.how if rule else None
    unsaid = how in ("dropped", "unread")

    async def check(stream: bool) -> None:
        script = without_tools(it.script) if unsaid else it.script
        name, model = named(f"whole-{kind}", f"{script},fault=no-stream")
        status, headers, body = await client.answered(
            estate.daemon, model, stream=stream, **client.says.get(it.feature, {})
        )
        assert status == 200, body
        assert headers.get("x-penstock-dropped") == dropped(client.name, rules, it.feature)
        assert told(client, body, it, stream) == expected(it, client, rules, stream)
        record = await estate.record(name)
        asked = Asked() if unsaid else it.partly if how == "partly" else it.asked
        assert heard(record["path"], record["body"], it.feature) == asked

    await both_ways(client, check)


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_refusal_keeps_its_status(estate: Estate, client: Client, kind: str) -> None:
    async def check(stream: bool) -> None:
        _, model = named(f"whole-{kind}", "status=429,retry-after=7")
        status, headers, body = await client.answered(estate.daemon, model, stream=stream)
        assert (status, headers["retry-after"]) == (429, "7")
        assert client.refusal(body) == "simulated failure after 0 tokens"

    await both_ways(client, check)


@pytest.mark.parametrize("fault", ["cut@2", "rst@2", "garbage@2", "hangup"])
@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_a_failure_has_a_status(estate: Estate, client: Client, kind: str, fault: str) -> None:
    """Nothing was told yet, not even a token."""

    async def check(stream: bool) -> None:
        _, model = named(f"whole-{kind}", f"tokens=5,fault=no-stream,fault={fault}")
        status, _, body = await client.answered(estate.daemon, model, stream=stream)
        assert status == 502, body
        assert client.refusal(body)

    await both_ways(client, check)


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_the_backend_sees_the_client_leave(estate: Estate, client: Client, kind: str) -> None:
    async def check(stream: bool) -> None:
        name, model = named(f"whole-{kind}", "fault=no-stream,first=1h")
        asker = await client.ask(estate.daemon, model, stream=stream)
        async with asker.stream:
            await estate.record(name, "asked")
        assert (await estate.record(name, "ended"))["end"] == "peer_closed"

    await both_ways(client, check)
