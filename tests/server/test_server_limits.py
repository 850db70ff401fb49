"""What a client may cost: heads and bodies that are slow or large, and connections that are many."""

from __future__ import annotations

import json
import time

import pytest
import trio
from house import settle_in

from penstock.server import connection
from rawhttp import CHAT, HOST, OLLAMA_CHAT, Client, answered, ask, call, connect, connected, get

SHORT = 0.15
#: Sooner than any budget of the defaults, and later than a machine that does other things too; seconds.
SOON = 10
HEAD = f"POST {CHAT} HTTP/1.1\r\n{HOST}\r\n".encode()
#: The answer says why, in the shape of whoever asked.
SHAPES = {CHAT: lambda body: body["error"]["message"], OLLAMA_CHAT: lambda body: body["error"]}


@pytest.mark.parametrize("sent", [b"", b"\r\n"], ids=["nothing", "a line end"])
async def test_a_head_that_does_not_begin_is_not_waited_for(sent: bytes, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"header_time": SHORT})
    begun = time.monotonic()
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(sent)
            assert await client.rest() == b""
    assert SHORT * 0.8 < time.monotonic() - begun < SOON


@pytest.mark.parametrize("sent", [b"GET /hea", HEAD], ids=["a word", "a line"])
async def test_a_slow_head_is_not_waited_for(sent: bytes, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"header_time": SHORT})
    begun = time.monotonic()
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(sent)
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (408, "close")
            assert f"limits.header_time ({SHORT:g} s)" in json.loads(body)["error"]["message"]
            assert await client.rest() == b""
    assert SHORT * 0.8 < time.monotonic() - begun < SOON


async def test_a_head_in_time_is_heard(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"header_time": SOON})
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(b"GET /health HTTP/1.1\r\n")
            await trio.sleep(SHORT)
            await client.send(f"{HOST}\r\n\r\n".encode())
            assert (await client.answer())[0] == 200


async def test_a_trickle_does_not_extend_the_time_of_a_head(nursery: trio.Nursery) -> None:
    """And the refusal reaches whoever goes on with it."""
    house = await settle_in(nursery, limits={"header_time": SHORT})
    begun = time.monotonic()
    with trio.fail_after(20):
        async with connected(house.address) as client, trio.open_nursery() as sending:
            sending.start_soon(trickle, client, HEAD + b"X-A: " + b"a" * 1000)
            assert (await client.answer())[0] == 408
            sending.cancel_scope.cancel()
    # the trickle goes on for longer
    assert time.monotonic() - begun < SOON


async def trickle(client: Client, data: bytes) -> None:
    for byte in data:
        await client.send(bytes([byte]))
        await trio.sleep(0.01)


async def test_a_connection_that_is_not_used_goes(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"header_time": SHORT})
    with trio.fail_after(20):
        async with connected(house.address) as client:
            begun = time.monotonic()
            await client.send(get("/health"))
            await client.answer()
            assert await client.rest() == b""
    assert SHORT * 0.8 < time.monotonic() - begun < SOON


async def test_an_answer_may_take_longer_than_a_head(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"header_time": 0.4, "body_time": 0.4})
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(call("sim:tokens=5,rate=10"))
            status, _, body = await client.answer()
            assert (status, b"[DONE]" in body) == (200, True)


@pytest.mark.parametrize("path", SHAPES)
async def test_a_slow_body(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"body_time": SHORT})
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(f"POST {path} HTTP/1.1\r\n{HOST}\r\nContent-Length: 1000\r\n\r\n{{".encode())
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (408, "close")
            assert "limits.body_time" in SHAPES[path](json.loads(body))
            assert await client.rest() == b""


@pytest.mark.parametrize("path", SHAPES)
async def test_a_body_that_is_announced_too_large_is_refused_at_once(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"body": 1024})
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(f"POST {path} HTTP/1.1\r\n{HOST}\r\nContent-Length: 1025\r\n\r\n".encode())
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (413, "close")
            assert "limits.body" in SHAPES[path](json.loads(body))
            assert await client.rest() == b""


