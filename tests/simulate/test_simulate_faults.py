"""Every fault, as bytes and behaviour on a socket."""

from __future__ import annotations

import json
import re
import zlib
from pathlib import Path

import pytest
import trio
from rawclient import CHAT, GENERATE, OLLAMA_CHAT, Client, answer, ask, call, content, counting, frames, ndjson, sse

from penstock.simulate.faults import KINDS
from penstock.simulate.server import Simulation

CHATS = [CHAT, OLLAMA_CHAT]


def test_every_fault_is_tried_here() -> None:
    here = Path(__file__).read_text()
    assert [name for name in KINDS if not re.search(rf"\b{name}\b", here.partition("CHATS")[2])] == []


# --- before and in the head ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHATS)
async def test_mute_reads_and_says_nothing(simulation: Simulation, path: str) -> None:
    client = await ask(simulation, path, "fault=mute")
    async with client.stream:
        await simulation.records.until(lambda: simulation.records.counters.running == 1)
        assert await client.silent()


async def test_deaf_leaves_the_body_in_the_kernel(simulation: Simulation) -> None:
    body = b"x" * (64 * 2**20)
    head = f"POST {CHAT} HTTP/1.1\r\nHost: s\r\nx-simulate: fault=deaf\r\nContent-Length: {len(body)}\r\n\r\n"
    client = await Client.connect(simulation)
    async with client.stream:
        with trio.move_on_after(0.2) as scope:
            await client.stream.send_all(head.encode() + body)
        assert scope.cancelled_caught, "the body was taken"
        assert simulation.records.counters.running == 1


async def test_deaf_works_by_model_name_too(simulation: Simulation) -> None:
    request = call(CHAT, "fault=deaf", x="y" * 2**20)
    client = await Client.connect(simulation)
    async with client.stream:
        await client.stream.send_all(request[:5000])
        await simulation.records.until(lambda: simulation.records.counters.running == 1)
        assert simulation.records.connections[-1].requests[0].body_bytes < 5000


async def test_hangup_closes_without_a_byte(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "fault=hangup")
    async with client.stream:
        assert await client.rest() == b""


@pytest.mark.parametrize("path", CHATS)
async def test_loading_refuses_and_then_answers(simulation: Simulation, path: str) -> None:
    script = "tokens=1,times=2,retry-after=1,fault=loading"
    answers = [await answer(simulation, path, script) for _ in range(3)]
    assert [status for status, _, _ in answers] == [503, 503, 200]
    assert answers[0][1]["retry-after"] == "1"
    error = json.loads(answers[0][2])["error"]
    assert error in ("Loading model", {"code": 503, "message": "Loading model", "type": "unavailable_error"})


@pytest.mark.parametrize("path", CHATS)
async def test_no_stream_refuses_only_streams(simulation: Simulation, path: str) -> None:
    status, _, body = await answer(simulation, path, "fault=no-stream")
    assert status == 400
    assert b"does not stream" in body
    status, _, body = await answer(simulation, path, "tokens=2,fault=no-stream", stream=False)
    assert (status, content(json.loads(body))) == (200, counting(2))


async def test_redirect(simulation: Simulation) -> None:
    status, headers, _ = await answer(simulation, CHAT, "fault=redirect")
    assert (status, headers["location"]) == (302, "/elsewhere")


@pytest.mark.parametrize("stream", [True, False])
async def test_an_error_status(simulation: Simulation, stream: bool) -> None:
    status, headers, body = await answer(simulation, CHAT, "status=429,retry-after=1.5", stream=stream)
    assert (status, headers["retry-after"]) == (429, "1.5")
    assert json.loads(body)["error"]["type"] == "rate_limit_error"
    status, headers, body = await answer(simulation, OLLAMA_CHAT, "status=500", stream=stream)
    assert status == 500
    assert "retry-after" not in headers
    assert json.loads(body) == {"error": "simulated failure after 0 tokens"}


async def test_bad_status(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "fault=bad-status")
    async with client.stream:
        assert await client.until(b"\r\n") == b"HTTP/one 2OO Fine\r\n"


async def test_huge_head(simulation: Simulation) -> None:
    _, headers, _ = await answer(simulation, CHAT, "size=100k,fault=huge-head")
    assert len(headers["x-simulated"]) == 100 * 1024


