"""Any bytes on a real daemon's socket: an answer or a close within its deadlines, never a 500, and nothing stays."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from asking import LANGUAGES, POSTED
from matrix.estate import serving
from penstock.simulate.server import Settings
from wellformed import HOSTILE
from whole.process import Process

#: Clients at a time.
CROWD = 8
#: Seconds in which a connection must come to its end, on a busy machine.
DEADLINE = 30.0
#: What thousands of requests may leave in the allocator.
MIB = 1 << 20
GROWTH = 16 * MIB
CONFIG = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
heartbeat = "150ms"
[limits]
header_time = "150ms"
body_time = "150ms"
pong_time = "150ms"
headers = "4KiB"
body = "16KiB"
[timeouts]
write = "500ms"
total = "2s"
[backends.sim]
kind = "simulate"
url = "{url}"
slots = 16
[routes]
"*" = ["sim/sim:tokens=2"]
"""


HEALTH = b"GET /health HTTP/1.1\r\nHost: HERE\r\nConnection: close\r\n\r\n"


class Fuzzed:
    """The daemon, and what it held when nobody had asked yet."""

    def __init__(self, process: Process) -> None:
        self.process = process
        host, port = process.address.removeprefix("http://").rsplit(":", 1)
        self.peer = (host, int(port))
        self.name = f"{host}:{port}".encode()
        self.crowd = ThreadPoolExecutor(CROWD)
        for _ in range(3):
            self.ask([[HEALTH]] * CROWD)
        self.memory = process.memory()
        self.descriptors = self.held()

    def ask(self, requests: list[list[bytes]]) -> list[bytes]:
        """Everything that comes back on a connection of its own for each."""
        return list(self.crowd.map(self._ask, requests))

    def _ask(self, pieces: list[bytes]) -> bytes:
        ends = time.monotonic() + DEADLINE
        answer = b""
        with socket.create_connection(self.peer, timeout=DEADLINE) as sock, suppress(ConnectionError):
            for piece in pieces:
                sock.sendall(piece.replace(b"HERE", self.name))
            while data := sock.recv(65536):
                answer += data
                assert time.monotonic() < ends, "it hangs"
        return answer

    def is_quiet(self) -> None:
        """Its log has told of no bug so far, and of nothing that is no line of it."""
        self.process._take()
        bugs = [line for line in self.process.lines if line["level"] in ("error", "critical")]
        assert not bugs and not self.process.noise, (bugs, self.process.noise)
        self.process.lines.clear()

    def held(self) -> int:
        """The descriptors of a daemon at rest, but for kept connections; it must come to rest within the deadline."""
        ends = time.monotonic() + DEADLINE
        while True:
            (answer,) = self.ask([[HEALTH]])
            head, _, body = answer.partition(b"\r\n\r\n")
            assert head.startswith(b"HTTP/1.1 200 ")
            told = json.loads(body)
            idle = sum(backend["idle_connections"] for backend in told["backends"].values())
            held = self.process.descriptors() - idle
            if not any(told["streams"].values()) and held <= getattr(self, "descriptors", held):
                return held
            assert time.monotonic() < ends, (told, os.listdir(f"/proc/{self.process.pid}/fd"))

    def is_well(self) -> None:
        """It answers, and holds no more than at first."""
        self.is_quiet()
        self.held()
        assert self.process.memory() < self.memory + GROWTH


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fuzzed]:
    with serving(Settings(), lambda url: []) as (url, _):
        path = Path(tmp_path_factory.mktemp("fuzz")) / "penstock.toml"
        path.write_text(CONFIG.format(url=url))
        process = Process(path)
        daemon = Fuzzed(process)
        try:
            yield daemon
            daemon.is_well()
        finally:
            daemon.crowd.shutdown()
            process.end()


# --- requests, most of them nearly good

METHODS = st.sampled_from(
    [b"GET", b"POST", b"POST", b"POST", b"DELETE", b"HEAD", b"OPTIONS", b"PUT", b"get", b"", b"PRI"]
)
PATHS = st.sampled_from(
    [language.path.encode() for language in POSTED.values()]
    + [b"/health", b"/", b"*", b"/v1/models/x", b"/api/tags"]
    + [b"/v1/embeddings", b"/api/show", b"/v1/rerank", b"/api/extra/abort", b"/infill", b"/api/pull", b"/metrics"]
    + [b"/api/chat/stream?message=hi", b"/api/chat/stream?message=%ff&model=%00", b"//", b"/../..", b"/%2e%2e/"]
    + [b"/api/ws/chat"] * 4
    + [b"http://HERE/health", b"/api/blobs/sha256:x", b"/v1/" + b"x" * 200, b"/\xff", b"/v1/chat/completions/"]
)
HEADERS = st.sampled_from(
    [b"Host: HERE"] * 6
    + [b"Content-Type: application/json"] * 4
    + [b"Connection: close", b"Connection: keep-alive", b"Connection: upgrade", b"Upgrade: websocket", b"Upgrade: h2c"]
    + [b"Connection: keep-alive, Upgrade", b"Upgrade: websocket", b"Sec-WebSocket-Version: 13"]
    + [b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] * 2
    + [b"Expect: 100-continue", b"Content-Type: multipart/form-data; boundary=x", b"Content-Encoding: gzip", b"TE: x"]
    + [
        b"Origin: null",
        b"Sec-Fetch-Site: cross-site",
        b"Authorization: Bearer \xff",
        b"Last-Event-ID: 1",
        b"X:" + b"x" * 300,
    ]
    + [
        b"Content-Type: \xff",
        b"Accept: \xe9",
        b"Content-Length: 7",
        b"Transfer-Encoding: gzip",
        b": x",
        b"x",
        b"Host: \xff",
    ]
)
ATOMS = [
    b"{",
    b"}",
    b"[",
    b"]",
    b'"',
    b",",
    b":",
    b"0",
    b"-1",
    b"1e999",
    b"NaN",
    b"null",
    b"true",
    b'"\\ud800"',
    b"\xff",
]
ATOMS += [text.encode("utf-8", "surrogatepass") for text in HOSTILE]


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """What some language asks, with a few places changed; or nothing of the kind."""
    body = draw(st.sampled_from([language.asked({"stream": True}) for language in LANGUAGES.values()]) | st.binary())
    return changed(draw, body)


