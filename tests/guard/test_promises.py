"""What has broken other servers, tried here: P12 to P19 of the table in docs/security.md."""

from __future__ import annotations

import gzip
import json
import os
import zlib
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Any

import pytest
import trio
from door import open_door
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import LANGUAGES, POSTED
from penstock.config.model import Backend, Config, Limits, Manner, Route, Server
from penstock.dialects.fields import HOTTEST, MOST
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BadRequest
from penstock.relay import link
from penstock.service.daemon import Daemon
from rawhttp import HOST, answered, call, connected, get, post

# --- P12: numbers out of range


#: Every number that penstock has a word for, by what it is called where, with the least and the most.
_SAMPLER = {"temperature": (0, 2), "top_p": (0, 1)}
_MORE = {"min_p": (0, 1), "top_k": (-1, MOST)}
_PENALTIES = {"presence_penalty": (-2, 2), "frequency_penalty": (-2, 2)}
_OPENAI = {**_SAMPLER, **_MORE, **_PENALTIES, "max_tokens": (-1, MOST), "max_completion_tokens": (-1, MOST)}
_OPENAI |= {"repeat_penalty": (0, 100), "repetition_penalty": (0, 100), "top_logprobs": (0, 20), "n": (1, 1)}
_HOT = {"temperature": (0, HOTTEST), "top_p": (0, 1), **_MORE}
NUMBERS: dict[str, Mapping[str, tuple[float, float]]] = {
    "openai": _OPENAI,
    "typed_events": {name: bounds for name, bounds in _OPENAI.items() if name != "n"},
    "websocket": {name: bounds for name, bounds in _OPENAI.items() if name != "n"},
    "anthropic": {**_SAMPLER, "max_tokens": (0, MOST), "top_k": (0, MOST)},
    "responses": {**_SAMPLER, "max_output_tokens": (1, MOST), "top_logprobs": (0, 20)},
    "ollama": {**_HOT, **_PENALTIES, "num_predict": (-MOST, MOST), "repeat_penalty": (0, 100)},
    "koboldcpp": {**_HOT, "max_length": (-MOST, MOST), "max_context_length": (1, MOST), "rep_pen": (0, 100)},
}


@pytest.mark.parametrize(("north", "field"), [(north, field) for north in NORTHBOUND for field in NUMBERS[north]])
@settings(deadline=None, max_examples=10)
@given(value=st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False))
def test_p12_a_number_has_a_range(north: str, field: str, value: float) -> None:
    """A negative number that nobody checked (CVE-2026-21869) is refused here, with its name."""
    low, high = NUMBERS[north][field]
    for number in (value, low - 1, high + 1):
        said = {"options": {field: number}} if north == "ollama" else {field: number}
        operation = "generate" if north == "koboldcpp" else "chat"
        try:
            NORTHBOUND[north].parse(operation, LANGUAGES[north].asked(said))
        except BadRequest as error:
            assert field in error.message  # noqa: PT017
        else:
            assert low <= number <= high


@settings(deadline=None, max_examples=60)
@given(value=st.integers(-(2**63), 2**64 - 1) | st.floats(allow_nan=False, allow_infinity=False) | st.text(max_size=3))
def test_p12_what_llamacpp_does_not_check_is_checked_here(value: object) -> None:
    """Its own numbers are none of penstock's, but pass through; a wrong one stays behind and is named."""
    request = NORTHBOUND["openai"].parse("chat", LANGUAGES["openai"].asked({"n_discard": value}))
    told = SOUTHBOUND["llamacpp"].encode(request, "m")
    good = isinstance(value, int | float) and 0 <= value < 2**31
    assert ("n_discard" in json.loads(told.body)) is good
    assert told.dropped == (() if good else ("n_discard",))


async def test_p12_nor_does_it_pass_unread(nursery: trio.Nursery) -> None:
    door = await open_door(nursery, kind="llamacpp")
    for number, refused in ((-1, True), (2**31, True), (1, False)):
        body = json.dumps({"model": "sim", "prompt": "hi", "n_discard": number}).encode()
        got = await answered(door.address, post("/completion", body, "Content-Type: application/json"))
        # else whatever the backend says to it
        assert (got[0] == 400 and b"n_discard" in got[2]) is refused, got


# --- P13: what runs in a server's template engine


