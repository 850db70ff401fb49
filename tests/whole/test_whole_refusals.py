"""What cannot be answered is refused in the words of whoever asked, with one line in the log, and costs nothing."""

from __future__ import annotations

import json
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from process import Books, Process, books

from penstock.simulate.server import Settings, listen, serve
from rawhttp import CHAT, GENERATE, HOST, OLLAMA_CHAT, answered, ask, call, get, post

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
[limits]
body = 4096
queue = 0
[backends.sim]
kind = "simulate"
url = "http://127.0.0.1:{port}"
slots = 10
[backends.one]
kind = "simulate"
url = "http://127.0.0.1:{port}"
[backends.nobody]
kind = "simulate"
url = "http://127.0.0.1:1"
[routes]
qwen-coder = ["sim"]
mistral-small = ["sim"]
nobody = ["nobody"]
busy = ["one/sim:fault=mute"]
refusing = ["sim/sim:status=418"]
"""


class Case(msgspec.Struct, frozen=True):
    """A request and what it gets; ``says`` are words of the message."""

    request: Callable[[str], bytes]
    status: int
    code: str
    says: str = ""
    retry: bool = False


def body(content: bytes) -> Callable[[str], bytes]:
    return lambda path: post(path, content, "Content-Type: application/json")


def model(name: str, **fields: Any) -> Callable[[str], bytes]:
    return lambda path: call(name, path=path, **fields)


def typed(media_type: str) -> Callable[[str], bytes]:
    return lambda path: call("qwen-coder", f"Content-Type: {media_type}", path=path)


CASES = {
    "no JSON": Case(body(b"{'model': 'x'}"), 400, "bad_request", "JSON"),
    "half a JSON": Case(body(b'{"model": "x", "messages": ['), 400, "bad_request", "JSON"),
    "no UTF-8": Case(body(b'{"model": "\xff\xfe"}'), 400, "bad_request"),
    "UTF-16": Case(body('{"model": "x"}'.encode("utf-16")), 400, "bad_request"),
    "an endless number": Case(body(b'{"model": "qwen-coder", "n": 1e999, "messages": 5}'), 400, "bad_request"),
    "too deep": Case(body(b'{"model":"qwen-coder","x":' + b"[" * 900 + b"]" * 900 + b"}"), 400, "bad_request", "deep"),
    "nothing": Case(body(b""), 400, "bad_request"),
    "a list": Case(body(b"[]"), 400, "bad_request", "object"),
    "a number": Case(body(b"5"), 400, "bad_request", "object"),
    "null": Case(body(b"null"), 400, "bad_request", "object"),
    "messages of the wrong type": Case(model("qwen-coder", messages=5, prompt=5), 400, "bad_request"),
    "a message of the wrong type": Case(model("qwen-coder", messages=[5], prompt=[{}]), 400, "bad_request"),
    "stream of the wrong type": Case(model("qwen-coder", stream="yes"), 400, "bad_request", "stream"),
    "no model": Case(body(b'{"messages": [], "prompt": ""}'), 400, "bad_request", "model"),
    "an unknown model": Case(model("qwen-code"), 404, "model_not_found", "near names: qwen-coder"),
    "a model with controls": Case(model("x\n\x1b[31m"), 404, "model_not_found"),
    "too large": Case(body(b" " * 5000), 413, "too_large", "limits.body (4096 bytes)"),
    "XML": Case(typed("application/xml"), 415, "unsupported_media_type", "application/json"),
    "an image": Case(typed("image/png"), 415, "unsupported_media_type", "application/json"),
    "no slot": Case(model("busy"), 503, "queue_full", "limits.queue", retry=True),
    "no backend": Case(model("nobody"), 502, "connect_failed", "127.0.0.1:1"),
    "a backend that refuses": Case(model("refusing"), 418, "backend_refused"),
}  # fmt: skip


@pytest.fixture(scope="module")
def shared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Process, Any]]:
    with listen(Settings()) as listener:
        path: Path = tmp_path_factory.mktemp("refusals") / "penstock.toml"
        path.write_text(CONFIG.format(port=listener.getsockname()[1]))
        process = Process(path)
        yield process, listener
        process.end()
        process.assert_quiet()


@pytest.fixture
async def opened(shared: tuple[Process, Any], nursery: trio.Nursery) -> AsyncIterator[tuple[Process, Books]]:
    process, listener = shared
    await nursery.start(serve, Settings(), listener.dup())
    nursery.start_soon(process.read)
    async with books(process) as book:
        yield process, book


@pytest.mark.parametrize("path", [CHAT, "/v1/completions", OLLAMA_CHAT, GENERATE])
@pytest.mark.parametrize("case", CASES.values(), ids=CASES)
async def test_a_refusal(case: Case, path: str, opened: tuple[Process, Books]) -> None:
    process, book = opened
    seen = len(process.lines)
    with trio.fail_after(20):
        async with AsyncExitStack() as stack:
            if case.code == "queue_full":
                holder = await ask(process.address, call("busy"))
                stack.callback(holder.stream.socket.close)
                await book.until(lambda health: health["backends"]["one"]["busy"] == 1)
            status, headers, content = await answered(process.address, case.request(path))
        told = json.loads(content)
        message = told["error"]["message"] if path.startswith("/v1") else told["error"]
        assert status == case.status
        assert headers["content-type"] == "application/json"
        assert case.says in message
        if path.startswith("/v1"):
            assert told["error"]["code"] == case.code
            assert set(told["error"]) == {"message", "type", "param", "code"}
        else:
            assert isinstance(message, str)
        assert ("retry-after" in headers) == case.retry
        await book.nothing_left(idle=True)
        # the next line in the log comes after ours
        await answered(process.address, get("/nowhere"))
        await process.line("request refused", path="/nowhere")
    lines = [line for line in process.lines[seen:] if case.code in (line.get("code"), line.get("reason"))]
    process.lines.clear()
    assert len(lines) == 1
    assert "exception" not in lines[0]
    assert str(lines[0]["message"]).isprintable()


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        (get(CHAT), 405),
        (get(OLLAMA_CHAT), 405),
        (post("/v1/models", b""), 405),
        (post(CHAT, b"{}", method="PUT"), 405),
        (post(GENERATE, b"{}", method="DELETE"), 405),
        (get("/v1/nowhere"), 404),
        (get("/api/nowhere"), 404),
        (get("/v1//chat/completions"), 404),
        (get("/api/../v1/models"), 404),
        (get("/%2e%2e/etc/passwd"), 404),
        (get("/static/x"), 404),
        (get("/v1/models/nowhere"), 404),
        (post("/api/show", b'{"model": "nowhere"}'), 404),
    ],
)
async def test_a_wrong_door(request_: bytes, status: int, opened: tuple[Process, Books]) -> None:
    process, book = opened
    with trio.fail_after(20):
        told, headers, content = await answered(process.address, request_)
        assert (told, headers["content-type"]) == (status, "application/json")
        error = json.loads(content)["error"]
        assert isinstance(error, str if request_.split()[1].startswith(b"/api/") else dict)
        await book.nothing_left(idle=True)


@pytest.mark.parametrize(
    "media_type", [None, "application/json", "application/json; charset=utf-8", "APPLICATION/JSON"]
)
async def test_media_types_that_are_accepted(media_type: str | None, opened: tuple[Process, Books]) -> None:
    process, _ = opened
    headers = [f"Content-Type: {media_type}"] if media_type else []
    with trio.fail_after(20):
        status, _, _ = await answered(process.address, call("qwen-coder", *headers))
    assert status == 200


#: What is no request: what is sent, the status, the words of the message.
NO_REQUEST = {
    "no HTTP": (b"EHLO sk-c4n4ry\r\n\r\n", 400, "illegal request line"),
    "a broken header": (get("/v1/models", "x-api-key : sk-c4n4ry"), 400, "illegal header line"),
    "no host": (b"GET / HTTP/1.1\r\n\r\n", 400, "Missing mandatory Host"),
    "TLS": (b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03\r\n\r\n", 400, "http://"),
    "a long head": (get("/v1/models", "X-A: " + "sk-c4n4ry" * 10_000), 431, "limits.headers (65536 bytes)"),
    "a long target": (get("/v1/models?" + "sk-c4n4ry" * 1000), 414, "limits.url (8192 bytes)"),
}


@pytest.mark.parametrize("case", NO_REQUEST)
async def test_what_is_no_request_has_its_line_too(case: str, opened: tuple[Process, Books]) -> None:
    process, book = opened
    request, status, says = NO_REQUEST[case]
    counter = 'penstock_refused_requests_total{code="bad_request"}'
    with trio.fail_after(20):
        before = (await book.metrics()).get(counter, 0)
        told, _, _ = await answered(process.address, request)
        line = await process.line("request refused", peer="127.0.0.1")
        assert (await book.metrics())[counter] == before + 1
    assert (told, line["status"], line["code"], line["level"]) == (status, status, "bad_request", "info")
    assert says in line["message"]
    assert "c4n4ry" not in json.dumps(process.lines)
    process.lines.clear()


async def test_a_host_that_is_not_ours(opened: tuple[Process, Books]) -> None:
    process, _ = opened
    with trio.fail_after(20):
        request = get("/v1/models").replace(HOST.encode(), b"Host: evil.test")
        status, headers, _ = await answered(process.address, request)
    assert (status, headers["connection"]) == (421, "close")


async def test_a_target_that_was_tried_in_vain_has_a_line_of_the_same_stream(
    serving: Callable[[str], Process], nursery: trio.Nursery
) -> None:
    simulation = await nursery.start(serve, Settings())
    port = simulation.url.rpartition(":")[2]
    process = serving(CONFIG.format(port=port) + 'twice = ["nobody", "sim/sim:tokens=1"]\n')
    nursery.start_soon(process.read)
    with trio.fail_after(20):
        status, _, content = await answered(process.address, call("twice"))
        ended = await process.line("stream ended")
        failed = await process.line("target failed, trying the next")
    assert (status, ended["reason"], ended["target"]) == (200, "completed", "sim/sim:tokens=1"), content
    assert (failed["reason"], failed["target"]) == ("connect_failed", "nobody/twice")
    assert failed["stream"] == ended["stream"]