async def test_interim(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "fault=interim")
    async with client.stream:
        assert (await client.head())[0] == 103
        assert (await client.head())[0] == 200


@pytest.mark.parametrize("stream", [True, False])
async def test_mistyped(simulation: Simulation, stream: bool) -> None:
    _, headers, body = await answer(simulation, CHAT, "tokens=1,fault=mistyped", stream=stream)
    assert headers["content-type"] == "text/html"
    assert b" t0" in body


async def test_swapped(simulation: Simulation) -> None:
    _, headers, body = await answer(simulation, CHAT, "tokens=1,fault=swapped")
    assert headers["content-type"] == "text/event-stream"
    assert body.endswith(b"\n[DONE]\n")
    assert content(json.loads(body.split(b"\n")[1])) == " t0"
    _, headers, body = await answer(simulation, GENERATE, "tokens=1,fault=swapped")
    assert headers["content-type"] == "application/x-ndjson"
    assert [line["done"] for line in sse(body)] == [False, True]


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("stream", [True, False])
async def test_gzip_can_be_read_frame_by_frame(simulation: Simulation, path: str, stream: bool) -> None:
    client = await ask(simulation, path, "tokens=20,fault=gzip", stream=stream)
    async with client.stream:
        _, headers = await client.head()
        assert headers["content-encoding"] == "gzip"
        unzip = zlib.decompressobj(wbits=31)
        pieces = [unzip.decompress(chunk) for chunk in await client.chunks()]
        assert unzip.eof
    if stream:
        assert all(piece.endswith(b"\n") for piece in pieces if piece)
        assert "".join(map(content, frames(path, b"".join(pieces)))) == counting(20)
    else:
        assert content(json.loads(b"".join(pieces))) == counting(20)


# --- the rest does not come ------------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("at", [0, 1, 7])
async def test_silence(simulation: Simulation, path: str, at: int) -> None:
    client = await ask(simulation, path, f"tokens=10,fault=silence@{at}")
    async with client.stream:
        assert (await client.head())[0] == 200
        seen = ""
        while seen != counting(at):
            seen += content(frames(path, await client.chunk())[0])
        assert await client.silent()
        assert client.buffer == b""


@pytest.mark.parametrize(
    ("path", "script", "ping"),
    [
        (CHAT, "ping=5ms", b":\n\n"),
        (CHAT, "ping=5ms,comment=keep-alive", b": keep-alive\n\n"),
        (CHAT, "ping=5ms,fault=crlf", b":\r\n\r\n"),
        (OLLAMA_CHAT, "ping=5ms", b'"message":{"role":"assistant","content":""},"done":false}\n'),
        (GENERATE, "ping=5ms", b'"response":"","done":false}\n'),
    ],
)
async def test_pings_never_end(simulation: Simulation, path: str, script: str, ping: bytes) -> None:
    client = await ask(simulation, path, f"{script},fault=pings@1")
    async with client.stream:
        await client.head()
        await client.chunk_with(b" t0")
        for _ in range(5):
            assert (await client.chunk()).endswith(ping)


async def test_pings_have_an_interval_of_their_own(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "fault=pings")
    async with client.stream:
        await client.head()
        assert await client.silent(), "by default one a second"


@pytest.mark.parametrize("path", CHATS)
async def test_truncate_ends_cleanly_without_a_marker(simulation: Simulation, path: str) -> None:
    _, _, body = await answer(simulation, path, "tokens=9,fault=truncate@3")
    assert "".join(map(content, frames(path, body))) == counting(3)
    assert b"DONE" not in body
    assert b'"done":true' not in body


@pytest.mark.parametrize("path", CHATS)
async def test_truncate_of_a_close_delimited_body(simulation: Simulation, path: str) -> None:
    _, headers, body = await answer(simulation, path, "tokens=9,http10,fault=truncate@3")
    assert headers["connection"] == "close"
    assert "transfer-encoding" not in headers
    assert "".join(map(content, frames(path, body))) == counting(3)


@pytest.mark.parametrize("path", CHATS)
async def test_cut_ends_inside_a_chunk(simulation: Simulation, path: str) -> None:
    client = await ask(simulation, path, "tokens=9,fault=cut@2")
    async with client.stream:
        await client.head()
        await client.chunk_with(b" t1")
        size, _, rest = (await client.rest()).partition(b"\r\n")
        assert 0 < len(rest) < int(size, 16)


