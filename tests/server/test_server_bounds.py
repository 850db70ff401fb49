"""Every limit of the file at one less, at itself and at one more; beyond it, it is named in the caller's words."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from house import settle_in
from trio.testing import MockClock

from asking import LANGUAGES, POSTED, Language
from penstock.chat.events import Event, Failed, Text
from penstock.config.model import Limits, Route
from penstock.dialects import base
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BadRequest, SlowRequest
from penstock.server.arrival import HEAD_START
from penstock.server.asgi import read_body
from penstock.server.room import Room, Share
from rawhttp import HOST, Client, answered, ask, call, connect, connected, get, post

Answer = tuple[int, dict[str, str], bytes]


def told(north: str, answer: Answer) -> str:
    """The error's message, of an answer that has the shape of this language's errors."""
    shape = json.loads(NORTHBOUND[north].error(BadRequest("x")))
    body = json.loads(answer[2])
    assert body.keys() == shape.keys()
    inner = body.get("error", body.get("detail"))
    if isinstance(inner, dict):
        return str(inner.get("message") or inner.get("msg"))
    return str(inner)


# --- what one request may hold

Build = Callable[[Language, int], bytes]


def posted(body: Callable[[Language, int], dict[str, Any]]) -> Build:
    return lambda language, size: post(
        language.path, language.asked(body(language, size)), "Content-Type: application/json"
    )


def many(what: str) -> Build:
    return posted(lambda language, count: dict(language.many[what](count)))


def nested(language: Language, depth: int) -> dict[str, Any]:
    value: Any = 1
    for _ in range(depth - 1):
        value = [value]
    return {"x": value}


def valued(language: Language, count: int) -> dict[str, Any]:
    """So many values, as the commas between them tell."""
    rest = json.loads(language.asked({"x": 0}))
    return {"x": [0] * (count - json.dumps(rest).count(","))}


def of_head(size: int) -> bytes:
    filler = b"GET /health HTTP/1.1\r\n" + HOST.encode() + b"\r\nX-Filler: %b\r\n\r\n"
    return filler % (b"x" * (size - len(filler) + 2))


#: The key, what it is set to, the request of this size, the status beyond.
OF_A_REQUEST: dict[str, tuple[int, Build, int]] = {
    "depth": (20, posted(nested), 400),
    "values": (1000, posted(valued), 400),
    "items": (100, posted(lambda _, count: {"x": [0] * count}), 400),
    "text": (2000, posted(lambda _, size: {"x": "é" + "x" * (size - 2)}), 400),
    "messages": (3, many("messages"), 400),
    "tools": (3, many("tools"), 400),
    "images": (3, many("images"), 400),
    "body": (2000, lambda language, size: post(language.path, language.asked().ljust(size)), 413),
}


@pytest.mark.parametrize("key", OF_A_REQUEST)
async def test_what_a_request_may_hold(key: str, nursery: trio.Nursery) -> None:
    limit, build, status = OF_A_REQUEST[key]
    house = await settle_in(nursery, limits={key: limit})
    # a language of bare prompts has no messages and no tools
    languages = {
        north: language
        for north, language in POSTED.items()
        if key not in ("messages", "tools", "images") or key in language.many
    }
    assert languages.keys() >= POSTED.keys() - {"koboldcpp"}
    with trio.fail_after(20):
        for north, language in languages.items():
            for size in (limit - 1, limit):
                assert (await answered(house.address, build(language, size)))[0] == 200, (north, size)
            asked = house.simulation.records.counters.requests
            answer = await answered(house.address, build(language, limit + 1))
            assert answer[0] == status
            assert f"limits.{key}" in told(north, answer) and str(limit) in told(north, answer)
            assert house.simulation.records.counters.requests == asked, "no backend is troubled"


@pytest.mark.parametrize(
    ("key", "limit", "status", "build"),
    [
        ("headers", 2048, 431, of_head),
        ("header_count", 20, 431, lambda count: get("/health", *["X-A: b"] * (count - 1))),
        ("url", 300, 414, lambda size: get("/health?" + "x" * (size - len("/health?")))),
    ],
)
async def test_what_a_head_may_hold(
    key: str, limit: int, status: int, build: Callable[[int], bytes], nursery: trio.Nursery
) -> None:
    house = await settle_in(nursery, limits={key: limit})
    # every byte counts, and this is the name that the client puts in
    longer = len("Host: " + house.address.removeprefix("http://")) - len(HOST)
    spare = longer if key == "headers" else 0
    with trio.fail_after(20):
        for size in (limit - 1, limit):
            assert (await answered(house.address, build(size - spare)))[0] == 200, size
        got, headers, body = await answered(house.address, build(limit + 1 - spare))
        assert (got, headers["connection"]) == (status, "close")
        message = json.loads(body)["error"]["message"]
        assert f"limits.{key}" in message and str(limit) in message
        if key == "headers":
            # also when its end is not there yet, and when it never comes
            got, _, body = await answered(house.address, build(400_000))
            assert got == 431 and b"limits.headers" in body


# --- JSON that two readers read in two ways, or that none should read

NASTY = {
    "nested": b'{"model": "m", "x": ' + b"[" * 20_000 + b"]" * 20_000 + b"}",
    "opened": b"[" * 100_000,
    "a key twice": b'{"model": "sim", "model": "other"}',
    "an inner key twice": b'{"model": "sim", "messages": [{"role": "user", "role": "tool"}]}',
    "the same key for ever": b"{" + b'"model":1,' * 20_000 + b'"model":1}',
    "many keys, one twice": b"{" + b",".join(b'"%d":1' % n for n in range(20_000)) + b',"19999":1}',
    "NaN": b'{"model": "sim", "temperature": NaN}',
    "Infinity": b'{"model": "sim", "temperature": -Infinity}',
    "a huge float": b'{"model": "sim", "temperature": 1e999}',
    "a huge integer": b'{"model": "sim", "seed": 1' + b"0" * 100_000 + b"}",
    "half of a pair": b'{"model": "sim\\ud800"}',
    "half of a pair as a key": b'{"\\udfff": "sim"}',
    "half of a pair twice": b'{"\\udfff": 1, "\\udfff": 1}',
    "not UTF-8": b'{"model": "\xff"}',
    "a raw newline": b'{"model": "a\nb"}',
    "no object": b"[]",
    "nothing": b"  ",
}


async def test_nasty_json_is_a_bad_request(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    with trio.fail_after(30):
        for north, language in POSTED.items():
            for name, body in NASTY.items():
                answer = await answered(house.address, post(language.path, body))
                assert answer[0] == 400, (north, name, answer)
                assert len(told(north, answer)) < 300, name
        for path in ("/v1/embeddings", "/api/embed", "/v1/rerank", "/infill", "/api/show", "/tokenize"):
            for name, body in NASTY.items():
                assert (await answered(house.address, post(path, body)))[0] == 400, (path, name)
    assert house.simulation.records.counters.requests == 0


async def test_a_models_name_has_a_length(nursery: trio.Nursery) -> None:
    """It is repeated in headers, in the log and in errors."""
    house = await settle_in(nursery, routes={"*": Route(targets=("sim/sim:tokens=1",))})
    with trio.fail_after(20):
        for north, language in POSTED.items():
            for length, status in ((1024, 200), (1025, 400)):
                asked = language.asked({"model": "x" * length})
                answer = await answered(house.address, post(language.path, asked))
                assert answer[0] == status
            assert "'model' is longer" in told(north, answer)


# --- many at a time


@pytest.mark.parametrize("unix", [False, True], ids=["address", "user"])
@pytest.mark.parametrize("key", ["connections", "peer_connections"])
async def test_connections(key: str, unix: bool, tmp_path: Path, nursery: trio.Nursery) -> None:
    listen = (f"unix:{tmp_path}/p.sock" if unix else "127.0.0.1:0",)
    house = await settle_in(nursery, listen=listen, limits={key: 2})
    with trio.fail_after(20):
        first, second = [await connect(house.address) for _ in range(2)]
        for client in (first, second):
            await client.send(get("/health"))
            assert (await client.answer())[0] == 200
        async with connected(house.address) as third:
            status, headers, body = await third.answer()
            assert (status, headers["connection"]) == (503, "close")
            assert f"limits.{key} " in json.loads(body)["error"]["message"]
        # a place that becomes free is given again
        first.leave("fin")
        await house.until(lambda: house.daemon._listener.connections == 1)
        assert (await answered(house.address, get("/health")))[0] == 200
        second.leave("fin")
        await house.until(lambda: house.daemon._listener.connections == 0)
        assert not house.daemon._listener._of_peer, "nobody is remembered"


async def test_one_peers_connections_leave_room_for_others(tmp_path: Path, nursery: trio.Nursery) -> None:
    house = await settle_in(
        nursery, listen=("127.0.0.1:0", f"unix:{tmp_path}/p.sock"), limits={"peer_connections": 1, "connections": 3}
    )
    with trio.fail_after(20):
        async with connected(house.addresses[0]) as first, connected(house.addresses[1]) as user:
            for client in (first, user):
                await client.send(get("/health"))
                assert (await client.answer())[0] == 200
            async with connected(house.addresses[0]) as another:
                assert (await another.answer())[0] == 503


async def test_streams(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"streams": 2}, slots=1)
    with trio.fail_after(20):
        running = await ask(house.address, call("sim:tokens=100000,rate=100"))
        await running.until(b" t1")
        waiting = await ask(house.address, call("sim:tokens=1"))
        await house.until(lambda: len(house.daemon.state.live) == 2)
        for north, language in POSTED.items():
            answer = await answered(house.address, post(language.path, language.asked()))
            assert (answer[0], answer[1]["retry-after"]) == (429, "2")
            assert "limits.streams" in told(north, answer)
        waiting.leave("rst")
        await house.until(lambda: len(house.daemon.state.live) == 1)
        # a place that becomes free is given again
        waiting = await ask(house.address, call("sim:tokens=1"))
        await house.until(lambda: len(house.daemon.state.live) == 2)
        waiting.leave("rst")
        running.leave("rst")
        await house.nothing_left()


@pytest.mark.parametrize("targets", [("sim",), ("sim", "sim/other")], ids=["one", "listed first"])
async def test_streams_that_come_at_once(targets: tuple[str, ...], nursery: trio.Nursery) -> None:
    """Also where all of them wait first for the lists of models, by which one of several targets is chosen."""
    # what waits for the slot has its status soon, and none of them ends by itself
    house = await settle_in(
        nursery, limits={"streams": 3}, slots=1, server={"grace": 0.05}, routes={"*": Route(targets=targets)}
    )
    with trio.fail_after(20):
        clients = [await connect(house.address) for _ in range(12)]
        for client in clients:
            await client.send(call("sim:tokens=100000,rate=50"))
        statuses = [(await client.head())[0] for client in clients]
        assert sorted(statuses) == [200] * 3 + [429] * 9
        for client in clients:
            client.leave("rst")
        await house.nothing_left()


async def test_queue(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"queue": 1}, slots=1, server={"grace": 30.0})
    with trio.fail_after(20):
        running = await ask(house.address, call("sim:tokens=100000,rate=100"))
        await running.until(b" t1")
        waiting = await ask(house.address, call("sim:tokens=1"))
        await house.until(lambda: len(house.daemon.state.live) == 2)
        answer = await answered(house.address, call("sim:tokens=1"))
        assert answer[0] == 503 and "limits.queue" in told("openai", answer)
        running.leave("rst")
        assert (await waiting.answer())[0] == 200
        waiting.leave("fin")


@pytest.mark.parametrize("most", [0, 1, 2])
async def test_idle_connections(most: int, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery, limits={"idle_connections": most})
    with trio.fail_after(20):
        clients = [await ask(house.address, call("sim:tokens=3,rate=50")) for _ in range(2)]
        for client in clients:
            assert (await client.answer())[0] == 200
            client.leave("fin")
        await house.nothing_left()
        assert house.daemon.state.backends["sim"].transport.idle == most


# --- slow ones


async def slowly(limits: Limits, *pieces: tuple[float, int], announced: int | None = 100_000) -> bytes | None:
    """Read a body of which so many bytes come after so many seconds each."""
    waits = iter(pieces)

    async def receive() -> Any:
        pause, size = next(waits, (math.inf, 0))
        await trio.sleep(pause)
        return {"type": "http.request", "body": b"x" * size, "more_body": True}

    return await read_body(receive, announced, limits, Share(Room(), limits.bodies), is_here=False)


@pytest.mark.parametrize(("last", "whole"), [(9.999, True), (10.001, False)])
async def test_body_time(last: float, whole: bool, autojump_clock: MockClock) -> None:
    """Of a client that is fast enough, but not done; both clocks look in between two instants."""
    body = slowly(Limits(body_time=10.0, body_rate=1), (4.0, 999), (last - 4.0, 1), announced=1000)
    if whole:
        assert len(await body or b"") == 1000
        return
    with pytest.raises(SlowRequest, match=r"limits\.body_time \(10 s\)"):
        await body


@pytest.mark.parametrize(("rate", "whole"), [(101, True), (100, True), (99, False)])
async def test_body_rate(rate: int, whole: bool, autojump_clock: MockClock) -> None:
    """A client that brings so many bytes a second, where 100 are wanted."""
    limits = Limits(body_time=10_000.0, body_rate=100)
    seconds = 2000
    body = slowly(limits, *[(1.0, rate)] * seconds, announced=rate * seconds)
    if whole:
        assert len(await body or b"") == rate * seconds
        return
    with pytest.raises(SlowRequest, match=r"limits\.body_rate \(100 bytes a second\)"):
        await body


async def test_a_body_has_a_head_start(autojump_clock: MockClock) -> None:
    limits = Limits(body_rate=100)
    assert len(await slowly(limits, (HEAD_START - 0.001, 50), announced=50) or b"") == 50
    with pytest.raises(SlowRequest, match=r"limits\.body_rate"):
        await slowly(limits, (HEAD_START + 0.001, 50), announced=50)


async def test_a_trickle_of_a_body_is_refused(monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery) -> None:
    """Long before its time is over."""
    monkeypatch.setattr("penstock.server.arrival.HEAD_START", 0.1)
    house = await settle_in(nursery, limits={"body_rate": 1000})
    with trio.fail_after(20):
        for north, language in POSTED.items():
            async with connected(house.address) as client:
                head = f"POST {language.path} HTTP/1.1\r\n{HOST}\r\nContent-Length: 100000\r\n\r\n{{"
                await client.send(head.encode())
                async with trio.open_nursery() as sending:
                    sending.start_soon(trickle, client)
                    answer = await client.answer()
                    sending.cancel_scope.cancel()
                assert (answer[0], answer[1]["connection"]) == (408, "close")
                assert "limits.body_rate" in told(north, answer)


async def trickle(client: Client) -> None:
    while True:
        await client.send(b" ")
        await trio.sleep(0.005)


# --- what a backend may send


def piece(kind: str, size: int) -> bytes:
    """A frame of a backend that says nothing of interest, of so many bytes but for its line ends."""
    if SOUTHBOUND[kind].name == "ollama":
        text = b'{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"content":"x"},"done":false'
        return text + b" " * (size - len(text) - 2) + b"}\n"
    return b": " + b"x" * (size - 2) + b"\n\n"


def chat_reader(kind: str, **limits: int) -> base.Reader:
    """Of a backend of this kind, for a stream."""
    south = SOUTHBOUND[kind]
    language = LANGUAGES["koboldcpp" if kind == "koboldcpp" else "openai"]
    operation = "stream" if kind == "koboldcpp" else "chat"
    request = NORTHBOUND["koboldcpp" if kind == "koboldcpp" else "openai"].parse(
        operation, language.asked({"stream": True})
    )
    media = "application/x-ndjson" if south.name == "ollama" else "text/event-stream"
    return south.reader(request, media, base.Limits(**limits))


def failures(events: list[Event]) -> list[str]:
    return [event.message for event in events if isinstance(event, Failed)]


@pytest.mark.parametrize("kind", SOUTHBOUND)
@pytest.mark.parametrize("cut", [1, 7, 1 << 20])
def test_line(kind: str, cut: int) -> None:
    for size in (1023, 1024, 1025):
        reader = chat_reader(kind, line=1024)
        data = piece(kind, size) * 2
        events = [event for at in range(0, len(data), cut) for event in reader.receive(data[at : at + cut])]
        assert [("limits.line" in said, "1024" in said) for said in failures(events)] == [(True, True)] * (size > 1024)


@pytest.mark.parametrize("kind", SOUTHBOUND)
def test_answer(kind: str) -> None:
    data = piece(kind, 300) * 10
    for limit in (len(data) - 1, len(data), len(data) + 1):
        reader = chat_reader(kind, answer=limit)
        said = failures([event for at in range(0, len(data), 50) for event in reader.receive(data[at : at + 50])])
        assert [("limits.answer" in one, str(limit) in one) for one in said] == [(True, True)] * (limit < len(data))


@pytest.mark.parametrize("kind", SOUTHBOUND)
def test_what_came_before_a_line_that_is_too_long_is_not_lost(kind: str) -> None:
    """Also when both came in the same read."""
    good = {
        "koboldcpp": b'event: message\ndata: {"token": "good", "finish_reason": null}\n\n',
        "anthropic": b'event: content_block_start\ndata: {"type":"content_block_start","index":0,'
        b'"content_block":{"type":"text","text":""}}\n\nevent: content_block_delta\ndata: {"type":'
        b'"content_block_delta","index":0,"delta":{"type":"text_delta","text":"good"}}\n\n',
        "ollama": b'{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"good"},'
        b'"done":false}\n',
    }.get(
        kind,
        b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
        b'{"role":"assistant","content":"good"},"finish_reason":null}]}\n\n',
    )
    events = chat_reader(kind, line=1024).receive(good + piece(kind, 1025) + good)
    assert [event.text for event in events if isinstance(event, Text)] == ["good"]
    (failed,) = failures(events)
    assert "limits.line" in failed


# --- all of them

ELSEWHERE = {
    "headers": test_what_a_head_may_hold,
    "header_count": test_what_a_head_may_hold,
    "url": test_what_a_head_may_hold,
    "connections": test_connections,
    "peer_connections": test_connections,
    "streams": test_streams,
    "queue": test_queue,
    "idle_connections": test_idle_connections,
    # where the clock is real: test_server_limits.py
    "header_time": None,
    # of WebSockets: test_websocket_limits.py and test_websocket_chats.py
    **dict.fromkeys(("chats", "conversation", "fragments", "pings", "pong_time", "websocket_idle")),
    # of all requests together: test_server_room.py
    "bodies": None,
    "body_time": test_body_time,
    "body_rate": test_body_rate,
    "line": test_line,
    "answer": test_answer,
}


def test_every_limit_of_the_file_is_here() -> None:
    assert OF_A_REQUEST.keys() | ELSEWHERE.keys() == {field.name for field in msgspec.structs.fields(Limits)}
