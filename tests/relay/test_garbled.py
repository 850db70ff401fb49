"""What a backend sends that is no answer: the log says which layer and what, and nothing that the backend wrote."""

from __future__ import annotations

import pytest
import trio
from playbook import Play, chunk, role

from penstock.chat.reasons import Reason

CANARY = b"c4n4ry"
HEAD = b"HTTP/1.1 200 OK\r\n"
CHUNKED = HEAD + b"Content-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
NO_HTTP = "the backend's answer is not HTTP/1.1"

#: What it sends, and what the log says of it.
SAID: dict[str, tuple[bytes, str, str]] = {
    "a greeting": (b"SSH-2.0-" + CANARY + b"\r\n\r\n", f"{NO_HTTP}: it does not begin with HTTP/", "http"),
    "a status line": (b"HTTP/1.1 " + CANARY + b"\r\n\r\n", f"{NO_HTTP}: its head is malformed", "http"),
    "a field": (HEAD + CANARY + b"\r\n\r\n", f"{NO_HTTP}: its head is malformed", "http"),
    "a length": (HEAD + b"Content-Length: " + CANARY + b"\r\n\r\n", f"{NO_HTTP}: bad Content-Length", "http"),
    "two lengths": (HEAD + b"Content-Length: 5, 6\r\n\r\n", f"{NO_HTTP}: bad Content-Length", "http"),
    "a length and chunks": (
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
        "the backend sent both Content-Length and Transfer-Encoding",
        "http",
    ),
    "a transfer coding": (
        HEAD + b"Transfer-Encoding: " + CANARY + b"\r\n\r\n",
        f"{NO_HTTP}: the only Transfer-Encoding that is understood is chunked",
        "http",
    ),
    "a content coding": (
        HEAD + b"Content-Encoding: " + CANARY + b"\r\nContent-Length: 9\r\n\r\n",
        "the backend answered in a Content-Encoding that nobody asked for",
        "http",
    ),
    "a head without end": (
        HEAD + b"X-A: " + CANARY * 20_000,
        f"{NO_HTTP}: its head is larger than 65536 bytes",
        "http",
    ),
    "half a head": (HEAD + CANARY, f"{NO_HTTP}: it ends in its head", "http"),
    "a chunk size": (CHUNKED + CANARY + b"\r\n", f"{NO_HTTP}: not a chunk size", "http"),
    "an endless chunk size": (CHUNKED + b"5;" + CANARY * 100, f"{NO_HTTP}: a chunk size line has no end", "http"),
    "a chunk that goes on": (
        CHUNKED + b"2\r\n: " + CANARY,
        f"{NO_HTTP}: a chunk does not end where its size says",
        "http",
    ),
    "trailers without end": (
        CHUNKED + b"0\r\nX-A: " + CANARY * 5000,
        f"{NO_HTTP}: the trailers of a chunked body have no end",
        "http",
    ),
    "no JSON": (
        HEAD + b"Content-Type: text/event-stream\r\n\r\ndata: {" + CANARY + b"\n\n",
        "the backend sent a frame that is not JSON",
        "parse",
    ),
    "another shape": (
        HEAD + b'Content-Type: text/event-stream\r\n\r\ndata: {"choices": "' + CANARY + b'"}\n\n',
        "the backend sent a frame of another shape",
        "schema",
    ),
    "a step that cannot be": (
        HEAD + b"Content-Type: text/event-stream\r\n\r\n" + role() + chunk("a", finish_reason="stop") + chunk("c4n4ry"),
        "the backend went on after its finish reason",
        "schema",
    ),
}


@pytest.mark.parametrize("case", SAID)
async def test_the_log_tells_the_layers_apart(case: str, nursery: trio.Nursery, autojump_clock: object) -> None:
    sent, logged, layer = SAID[case]
    play = Play(nursery)
    client = play.asks()
    backend = await play.backend()
    await backend.begins(sent)
    await backend.hangs_up()
    outcome = await play.outcome()
    assert (outcome.reason, outcome.message, outcome.layer) == (Reason.BACKEND_GARBLED, logged, layer)
    # the client is told in the same words, and then in the backend's own
    assert logged in client.got.decode()
