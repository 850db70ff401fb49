"""One connection, many requests: none is lost, none is answered twice, and the end is where the client expects it."""

from __future__ import annotations

import json

import pytest
import trio
from house import settle_in

from rawhttp import HOST, OLLAMA_CHAT, Client, call, connected, get, post

CHUNKED = call("sim:tokens=1")
COUNTED = call("sim:tokens=1", stream=False)
REFUSED = call("sim:tokens=1", messages=5)


@pytest.mark.parametrize(
    "requests",
    [[COUNTED], [CHUNKED], [REFUSED], [get("/health")], [CHUNKED, COUNTED, REFUSED, get("/v1/models")]],
    ids=["counted", "chunked", "refused", "page", "mixed"],
)
async def test_the_next_request_right_after_an_answer_is_never_lost(
    requests: list[bytes], nursery: trio.Nursery
) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(30):
        async with connected(house.address) as client:
            for number in range(300):
                await client.send(requests[number % len(requests)])
                status, headers, body = await client.answer()
                assert status in (200, 400, 404) and body and not client.buffer
                assert headers.get("connection") != "close"


@pytest.mark.heavy
@pytest.mark.parametrize("request_", [COUNTED, CHUNKED], ids=["counted", "chunked"])
async def test_two_thousand_requests_over_one_connection(request_: bytes, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(120):
        async with connected(house.address) as client:
            for _ in range(2_000):
                await client.send(request_)
                assert (await client.answer())[0] == 200


@pytest.mark.parametrize("stray", [b"\r\n", b"\n", b"\r\n\r\n"], ids=["CRLF", "LF", "two"])
@pytest.mark.parametrize("request_", [COUNTED, CHUNKED], ids=["counted", "chunked"])
async def test_a_line_end_after_a_body_is_no_request(stray: bytes, request_: bytes, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            for _ in range(3):
                await client.send(request_ + stray)
                assert (await client.answer())[0] == 200
                await client.send(stray)


@pytest.mark.parametrize("request_", [COUNTED, CHUNKED, get("/health")], ids=["counted", "chunked", "page"])
@pytest.mark.parametrize("pause", [False, True], ids=["at once", "while the first runs"])
async def test_pipelined_requests_are_answered_or_the_connection_is_closed(
    request_: bytes, pause: bool, nursery: trio.Nursery
) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(request_)
            if pause:
                await trio.testing.wait_all_tasks_blocked()
            await client.send(request_ * 2)
            answers = (await client.rest()).count(b"HTTP/1.1 200 ")
        assert 1 <= answers <= 3
        await house.nothing_left()
    # whoever got no answer has caused no work
    assert house.simulation.records.counters.requests <= answers


async def test_close_is_announced_when_a_request_came_too_early(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(call("sim:tokens=1,first=100ms") + get("/health"))
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert body.endswith(b"data: [DONE]\n\n")
            assert await client.rest() == b""


async def test_a_request_that_comes_while_a_stream_runs_is_never_left_without_an_end(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(call("sim:tokens=10,rate=100"))
            head = await client.until(b" t1")
            await client.send(get("/health"))
            rest = await client.rest()
    assert head.startswith(b"HTTP/1.1 200 ")
    assert b"data: [DONE]\n\n\r\n0\r\n\r\n" in rest


async def test_whoever_sends_without_end_during_an_answer_is_cut(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(call("sim:fault=mute"))
            await house.until(lambda: house.simulation.records.counters.running == 1)
            with pytest.raises(trio.BrokenResourceError):
                await send_for_ever(client)
        await house.nothing_left()
        assert (await house.outcomes.receive()).reason == "client_gone"


async def test_whoever_sends_without_end_and_reads_nothing_is_cut(
    nursery: trio.Nursery, caplog: pytest.LogCaptureFixture
) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address, receive_buffer=4096) as client:
            await client.send(call("sim:tokens=10000000,width=4000"))
            await house.until(lambda: any(stream.bytes_out > 1_000_000 for stream in house.daemon.state.live))
            with pytest.raises(trio.BrokenResourceError):
                await send_for_ever(client)
        await house.nothing_left()
        await house.until(lambda: house.daemon._listener.connections == 0)
    assert not caplog.records


async def send_for_ever(client: Client) -> None:
    while True:
        await client.send(get("/health") * 100)


@pytest.mark.parametrize("request_", [COUNTED, CHUNKED, get("/v1/models")], ids=["counted", "chunked", "list"])
async def test_close_is_honoured(request_: bytes, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(request_.replace(HOST.encode(), HOST.encode() + b"\r\nConnection: close"))
            status, headers, _ = await client.answer()
            assert (status, headers["connection"]) == (200, "close")
            assert await client.rest() == b""


@pytest.mark.parametrize("path", ["/v1/chat/completions", OLLAMA_CHAT])
async def test_http_1_0_gets_bytes_without_frames_and_a_close(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(call("sim:tokens=3", path=path).replace(b"HTTP/1.1", b"HTTP/1.0"))
            status, headers = await client.head()
            body = (await client.rest()).decode()
    assert status == 200
    assert "transfer-encoding" not in headers and headers["connection"] == "close"
    lines = [line.removeprefix("data: ") for line in body.split("\n") if line]
    assert all(json.loads(line) for line in lines if line != "[DONE]")
    assert len(lines) >= 4


@pytest.mark.parametrize("path", ["/", "/health", "/metrics", "/v1/models", "/api/tags", "/api/version"])
async def test_a_head_request_gets_the_head_alone(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(20):
        async with connected(house.address) as client:
            for _ in range(2):
                await client.send(get(path, method="HEAD"))
                status, _ = await client.head()
                assert status == 200
            await client.send(get("/health"))
            status, headers, body = await client.answer()
            assert (status, len(body)) == (200, int(headers["content-length"]))


async def test_a_client_that_waits_for_100_continue_gets_it(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    request = call("sim:tokens=1", "Expect: 100-continue")
    head, _, body = request.partition(b"\r\n\r\n")
    with trio.fail_after(20):
        async with connected(house.address) as client:
            for _ in range(2):
                await client.send(head + b"\r\n\r\n")
                assert (await client.head())[0] == 100
                await client.send(body)
                assert (await client.answer())[0] == 200


async def test_a_websocket_is_refused(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    upgrade = (
        "Connection: Upgrade",
        "Upgrade: websocket",
        "Sec-WebSocket-Version: 13",
        f"Sec-WebSocket-Key: {'A' * 22}==",
    )
    with trio.fail_after(20):
        for path in ("/", "/v1/chat/completions", "/nowhere"):
            async with connected(house.address) as client:
                await client.send(get(path, *upgrade))
                status, _ = await client.head()
                assert 400 <= status < 500
                await client.sees_the_close()
        await house.until(lambda: house.daemon._listener.connections == 0)


async def test_a_body_in_many_small_chunks(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    head, _, body = post("/v1/chat/completions", call("sim:tokens=1").partition(b"\r\n\r\n")[2]).partition(b"\r\n\r\n")
    head = head.rsplit(b"\r\n", 1)[0] + b"\r\nTransfer-Encoding: chunked"
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(head + b"\r\n\r\n")
            await client.send(b"".join(b"1\r\n%c\r\n" % byte for byte in body) + b"0\r\n\r\n")
            assert (await client.answer())[0] == 200