@pytest.mark.parametrize("kind", [kind for kind in SOUTHBOUND if SOUTHBOUND[kind].name == "openai"])
@pytest.mark.parametrize("inner", [False, True], ids=["body", "extra_body"])
def test_p13_no_template_and_no_parameter_of_it_passes(kind: str, inner: bool) -> None:
    """``chat_template_kwargs`` held the parameters of the function itself (CVE-2025-62426); switches still pass."""
    said: dict[str, Any] = {
        "chat_template": "{{ x }}",
        "chat_template_kwargs": {"enable_thinking": False, "tokenize": True, "chat_template": "{{ y }}"},
    }
    request = NORTHBOUND["openai"].parse("chat", LANGUAGES["openai"].asked({"extra_body": said} if inner else said))
    call = SOUTHBOUND[kind].encode(request, "m")
    told = json.loads(call.body)
    told = told["extra_body"] if inner else told
    assert "chat_template" not in told
    assert told["chat_template_kwargs"] == {"enable_thinking": False}
    where = "extra_body." if inner else ""
    kwargs = f"{where}chat_template_kwargs"
    assert {f"{where}chat_template", f"{kwargs}.tokenize", f"{kwargs}.chat_template"} == set(call.dropped)


def test_p13_the_owner_can_let_nothing_unknown_through() -> None:
    request = NORTHBOUND["openai"].parse("chat", LANGUAGES["openai"].asked({"chat_template_kwargs": {"a": 1}}))
    told = SOUTHBOUND["vllm"].encode(request, "m", Manner(passthrough=False))
    assert "chat_template_kwargs" not in json.loads(told.body)


# --- P14: connections that a prompt asks for

IMAGE = "http://127.0.0.1:{port}/x.png"
#: Every way to name a URL in a request.
NAMED: dict[str, Callable[[str], Any]] = {
    "/v1/chat/completions": lambda url: [{"type": "image_url", "image_url": {"url": url}}],
    "/v1/messages": lambda url: [{"type": "image", "source": {"type": "url", "url": url}}],
    "/v1/responses": lambda url: [{"type": "input_image", "image_url": url}],
    "/api/chat": lambda url: url,
}