@pytest.mark.parametrize("path", CHATS)
async def test_rst(simulation: Simulation, path: str) -> None:
    client = await ask(simulation, path, "tokens=9,rate=100,fault=rst@2")
    async with client.stream:
        with pytest.raises(trio.BrokenResourceError):
            await client.rest()
        assert b" t1" in client.buffer


async def test_bad_chunk(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=9,fault=bad-chunk@1")
    async with client.stream:
        await client.head()
        await client.chunk_with(b" t0")
        assert (await client.rest()).startswith(b"not a size\r\ndata: ")


# --- errors in the stream --------------------------------------------------------------------------------------------

FAILED = "simulated failure after 2 tokens"
ERROR = {"error": {"message": FAILED, "type": "server_error", "code": 500}}


@pytest.mark.parametrize(
    ("fault", "last"),
    [
        ("error", [ERROR]),
        ("error-done", [ERROR, "[DONE]"]),
    ],
)
async def test_openai_errors(simulation: Simulation, fault: str, last: list[object]) -> None:
    events = sse((await answer(simulation, CHAT, f"tokens=9,fault={fault}@2"))[2])
    assert "".join(map(content, events[:3])) == counting(2)
    assert events[3:] == last


async def test_an_error_can_be_the_first_frame(simulation: Simulation) -> None:
    status, _, body = await answer(simulation, CHAT, "fault=error")
    assert status == 200
    assert list(sse(body)[0]) == ["error"]
    assert ndjson((await answer(simulation, OLLAMA_CHAT, "fault=error"))[2]) == [
        {"error": "simulated failure after 0 tokens"}
    ]


async def test_error_event(simulation: Simulation) -> None:
    _, _, body = await answer(simulation, CHAT, "tokens=9,fault=error-event@2")
    name, data = body.decode().split("\n\n")[-2].split("\n")
    assert name == "event: error"
    assert json.loads(data.removeprefix("data: ")) == ERROR


async def test_error_field(simulation: Simulation) -> None:
    _, _, body = await answer(simulation, CHAT, "tokens=9,fault=error-field@2")
    error, done = body.decode().split("\n\n")[-3:-1]
    assert json.loads(error.removeprefix("error: ")) == ERROR["error"]
    assert done == "data: [DONE]"


async def test_error_choices(simulation: Simulation) -> None:
    last = sse((await answer(simulation, CHAT, "tokens=9,fault=error-choices@2"))[2])[-1]
    assert last["choices"] == [{"index": 0, "delta": {"content": ""}, "finish_reason": "error"}]
    assert last["error"] == ERROR["error"]
    line = ndjson((await answer(simulation, OLLAMA_CHAT, "tokens=9,fault=error-choices@2"))[2])[-1]
    assert (line["error"], line["message"]["content"], line["done"]) == (FAILED, "", False)


async def test_error_finish(simulation: Simulation) -> None:
    *_, last, done = sse((await answer(simulation, CHAT, "tokens=9,fault=error-finish@2"))[2])
    assert (last["choices"][0]["finish_reason"], done) == ("error", "[DONE]")
    line = ndjson((await answer(simulation, OLLAMA_CHAT, "tokens=9,fault=error-finish@2"))[2])[-1]
    assert (line["done"], line["done_reason"], "error" in line) == (True, "error", False)


async def test_ollama_errors(simulation: Simulation) -> None:
    lines = ndjson((await answer(simulation, OLLAMA_CHAT, "tokens=9,fault=error@2"))[2])
    assert lines[2:] == [{"error": FAILED}]
    lines = ndjson((await answer(simulation, OLLAMA_CHAT, "tokens=9,fault=error-done@2"))[2])
    assert lines[2] == {"error": FAILED}
    assert lines[3]["done"] is True


@pytest.mark.parametrize("path", CHATS)
async def test_a_whole_answer_fails_with_a_status(simulation: Simulation, path: str) -> None:
    status, _, body = await answer(simulation, path, "tokens=9,fault=error@2", stream=False)
    assert status == 500
    assert FAILED.encode() in body


# --- a frame is wrong and the answer goes on -------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHATS)
async def test_garbage(simulation: Simulation, path: str) -> None:
    _, _, body = await answer(simulation, path, "tokens=4,fault=garbage@2")
    before, found, after = body.partition(b'{"broken": tru')
    assert b" t1" in before
    assert found
    assert b" t2" in after


@pytest.mark.parametrize(("path", "key"), [(CHAT, "choices"), (OLLAMA_CHAT, "message"), (GENERATE, "response")])
async def test_schema(simulation: Simulation, path: str, key: str) -> None:
    found = frames(path, (await answer(simulation, path, "tokens=4,fault=schema@2"))[2])
    assert [frame[key] for frame in found if frame != "[DONE]"].count(5) == 1


@pytest.mark.parametrize("path", CHATS)
async def test_huge(simulation: Simulation, path: str) -> None:
    found = frames(path, (await answer(simulation, path, "tokens=2,size=300k,fault=huge@1"))[2])
    assert max(len(content(frame)) for frame in found) == 300 * 1024


@pytest.mark.parametrize("path", CHATS)
async def test_split_cuts_a_character_in_two(simulation: Simulation, path: str) -> None:
    client = await ask(simulation, path, "tokens=2,fault=split@1")
    async with client.stream:
        await client.head()
        chunks = await client.chunks()
    first = next(number for number, chunk in enumerate(chunks) if not chunk.endswith(b"\n"))
    for half in chunks[first : first + 2]:
        with pytest.raises(UnicodeDecodeError):
            half.decode()
    assert "".join(map(content, frames(path, b"".join(chunks)))) == " t0é€🚰 t1"


async def test_dribble_sends_byte_by_byte(simulation: Simulation) -> None:
    client = await ask(simulation, OLLAMA_CHAT, "tokens=3,gap=1ms,fault=dribble@2")
    async with client.stream:
        await client.head()
        await client.chunk_with(b" t1")
        reads = []
        while not b"".join(reads).endswith(b"0\r\n\r\n"):
            reads.append(await client.stream.receive_some())
        assert max(map(len, reads)) < 50, "each byte is a write of its own; a late reader finds a few together"
    assert len(reads) > 50


# --- oddities --------------------------------------------------------------------------------------------------------


async def test_crlf(simulation: Simulation) -> None:
    body = (await answer(simulation, CHAT, "tokens=3,fault=crlf"))[2]
    assert body.count(b"\r\n\r\n") == body.count(b"data: ") == 6
    assert body.count(b"\n") == body.count(b"\r\n")
    body = (await answer(simulation, OLLAMA_CHAT, "tokens=3,fault=crlf"))[2]
    assert body.count(b"\n") == body.count(b"\r\n") == 4


async def test_null_content(simulation: Simulation) -> None:
    first = sse((await answer(simulation, CHAT, "tokens=3,fault=null-content"))[2])[0]
    assert first["choices"][0]["delta"] == {"role": "assistant", "content": None}
    first = ndjson((await answer(simulation, OLLAMA_CHAT, "tokens=3,fault=null-content"))[2])[0]
    assert first["message"] == {"role": "assistant", "content": None}


async def test_empty_tools(simulation: Simulation) -> None:
    *chunks, _ = sse((await answer(simulation, CHAT, "tokens=3,fault=empty-tools"))[2])
    assert all(chunk["choices"][0]["delta"]["tool_calls"] == [] for chunk in chunks)
    whole = json.loads((await answer(simulation, OLLAMA_CHAT, "tokens=3,fault=empty-tools", stream=False))[2])
    assert whole["message"]["tool_calls"] == []


async def test_interleave_leaves_one_call_alone(simulation: Simulation) -> None:
    body = (await answer(simulation, CHAT, "tokens=0,tools=1,fault=interleave"))[2]
    assert body.count(b'"tool_calls":[') == 5


async def test_no_index(simulation: Simulation) -> None:
    chunks = sse((await answer(simulation, CHAT, "tokens=0,tools=2,fault=no-index"))[2])
    calls = [chunk["choices"][0]["delta"]["tool_calls"][0] for chunk in chunks[1:-2]]
    assert len(calls) == 10
    assert not any("index" in part for part in calls)


async def test_empty_name(simulation: Simulation) -> None:
    chunks = sse((await answer(simulation, CHAT, "tokens=0,tools=1,fault=empty-name"))[2])
    names = [chunk["choices"][0]["delta"]["tool_calls"][0]["function"].get("name") for chunk in chunks[1:-2]]
    assert names == ["get_weather", "", "", "", ""]


# --- the end ---------------------------------------------------------------------------------------------------------


async def test_no_finish(simulation: Simulation) -> None:
    *chunks, done = sse((await answer(simulation, CHAT, "tokens=3,fault=no-finish"))[2])
    assert done == "[DONE]"
    assert all(chunk["choices"][0]["finish_reason"] is None for chunk in chunks)
    last = ndjson((await answer(simulation, OLLAMA_CHAT, "tokens=3,fault=no-finish"))[2])[-1]
    assert (last["done"], "done_reason" in last) == (True, False)


async def test_no_terminator(simulation: Simulation) -> None:
    last = sse((await answer(simulation, CHAT, "tokens=3,fault=no-terminator"))[2])[-1]
    assert last["choices"][0]["finish_reason"] == "stop"
    last = ndjson((await answer(simulation, OLLAMA_CHAT, "tokens=3,fault=no-terminator"))[2])[-1]
    assert (last["done_reason"], "done" in last) == ("stop", False)


@pytest.mark.parametrize(("path", "marker"), [(CHAT, b"data: [DONE]\n\n"), (OLLAMA_CHAT, b'"done":true')])
async def test_never_close(simulation: Simulation, path: str, marker: bytes) -> None:
    client = await ask(simulation, path, "tokens=3,fault=never-close")
    async with client.stream:
        await client.head()
        await client.chunk_with(marker)
        assert await client.silent()


async def test_surplus(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=3,fault=surplus")
    async with client.stream:
        await client.head()
        await client.chunks()
        status, headers = await client.head()
        assert (status, await client.body(headers)) == (200, b"nobody asked")


async def test_drop_idle(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=3,fault=drop-idle")
    async with client.stream:
        _, headers = await client.head()
        assert "connection" not in headers
        await client.chunks()
        assert await client.rest() == b""


async def test_runaway_goes_on_after_the_close(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=30,rate=200,id=r,fault=runaway")
    await client.until(b" t2")
    # a close with unread bytes would be an RST
    await client.stream.send_eof()
    await simulation.records.until(lambda: simulation.records.counters.done == 1)
    await client.stream.aclose()
    (record,) = simulation.records.stream("r")
    assert (record.end, record.tokens, record.peer_close) == ("done", 30, "fin")
    assert record.tokens_at_close is not None
    assert record.tokens_at_close < 30


# --- whole answers break too -----------------------------------------------------------------------------------------


@pytest.mark.parametrize("path", CHATS)
@pytest.mark.parametrize("fault", ["truncate@5", "cut@5", "bad-chunk@5"])
async def test_a_whole_answer_is_cut_short(simulation: Simulation, path: str, fault: str) -> None:
    client = await ask(simulation, path, f"tokens=10,fault={fault}", stream=False)
    async with client.stream:
        _, headers = await client.head()
        assert len(await client.rest()) == int(headers["content-length"]) // 2


async def test_a_whole_answer_is_reset_or_stalls(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=10,fault=rst@5", stream=False)
    async with client.stream:
        with pytest.raises(trio.BrokenResourceError):
            await client.rest()
    client = await ask(simulation, CHAT, "tokens=10,fault=silence", stream=False)
    async with client.stream:
        await client.head()
        assert await client.silent()


@pytest.mark.parametrize("fault", ["garbage", "schema"])
async def test_a_whole_answer_is_nonsense(simulation: Simulation, fault: str) -> None:
    body = (await answer(simulation, OLLAMA_CHAT, f"fault={fault}", stream=False))[2]
    assert body in (b'{"broken": tru', b'{"model":7,"created_at":false,"message":5,"response":5,"done":"no"}')


async def test_blank_space_keeps_a_whole_answer_alive(simulation: Simulation) -> None:
    client = await ask(simulation, CHAT, "tokens=2,first=30ms,ping=5ms", stream=False)
    async with client.stream:
        await client.head()
        chunks = await client.chunks()
    assert chunks[:3] == [b"\n"] * 3
    assert content(json.loads(b"".join(chunks))) == counting(2)
