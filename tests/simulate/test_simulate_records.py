"""What the stand-in saw: closes, times, tokens, and the pages that tell them."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from typing import Any

import pytest
import trio
from rawclient import CHAT, OLLAMA_CHAT, Client, answer, ask

from penstock.simulate.records import Counters
from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import settled

#: On a machine that does other things too; seconds.
SOON = 0.9


async def leave_by_fin(client: Client) -> None:
    # a close with unread bytes would be an RST
    await client.stream.send_eof()


async def leave_by_rst(client: Client) -> None:
    client.reset()


PHASES = [
    ("fault=mute", "working"),
    ("first=60s", "head"),
    ("headers=60s", "working"),
    ("fault=silence@3", "token"),
    ("tokens=9,rate=0.01", "token"),
    ("fault=never-close", "token"),
    ("fault=mute", "asked"),
]


@pytest.mark.parametrize(("leave", "how"), [(leave_by_fin, "fin"), (leave_by_rst, "rst")])
@pytest.mark.parametrize(("script", "phase"), PHASES)
@pytest.mark.parametrize("stream", [True, False])
async def test_a_close_is_seen_at_once_in_every_phase(
    simulation: Simulation, leave: Callable[[Client], Any], how: str, script: str, phase: str, stream: bool
) -> None:
    if not stream and phase in ("head", "token"):
        script, phase = script.replace("first=60s", "first=60s,ping=1s"), "working"
    delays = []
    for number in range(5):
        name = f"{number}"
        client = await ask(simulation, CHAT, script, f"x-simulate-id: {name}", stream=stream)
        await get(simulation, f"/simulate/streams/{name}?wait=5&for={phase}")
        before = time.monotonic()
        await leave(client)
        await simulation.records.until(lambda name=name: simulation.records.stream(name)[0].end is not None)
        (record,) = simulation.records.stream(name)
        assert (record.end, record.peer_close) == ("peer_closed", how)
        assert record.peer_closed_at is not None
        delays.append(record.peer_closed_at - before)
        await client.stream.aclose()
    # the least of five is the stand-in's own, the others may be the machine's
    assert 0 < min(delays) < 0.020
    assert max(delays) < SOON


async def test_a_close_is_seen_while_the_client_does_not_read(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=100000000,id=stalled")
    (record,) = await stalled(simulation, "stalled")
    before = time.monotonic()
    await client.stream.aclose()
    await simulation.records.until(lambda: record.end is not None)
    assert record.peer_closed_at is not None
    assert record.peer_closed_at - before < SOON
    assert record.tokens_at_close == record.tokens > 0


async def stalled(simulation: Simulation, name: str) -> list[Any]:
    """The records of a stream once it sends nothing more."""
    await simulation.records.until(lambda: bool(simulation.records.stream(name)))
    await settled(lambda: simulation.records.counters.tokens)
    return simulation.records.stream(name)


async def test_a_close_is_seen_by_one_who_must_not_read(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "id=d,fault=deaf", prompt="x" * 100_000)
    await simulation.records.until(lambda: bool(simulation.records.stream("d")))
    await client.stream.aclose()
    (record,) = simulation.records.stream("d")
    await simulation.records.until(lambda: record.end is not None)
    assert (record.end, record.peer_close) == ("peer_closed", "fin")


async def test_tokens_at_the_close_are_counted(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=9,id=t,fault=silence@7")
    await client.until(b" t6")
    await client.stream.aclose()
    await simulation.records.until(lambda: simulation.records.counters.running == 0)
    assert simulation.records.stream("t")[0].tokens_at_close == 7


async def test_times_follow_each_other(simulation: Simulation) -> None:
    await answer(simulation, OLLAMA_CHAT, "tokens=3,rate=100,first=20ms,id=o")
    await simulation.records.until(lambda: simulation.records.counters.open == 0)
    (record,) = simulation.records.stream("o")
    connection = simulation.records.connections[0]
    assert record.slot_at is not None
    assert record.first_token_at is not None
    seen = [
        connection.accepted_at,
        record.parsed_at,
        record.slot_at,
        record.first_byte_at,
        record.first_token_at,
        record.last_byte_at,
        record.ended_at,
        connection.peer_closed_at,
        connection.closed_at,
    ]
    assert seen == sorted(seen)
    assert record.first_token_at - record.slot_at >= 0.020
    assert record.end == "done"


async def test_slots_queue_without_a_byte(nursery: trio.Nursery) -> None:
    simulation = await nursery.start(serve, Settings(slots=1))
    counters = simulation.records.counters
    first = await ask(simulation, CHAT, "fault=silence")
    await simulation.records.until(lambda: counters.running == 1)
    second = await ask(simulation, CHAT, "fault=silence")
    await simulation.records.until(lambda: counters.queued == 1)
    third = await ask(simulation, CHAT, "tokens=1")
    await simulation.records.until(lambda: counters.queued == 2)
    assert await second.silent()
    await second.stream.aclose()
    await simulation.records.until(lambda: counters.queued == 1)
    await first.stream.aclose()
    _, headers = await third.head()
    await third.body(headers)
    await third.stream.aclose()
    await simulation.records.until(lambda: counters.open == 0)
    assert (counters.queued, counters.running, counters.cancelled_by_peer) == (0, 0, 2)


async def test_a_runaway_keeps_its_slot(nursery: trio.Nursery) -> None:
    simulation = await nursery.start(serve, Settings(slots=1))
    first = await ask(simulation, CHAT, "tokens=10,rate=100,id=r,fault=runaway")
    await first.until(b" t1")
    await first.stream.aclose()
    await answer(simulation, CHAT, "tokens=1,id=next")
    runaway, after = simulation.records.stream("r")[0], simulation.records.stream("next")[0]
    assert after.slot_at >= runaway.ended_at - 0.01


async def test_one_connection_serves_many_requests(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=1")
    async with client.stream:
        # the second one comes before the first is answered
        for path in (CHAT, OLLAMA_CHAT):
            status, headers = await client.head()
            assert (status, bool(await client.body(headers))) == (200, True)
            if path == CHAT:
                await client.stream.send_all(request("POST", OLLAMA_CHAT, b'{"model":"sim:tokens=1","messages":["x"]}'))
    assert [len(connection.requests) for connection in simulation.records.connections] == [2]


async def test_a_request_sent_early_is_answered_after(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=3,rate=50")
    async with client.stream:
        await client.head()
        await client.stream.send_all(request("GET", "/api/version"))
        await client.chunks()
        _, headers = await client.head()
        assert b"version" in await client.body(headers)


# --- limits and HTTP -------------------------------------------------------------------------------------------------


def request(method: str, target: str, body: bytes = b"", *headers: str, version: str = "1.1") -> bytes:
    lines = [f"{method} {target} HTTP/{version}", "Host: s", *headers, f"Content-Length: {len(body)}", "", ""]
    return "\r\n".join(lines).encode() + body


async def send(simulation: Simulation, data: bytes) -> tuple[int, dict[str, str], bytes]:
    client = await Client.connect(simulation)
    async with client.stream:
        await client.stream.send_all(data)
        status, headers = await client.head()
        return status, headers, await client.body(headers)


async def get(simulation: Simulation, target: str, method: str = "GET") -> Any:
    status, _, body = await send(simulation, request(method, target))
    return status, json.loads(body)


@pytest.mark.parametrize(
    ("data", "status"),
    [
        (request("POST", CHAT, b"x" * 2000), 413),
        (b"GET / HTTP/1.1\r\nX: " + b"x" * 5000, 431),
        (b"nonsense\r\n\r\n", 400),
    ],
)
async def test_what_is_no_request_is_refused(nursery: trio.Nursery, data: bytes, status: int) -> None:
    simulation = await nursery.start(serve, Settings(body=1000, head=2000))
    seen, headers, _ = await send(simulation, data)
    assert (seen, headers["connection"]) == (status, "close")
    await simulation.records.until(lambda: simulation.records.counters.open == 0)


async def test_the_connection_cap_leaves_the_rest_in_the_kernel(nursery: trio.Nursery) -> None:
    simulation = await nursery.start(serve, Settings(connections=1))
    first = await ask(simulation, CHAT, "tokens=1")
    await first.head()
    second = await ask(simulation, CHAT, "tokens=1")
    assert await second.silent()
    await first.stream.aclose()
    assert (await second.head())[0] == 200
    await second.stream.aclose()


async def test_expect_continue(simulation: Simulation) -> None:
    client = await Client.connect(simulation)
    async with client.stream:
        whole = request("POST", CHAT, b'{"model":"sim:tokens=1"}', "Expect: 100-continue")
        head, _, body = whole.partition(b"\r\n\r\n")
        await client.stream.send_all(head + b"\r\n\r\n")
        assert await client.until(b"\r\n\r\n") == b"HTTP/1.1 100 \r\n\r\n"
        await client.stream.send_all(body)
        assert (await client.head())[0] == 200


@pytest.mark.parametrize(("version", "header"), [("1.0", "X: y"), ("1.1", "Connection: close")])
async def test_it_closes_when_the_client_wants_no_more(simulation: Simulation, version: str, header: str) -> None:
    body = b'{"model":"sim:tokens=1","stream":true}'
    client = await Client.connect(simulation)
    async with client.stream:
        await client.stream.send_all(request("POST", CHAT, body, header, version=version))
        _, headers = await client.head()
        assert ("transfer-encoding" in headers) is (version == "1.1")
        assert (await client.rest()).endswith(b"[DONE]\n\n" if version == "1.0" else b"0\r\n\r\n")


# --- names -----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("headers", "script", "fields", "name"),
    [
        (["x-simulate-id: header"], "id=script", {"user": "user"}, "header"),
        ([], "id=script", {"user": "user"}, "script"),
        ([], "", {"user": "user"}, "user"),
    ],
)
async def test_who_names_a_stream(
    simulation: Simulation, headers: list[str], script: str, fields: dict[str, str], name: str
) -> None:
    await answer(simulation, CHAT, script, *headers, **fields)
    assert len(simulation.records.stream(name)) == 1


async def test_the_header_wins_and_names_have_scripts(nursery: trio.Nursery) -> None:
    settings = Settings(script="tokens=2", models={"coder": "tokens=3"})
    simulation = await nursery.start(serve, settings)

    async def tokens(model: str, *headers: str) -> int:
        await answer(simulation, CHAT, "", "x-simulate-id: n", *headers, model=model)
        return simulation.records.stream("n")[-1].tokens

    assert await tokens("coder") == 3
    assert await tokens("whatever") == 2
    assert await tokens("sim:tokens=4") == 4
    assert await tokens("sim:tokens=4", "x-simulate: tokens=5") == 5
    assert await tokens("coder", "x-simulate: sim:tokens=6") == 6


# --- pages -----------------------------------------------------------------------------------------------------------


async def test_the_pages(simulation: Simulation) -> None:
    await answer(simulation, CHAT, "tokens=3,id=a/b")
    await answer(simulation, CHAT, "tokens=2", "X-Extra: kept")
    await simulation.records.until(lambda: simulation.records.counters.open == 0)
    status, connections = await get(simulation, "/simulate/connections")
    assert status == 200
    assert [connection["number"] for connection in connections] == [1, 2]
    assert ["x-extra", "kept"] in connections[1]["requests"][0]["headers"]
    assert [c["number"] for c in (await get(simulation, "/simulate/connections?last=1"))[1]] == [2]
    _, streams = await get(simulation, "/simulate/streams/a%2Fb")
    assert [(stream["tokens"], stream["end"], stream["connection"]) for stream in streams] == [(3, "done", 1)]
    _, counters = await get(simulation, "/simulate/counters")
    assert time.monotonic() - counters["now"] < 10
    expected = {"accepted": 2, "closed": 2, "open": 0, "requests": 2, "done": 2, "tokens": 5, "probes": 0}
    assert counters.items() >= expected.items(), "whoever reads the records is not counted"


async def test_reset_forgets_all_but_what_is_open(simulation: Simulation) -> None:
    await answer(simulation, CHAT, "tokens=3,id=a")
    client = await ask(simulation, CHAT, "fault=mute")
    await simulation.records.until(lambda: simulation.records.counters.running == 1)
    await simulation.records.until(lambda: simulation.records.counters.open == 1)
    assert await get(simulation, "/simulate/reset", "POST") == (200, {"reset": True})
    assert simulation.records.counters == Counters(open=1, running=1)
    assert simulation.records.stream("a") == []
    await client.stream.aclose()
    await simulation.records.until(lambda: simulation.records.counters.open == 0)


async def test_a_reader_can_wait_for_a_state(simulation: Simulation, nursery: trio.Nursery) -> None:
    seen: list[Any] = []

    async def wait() -> None:
        seen.extend((await get(simulation, "/simulate/streams/w?wait=5&for=closed"))[1])

    async with trio.open_nursery() as waiting:
        waiting.start_soon(wait)
        client = await ask(simulation, CHAT, "id=w,fault=silence@2")
        await client.until(b" t1")
        assert seen == []
        await client.stream.aclose()
    assert (seen[0]["peer_close"], seen[0]["tokens_at_close"]) == ("fin", 2)


@pytest.mark.parametrize(
    ("target", "status", "part"),
    [
        ("/simulate/streams/none", 404, "no stream with id 'none'"),
        ("/simulate/streams/none?wait=x", 400, "wait= takes seconds"),
        ("/simulate/streams/none?for=x", 400, "for= one of asked, working"),
        ("/simulate", 404, "no such page"),
        ("/simulate/else", 404, "no such page"),
    ],
)
async def test_pages_say_what_is_wrong(simulation: Simulation, target: str, status: int, part: str) -> None:
    seen, body = await get(simulation, target)
    assert seen == status
    assert part in body["error"]


async def test_the_records_are_bounded(nursery: trio.Nursery) -> None:
    simulation = await nursery.start(serve, Settings(keep=3))
    for number in range(5):
        await answer(simulation, CHAT, f"tokens=1,id={number}")
    assert [connection.number for connection in simulation.records.connections] == [3, 4, 5]
    assert [len(simulation.records.stream(str(number))) for number in range(5)] == [0, 0, 1, 1, 1]
    assert simulation.records.counters.accepted == 5