async def test_p14_only_configured_backends_are_connected_to(
    monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """A recorder on the one function that connects; and a server that waits in vain (CVE-2026-24779)."""
    made: list[tuple[str, int]] = []
    connect = link.connect

    async def recording(host: str, port: int) -> Any:
        made.append((host, port))
        return await connect(host, port)

    monkeypatch.setattr("penstock.relay.transport.connect", recording)
    (waiting,) = await nursery.start(partial(trio.serve_tcp, refuse_to_be_called, 0, host="127.0.0.1"))
    port = waiting.socket.getsockname()[1]
    door = await open_door(nursery)
    asked = 0
    for path, part in NAMED.items():
        for url in (IMAGE.format(port=port), f"http://127.0.0.1:{port}\\@x/", f"file:///etc/passwd?{port}", "//x/y"):
            field = "input" if path == "/v1/responses" else "messages"
            message = {"role": "user", "content": part(url)}
            if path == "/api/chat":
                message |= {"content": "hi", "images": [url]}
            body = json.dumps({"model": "sim", "max_tokens": 9, "stream": True, field: [message]}).encode()
            status, _, _ = await answered(door.address, post(path, body, "Content-Type: application/json"))
            assert status in (200, 400)
            asked += status == 200
    assert asked, "some of them are passed on, and it is the backend's to refuse them"
    for path in ("/v1/models", "/api/tags", "/props", "/api/v1/model"):
        await answered(door.address, get(path))
    host, _, backend = door.simulation.url.removeprefix("http://").partition(":")
    assert set(made) == {(host, int(backend))}


async def refuse_to_be_called(stream: trio.SocketStream) -> None:
    raise AssertionError("somebody has fetched what a prompt named")


def test_p14_there_is_one_function_that_connects() -> None:
    """So that the recorder above misses nothing."""
    package = Path(link.__file__).parents[1]
    calls = (
        "open_tcp_stream",
        "connect_ex(",
        ".connect((",
        "create_connection",
        "open_ssl_over_tcp",
        "urlopen",
        "httpx.Client",
        "AsyncClient",
    )
    found = {
        str(path.relative_to(package))
        for path in package.rglob("*.py")
        if path.parts[-2] not in ("simulate", "cli")
        for word in calls
        if word in path.read_text()
    }
    # of these, the owner's own questions in service/ look for backends on this machine
    assert {name for name in found if not name.startswith("service/")} == {"relay/link.py"}


# --- P15: many in little


@pytest.mark.parametrize("north", [north for north in POSTED if "images" in LANGUAGES[north].many])
async def test_p15_images_are_counted(north: str, nursery: trio.Nursery) -> None:
    """Not only their bytes (CVE-2026-5497)."""
    door = await open_door(nursery, limits=Limits(images=2))
    language = LANGUAGES[north]
    for count, status in ((2, 200), (3, 400)):
        body = language.asked(language.many["images"](count))
        got, _, answer = await answered(door.address, post(language.path, body, "Content-Type: application/json"))
        assert got == status
    assert b"limits.images" in answer


@pytest.mark.parametrize(
    "part",
    [
        {"type": "image_url", "image_url": {"url": "data:image/jpeg;base64,AAAA,BBBB"}},
        {"type": "video_url", "video_url": {"url": "data:video/jpeg;base64,AAAA,BBBB,CCCC"}},
        {"type": "video_url", "video_url": "DATA:video/jpeg;base64" + ",AAAA" * 10_000},
        {"type": "input_video", "input_video": "data:video/jpeg;base64,AAAA,BBBB"},
    ],
)
async def test_p15_one_url_is_one_image(part: dict[str, Any], nursery: trio.Nursery) -> None:
    door = await open_door(nursery)
    status, _, body = await answered(door.address, call("sim", messages=[{"role": "user", "content": [part]}]))
    assert (status, b"nobody has counted" in body) == (400, True)


async def test_p15_lists_are_counted(nursery: trio.Nursery) -> None:
    door = await open_door(nursery, limits=Limits(items=100))
    for count, status in ((100, 200), (101, 400)):
        assert (await answered(door.address, call("sim", stop=["x"] * count)))[0] == status


# --- P16: what becomes large when it is unpacked

BOMB = 32 * 1024 * 1024


@cache
def bomb(coding: str) -> bytes:
    """So many blanks, packed."""
    return gzip.compress(b" " * BOMB, 1) if coding == "gzip" else zlib.compress(b" " * BOMB, 1)


def resident() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * os.sysconf("SC_PAGESIZE")


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "zstd", "gzip, gzip"])
async def test_p16_a_clients_bomb_is_not_unpacked(coding: str, nursery: trio.Nursery) -> None:
    """Nothing is: a body in another coding is no JSON."""
    packed = bomb("gzip" if "gzip" in coding else "deflate")
    door = await open_door(nursery)
    before = resident()
    status, _, body = await answered(
        door.address,
        post("/v1/chat/completions", packed, "Content-Type: application/json", f"Content-Encoding: {coding}"),
    )
    assert (status, b"Content-Encoding" in body) == (415, True)
    assert resident() - before < BOMB / 4
    assert door.asked == []


@pytest.mark.parametrize("coding", ["gzip", "deflate", "br", "GZIP", "identity, gzip"])
async def test_p16_a_backends_bomb_is_not_unpacked(coding: str, nursery: trio.Nursery) -> None:
    packed = bomb("gzip")
    head = f"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Encoding: {coding}\r\n"
    address = await before_a_backend(nursery, head.encode() + b"Content-Length: %d\r\n\r\n%b" % (len(packed), packed))
    before = resident()
    status, _, body = await answered(address, call("m"))
    assert (status, b"Content-Encoding" in body) == (502, True)
    assert resident() - before < BOMB / 4