async def test_a_body_that_grows_too_large_is_refused(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"body": 1024})
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(HEAD + b"Transfer-Encoding: chunked\r\n\r\n")
            for _ in range(3):
                await client.send(b"200\r\n" + b" " * 512 + b"\r\n")
            assert (await client.head())[0] == 413


@pytest.mark.parametrize(
    ("head", "piece"),
    [
        (b"Content-Length: 30000000\r\n\r\n", b" " * 65536),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1000\r\n" + b" " * 4096 + b"\r\n"),
        (b"Transfer-Encoding: chunked\r\n\r\n", b"1\r\n \r\n" * 1000),
    ],
    ids=["announced", "chunked", "in tiny chunks"],
)
async def test_the_refusal_reaches_a_client_that_goes_on_sending(
    head: bytes, piece: bytes, nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The client of every day: it sends all of its body before it looks for an answer."""
    # which is done in a moment, but on a machine that is busy
    monkeypatch.setattr(connection, "LINGER", SOON)
    house = await settle_in(nursery, limits={"body": 4096})
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(HEAD + head)
            for _ in range(8_000_000 // len(piece) if len(piece) != 6000 else 30):
                await client.send(piece)
            assert (await client.head())[0] == 413
        await house.until(lambda: house.daemon._listener.connections == 0)
    assert house.simulation.records.counters.requests == 0


async def test_a_large_body_that_is_allowed(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"body": 12_000_000})
    with trio.fail_after(20):
        request = call("sim:tokens=1", messages=[{"role": "user", "content": "x" * 10_000_000}])
        status, _, body = await answered(house.address, request)
        assert (status, b"[DONE]" in body) == (200, True)


async def test_one_connection_too_many(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"connections": 3})
    with trio.fail_after(20):
        running = await ask(house.address, call("sim:tokens=100000,rate=100"))
        await running.until(b" t1")
        idle = [await connect(house.address) for _ in range(2)]
        await house.until(lambda: house.daemon._listener.connections == 3)
        async with connected(house.address) as refused:
            status, headers, body = await refused.answer()
            assert (status, headers["retry-after"], headers["connection"]) == (503, "1", "close")
            assert "limits.connections" in json.loads(body)["error"]["message"]
        # the others notice nothing
        await running.until(b" t5")
        await idle[0].send(get("/health"))
        assert (await idle[0].answer())[0] == 200
        # and a place that becomes free is given again
        idle[1].leave("fin")
        await house.until(lambda: house.daemon._listener.connections == 2)
        status, _, _ = await answered(house.address, get("/health"))
        assert status == 200
        idle[0].leave("fin")
        running.leave("rst")
        await house.nothing_left()


async def test_a_stalled_reader_holds_its_backend_up_until_the_write_budget(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, timeouts={"write": 0.3})
    with trio.fail_after(20):
        client = await connect(house.address, receive_buffer=4096)
        await client.send(call("sim:tokens=10000000,width=4000"))
        outcome = await house.outcomes.receive()
        assert (outcome.reason, outcome.phase) == ("client_stalled", "streaming")
        await house.nothing_left()
        # what the kernel had taken arrives, and the end of the body is missing
        assert not (await client.rest()).endswith(b"0\r\n\r\n")
        client.leave("fin")


async def test_a_slow_reader_that_reads_is_not_stalled(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, timeouts={"write": 1.0})
    begun = time.monotonic()
    with trio.fail_after(20):
        async with connected(house.address, receive_buffer=65536) as client:
            await client.send(call("sim:tokens=3000,width=1000"))
            while not client.buffer.endswith(b"\r\n0\r\n\r\n"):
                client.buffer += await client.stream.receive_some(131_072)
                await trio.sleep(0.04)
        assert len(client.buffer) > 3_000_000
        assert time.monotonic() - begun > 1.0
        assert (await house.outcomes.receive()).reason == "completed"
