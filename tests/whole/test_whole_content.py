"""Prompts and answers in the log: nothing of them in any language unless the owner asks for it, and then all of it."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from functools import partial
from typing import Any

import pytest
import trio
from process import Process

from penstock.config.model import LOGS_CONTENT, Backend, Config, Server
from penstock.service.daemon import Daemon
from penstock.simulate.server import Settings, serve
from rawhttp import answered, connected, get, post

PROMPT, ANSWER = "pr0mpt-canary", f"t2{'.' * 38}"
MODEL = "sim:tokens=3,width=41"
CHAT: dict[str, Any] = {"messages": [{"role": "user", "content": PROMPT}]}
#: What clients ask in, by path.
ASKED: dict[str, dict[str, Any]] = {
    "/v1/chat/completions": CHAT,
    "/v1/completions": {"prompt": PROMPT},
    "/v1/responses": {"input": PROMPT},
    "/api/chat": CHAT,
    "/api/generate": {"prompt": PROMPT},
    "/v1/messages": {**CHAT, "max_tokens": 9},
    "/api/extra/generate/stream": {"prompt": PROMPT},
    "/api/chat/stream": {"message": PROMPT},
}
#: What backends are asked in.
KINDS = ("openai", "ollama", "anthropic", "koboldcpp")
QUOTE = json.dumps(f"cannot answer {PROMPT}, else than {ANSWER}")
#: What a backend says that quotes both, by the name of its model: a status and a body.
SAID: dict[str, tuple[int, str]] = {
    "refused": (400, f'{{"error": {{"message": {QUOTE}, "code": "context_length_exceeded"}}}}'),
    "refused-in-text": (500, QUOTE),
    "refused-key": (401, f'{{"error": {QUOTE}}}'),
    "failed": (200, f'{{"error": {QUOTE}}}'),
    "garbled": (200, f"{{nonsense {QUOTE}"),
    "misshapen": (200, f'{{"choices": {QUOTE}, "message": {QUOTE}, "type": {QUOTE}, "token": [{QUOTE}]}}'),
}


def path_config(body: str) -> str:
    return f'[server]\nlisten = ["127.0.0.1:0"]\nlog_level = "debug"\nlog_format = "json"\n{body}'


async def quote(stream: trio.SocketStream) -> None:
    """A backend in every language, which quotes what nobody shall read."""
    async with stream:
        request, length = b"", 0
        while not (head := request.partition(b"\r\n\r\n"))[1] or len(head[2]) < length:
            if not (data := await stream.receive_some()):
                return
            request += data
            length = int((re.search(rb"(?i)content-length: *([0-9]+)", request) or [0, 0])[1])
        wanted = re.search(rb"say:([a-z-]+);", request)
        status, body = SAID[wanted[1].decode()] if wanted else (404, "{}")
        lines = request.startswith((b"POST /api/chat", b"POST /api/generate HTTP"))
        kind = "application/json" if status != 200 else "application/x-ndjson" if lines else "text/event-stream"
        if status == 200:
            body = f"{body}\n" if lines else f"data: {body}\n\n"
        fields = f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\nConnection: close"
        await stream.send_all(f"HTTP/1.1 {status} X\r\n{fields}\r\n\r\n{body}".encode())


async def test_nothing_of_it_is_logged(serving: Callable[[str], Process], nursery: trio.Nursery) -> None:
    """Not even what a backend quotes of it, of every client's language and every backend's."""
    (listener,) = await nursery.start(partial(trio.serve_tcp, quote, 0, host="127.0.0.1"))
    port = listener.socket.getsockname()[1]
    backends = [f'[backends.{kind}]\nkind = "{kind}"\nurl = "http://127.0.0.1:{port}"\nslots = 64\n' for kind in KINDS]
    routes = "\n".join(f'"{kind}-*" = ["{kind}"]' for kind in KINDS)
    # The second of two is asked after the first has failed.
    routes += '\n"both-*" = ["openai", "ollama"]\n'
    process = serving(path_config("".join(backends) + f"[routes]\n{routes}"))
    nursery.start_soon(process.read)
    kept = {"stream": True, "store": False}
    told: dict[str, str] = {}

    async def ask(path: str, model: str) -> None:
        text = json.dumps({"model": model, **kept, **ASKED[path]})
        body = text.replace(PROMPT, f"{PROMPT} say:{model.partition('-')[2]};").encode()
        _, _, answer = await answered(process.address, post(path, body, "Connection: close"))
        told[f"{path} {model}"] = answer.decode()

    asked = [(path, f"{kind}-{said}") for path in ASKED for kind in (*KINDS, "both") for said in SAID]
    with trio.fail_after(60):
        for path in ASKED:
            async with trio.open_nursery() as askers:
                for of, model in asked:
                    if of == path:
                        askers.start_soon(ask, path, model)
        _, _, streams = await answered(process.address, get("/health"))
        refused = await process.line("stream ended", model="openai-refused")
    assert json.loads(streams)["log_content"] is False
    # The client is told what its backend said.
    assert PROMPT in told["/v1/chat/completions openai-refused"]
    log = [json.dumps(line) for line in process.lines]
    assert [line for line in log if PROMPT in line or ANSWER in line] == []
    ended = [line for line in process.lines if line["event"] == "stream ended"]
    assert len(ended) > len(asked) / 2
    assert refused["message"] == "the backend answered with HTTP 400 (context_length_exceeded)"
    assert not [line for line in process.lines if line["event"] == "stream content"]
    nursery.cancel_scope.cancel()


async def test_the_service_manager_is_told() -> None:
    backends = {"b": Backend(kind="ollama", url="http://127.0.0.1:9")}
    told = Daemon(Config(server=Server(log_content=True), backends=backends)).told()
    assert told == {"STATUS": f"{LOGS_CONTENT}; 0 streams; backends: b"}


@pytest.mark.parametrize("begins", ["on", "off"])
async def test_all_of_it_is_logged(begins: str, serving: Callable[[str], Process], nursery: trio.Nursery) -> None:
    """From the start or from a reload on, and loud; and not any more after another one."""
    simulation = await nursery.start(serve, Settings())
    backend = f'[backends.sim]\nkind = "openai"\nurl = "{simulation.url}/v1"\n[routes]\n"*" = ["sim"]\n'
    off = path_config(backend)
    on = path_config(f"log_content = true\n{backend}")
    process = serving(on if begins == "on" else off)
    nursery.start_soon(process.read)

    async def ask(path: str, model: str = MODEL, **more: Any) -> str:
        """The id of the stream."""
        body = json.dumps({"model": model, "stream": True, "store": False, **ASKED[path], **more}).encode()
        _, headers, _ = await answered(process.address, post(path, body, "Connection: close"))
        await process.line("stream ended", stream=headers["x-penstock-stream"])
        return headers["x-penstock-stream"]

    async def take(config: str, generation: int) -> None:
        process.config.write_text(config)
        process.signal(signal.SIGHUP)
        await process.line("reloaded", generation=generation)

    with trio.fail_after(30):
        generation = 1
        if begins == "off":
            await ask("/api/chat")
            assert PROMPT not in json.dumps(process.lines) and LOGS_CONTENT not in json.dumps(process.lines)
            await take(on, generation := 2)
        warned = await process.line(LOGS_CONTENT)
        assert warned["level"] == "warning"
        for path in ASKED:
            content = await process.line("stream content", stream=await ask(path))
            assert PROMPT in content["prompt"] and ANSWER in content["completion"]
        # What was thought and called, and no more of a long text than fits a pipe; a line end stays in its line.
        long = [{"role": "user", "content": "\n".join(["first", "x" * 100_000, "last"])}]
        stream = await ask("/v1/chat/completions", "sim:tokens=1,thinking=2,tools=1", messages=long)
        content = await process.line("stream content", stream=stream)
        assert content["thinking"] and json.loads(content["tool_calls"])[0]["name"]
        assert "first" in content["prompt"] and "last" in content["prompt"] and "characters" in content["prompt"]
        assert len(content["prompt"]) < 9000
        _, _, health = await answered(process.address, get("/health"))
        assert json.loads(health)["log_content"] is True
        await take(off, generation + 1)
        before = len(process.lines)
        await ask("/api/chat")
        # What follows a line of content would be here with the next stream's end.
        await ask("/api/chat")
        assert PROMPT not in json.dumps(process.lines[before:])
    nursery.cancel_scope.cancel()


async def test_what_began_before_it_was_switched_off_is_not_logged(
    serving: Callable[[str], Process], nursery: trio.Nursery
) -> None:
    simulation = await nursery.start(serve, Settings())
    backend = f'[backends.sim]\nkind = "openai"\nurl = "{simulation.url}/v1"\n[routes]\n"*" = ["sim"]\n'
    process = serving(path_config(f"log_content = true\n{backend}"))
    nursery.start_soon(process.read)
    body = json.dumps({"model": "sim:tokens=100000,rate=50,width=41", "stream": True, **CHAT}).encode()
    with trio.fail_after(30):
        async with connected(process.address) as client:
            await client.send(post("/v1/chat/completions", body))
            await client.until(ANSWER.encode())
            process.config.write_text(path_config(backend))
            process.signal(signal.SIGHUP)
            await process.line("reloaded", generation=2)
        await process.line("stream ended", reason="client_gone")
        # What follows a line of content would be here with the next stream's end.
        quick = json.dumps({"model": MODEL, "stream": True, **CHAT}).encode()
        await answered(process.address, post("/v1/chat/completions", quick, "Connection: close"))
        await process.line("stream ended", reason="completed")
    assert PROMPT not in json.dumps(process.lines) and ANSWER not in json.dumps(process.lines)
    nursery.cancel_scope.cancel()