async def before_a_backend(nursery: trio.Nursery, answer: bytes) -> str:
    """A daemon with a backend that answers everything so."""

    async def converse(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                if not (more := bytes(await stream.receive_some())):
                    return
                data += more
            try:
                await stream.send_all(answer)
                await stream.send_eof()
                while await stream.receive_some():
                    pass
            except trio.BrokenResourceError:
                return

    (listener,) = await nursery.start(partial(trio.serve_tcp, converse, 0, host="127.0.0.1"))
    backend = Backend(kind="openai", url=f"http://127.0.0.1:{listener.socket.getsockname()[1]}")
    config = Config(
        server=Server(listen=("127.0.0.1:0",)), backends={"b": backend}, routes={"*": Route(targets=("b",))}
    )
    (address,) = await nursery.start(Daemon(config).serve)
    assert isinstance(address, str)
    return address


# --- P17: headers and trailers without end


async def test_p17_a_clients_trailers_are_bounded_and_merge_into_nothing(nursery: trio.Nursery) -> None:
    door = await open_door(nursery)
    head = f"POST /v1/chat/completions HTTP/1.1\r\n{HOST}\r\nTransfer-Encoding: chunked\r\n\r\n".encode()
    body = json.dumps({"model": "sim", "messages": [{"role": "user", "content": "hi"}]}).encode()
    chunk = b"%x\r\n%b\r\n0\r\n" % (len(body), body)
    async with connected(door.address) as client:
        await client.send(head + chunk + b"Authorization: Bearer x\r\nHost: evil\r\nContent-Length: 5\r\n\r\n")
        assert (await client.answer())[0] == 200
    async with connected(door.address) as client:
        with trio.fail_after(20):
            try:
                await client.send(head + chunk)
                for _ in range(2000):
                    await client.send(b"X-Trailer: " + b"x" * 1000 + b"\r\n")
            except trio.BrokenResourceError:
                return
            # what was sent is far more than a head may be: the connection is closed for it
            await client.sees_the_close()


@pytest.mark.parametrize(
    "answer",
    [
        b"HTTP/1.1 200 OK\r\n" + b"X-A: b\r\n" * 100_000,
        b"HTTP/1.1 200 OK\r\nX-A: " + b"b" * 1_000_000,
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n" + b"X-A: b\r\n" * 100_000,
        b"HTTP/1.1 100 Continue\r\n\r\n" * 100_000,
    ],
    ids=["many headers", "a long header", "trailers", "interim answers"],
)
async def test_p17_a_backends_head_is_bounded(answer: bytes, nursery: trio.Nursery) -> None:
    address = await before_a_backend(nursery, answer)
    with trio.fail_after(20):
        status, _, body = await answered(address, call("m"))
    assert status == 502, body


# --- P18 stands in tests/server/test_server_framing.py; P19: bodies that are no JSON


@pytest.mark.parametrize("north", POSTED)
async def test_p19_no_form_is_taken_apart(north: str, nursery: trio.Nursery) -> None:
    """Its boundary has hung a server before it was asked for a key (CVE-2026-55446).  Nobody waits for its body."""
    door = await open_door(nursery)
    for boundary in ("x", "x" * 3000):
        async with connected(door.address) as client:
            head = f"POST {POSTED[north].path} HTTP/1.1\r\n{HOST}\r\nContent-Length: 100\r\n"
            await client.send(f"{head}Content-Type: multipart/form-data; boundary={boundary}\r\n\r\n".encode())
            with trio.fail_after(20):
                await client.send(b"x" * 100)
                assert (await client.answer())[0] == 415
    assert door.asked == []


# --- what a page could set going by an image's address, if it got that far


async def test_a_get_sets_no_model_to_work(nursery: trio.Nursery) -> None:
    """But for the one that a browser's EventSource can only ask by a GET, and that the guard keeps for listed pages."""
    door = await open_door(nursery)
    for asking in door.askings:
        if asking.method == "GET" and asking.path != "/api/chat/stream":
            await answered(door.address, asking.raw("Connection: close"))
    assert door.simulation.records.counters.requests == 0
    assert door.simulation.records.counters.probes > 0


@pytest.mark.parametrize("kind", [b"\xe9/\xff", b"text/html; x=\x85", b"x" * 5000, b"a\tb", b"", b"text/html"])
async def test_a_backends_content_type_makes_no_header_of_its_own(kind: bytes, nursery: trio.Nursery) -> None:
    """It is passed on with what is passed on unread."""
    address = await before_a_backend(
        nursery, b"HTTP/1.1 200 OK\r\nContent-Type: %b\r\nContent-Length: 2\r\n\r\nhi" % kind
    )
    body = json.dumps({"model": "m", "input": "hi"}).encode()
    with trio.fail_after(20):
        status, headers, said = await answered(
            address, post("/v1/audio/speech", body, "Content-Type: application/json")
        )
    assert (status, said) == (200, b"hi")
    assert headers["content-type"].isascii() and len(headers["content-type"]) <= 1000