def changed(draw: st.DrawFn, data: bytes) -> bytes:
    for _ in range(draw(st.integers(0, 3))):
        at = draw(st.integers(0, len(data)))
        gone = draw(st.integers(0, 4))
        data = data[:at] + draw(st.sampled_from(ATOMS) | st.binary(max_size=8)) + data[at + gone :]
    return data


@st.composite
def requests(draw: st.DrawFn) -> bytes:
    """One request, framed in this way or that."""
    lines = [
        b" ".join(
            [draw(METHODS), draw(PATHS), draw(st.sampled_from([b"HTTP/1.1"] * 8 + [b"HTTP/1.0", b"HTTP/2", b""]))]
        )
    ]
    lines += draw(st.lists(HEADERS, min_size=1, max_size=5))
    body = draw(bodies())
    match draw(st.integers(0, 9)):
        case 0:
            lines.append(b"Content-Length: %d" % (len(body) + draw(st.integers(-3, 3))))
        case 1 | 2:
            lines.append(b"Transfer-Encoding: chunked")
            cut = draw(st.integers(0, len(body)))
            body = b"".join(b"%x\r\n%b\r\n" % (len(part), part) for part in (body[:cut], body[cut:]) if part)
            body += draw(
                st.sampled_from([b"0\r\n\r\n", b"0\r\nX: y\r\n\r\n", b"", b"ffffffffffffffffffff\r\n", b"-1\r\n"])
            )
        case 3:
            pass
        case _:
            lines.append(b"Content-Length: %d" % len(body))
    end = draw(st.sampled_from([b"\r\n"] * 8 + [b"\n", b"\r"]))
    return end.join([*lines, b"", b""]) + body


#: What makes a WebSocket of a connection.
UPGRADE = b"\r\n".join(
    [
        b"GET /api/ws/chat HTTP/1.1",
        b"Host: HERE",
        b"Upgrade: websocket",
        b"Connection: Upgrade",
        b"Sec-WebSocket-Version: 13",
        b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        b"",
        b"",
    ]
)


@st.composite
def frames(draw: st.DrawFn) -> bytes:
    """A WebSocket, and what comes on it: masked with nothing, so that it can be read here."""
    data = UPGRADE
    for _ in range(draw(st.integers(0, 4))):
        payload = draw(bodies())
        kind = draw(st.sampled_from([0x81] * 4 + [0x01, 0x80, 0x82, 0x88, 0x89, 0x8A, 0xC1, 0x83]))
        size = bytes([0x80 | len(payload)]) if len(payload) < 126 else b"\xfe" + len(payload).to_bytes(2)
        data += bytes([kind]) + size + bytes(4) + payload
    return data


@st.composite
def talks(draw: st.DrawFn) -> list[bytes]:
    """What one client sends, in the pieces that it sends it in."""
    asked = st.lists(requests(), min_size=1, max_size=3).map(b"".join)
    data = draw(asked | asked | asked | frames())
    if draw(st.booleans()):
        data = changed(draw, data)
    cuts = sorted({min(cut, len(data)) for cut in draw(st.lists(st.integers(0, 600), max_size=3))})
    return [data[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(data)], strict=True)]


STATUS = re.compile(rb"HTTP/1\.1 (\d\d\d) ")
CALM = [HealthCheck.too_slow, HealthCheck.data_too_large, HealthCheck.function_scoped_fixture]


def check(fuzzed: Fuzzed, crowd: list[list[bytes]]) -> None:
    fuzzed.is_quiet()
    for talk, answer in zip(crowd, fuzzed.ask(crowd), strict=True):
        assert not answer or STATUS.match(answer), (talk, answer)
        assert b"500" not in STATUS.findall(answer), (talk, answer)
        assert b"Traceback" not in answer and b"site-packages" not in answer, (talk, answer)


@settings(deadline=None, max_examples=12, suppress_health_check=CALM)
@given(crowd=st.lists(talks(), min_size=CROWD, max_size=CROWD))
def test_any_bytes(fuzzed: Fuzzed, crowd: list[list[bytes]]) -> None:
    check(fuzzed, crowd)


@pytest.mark.heavy
@settings(deadline=None, max_examples=300, suppress_health_check=CALM)
@given(crowd=st.lists(talks(), min_size=CROWD, max_size=CROWD))
def test_any_bytes_for_longer(fuzzed: Fuzzed, crowd: list[list[bytes]]) -> None:
    check(fuzzed, crowd)
