"""Where the corpus of a target begins: full requests, our own frames, the configuration that is shipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from full_requests import _FULLEST
from targets_beside import BESIDE
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection, Ping, TextMessage

from asking import LANGUAGES
from penstock.chat.events import Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.dialects.base import Identity, Timing
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND

EVENTS: list[Event] = [
    Opened("id", 1, "m"),
    Thinking("hm"),
    Text("é\n"),
    ToolDelta(0, "call_0", "look", '{"a":'),
    ToolDelta(0, arguments="1}"),
    Finish(FinishReason.TOOL_CALLS),
    Usage(3, 4),
]


def frames(north: str, *, stream: bool) -> bytes:
    operation = ("stream" if stream else "generate") if north == "koboldcpp" else "chat"
    request = NORTHBOUND[north].parse(operation, LANGUAGES[north].asked({"stream": stream}))
    writer = NORTHBOUND[north].writer(request, Identity(stream="s", created=1.0), passthrough=False)
    return writer.write(EVENTS) + writer.end(Timing(total_ns=1))


def seeds(name: str) -> Iterator[bytes]:
    kind, _, of = name.partition("-")
    match kind:
        case "sse":
            yield b"\x05" + frames("openai", stream=True)
            yield b"\x00: c\r\n\r\nevent: x\rdata: a\ndata: b\n\n{}\nerror: {}\n\n"
        case "ndjson":
            yield b"\x03" + frames("ollama", stream=True)
        case "answer" if of in BESIDE:
            for form in (0, 1, 64, 130):
                for answer in ANSWERS[of.partition("-")[0]]:
                    yield bytes([form, 16]) + answer
        case "answer":
            for form in (0, 1, 2, 4, 8, 12, 16, 20, 24, 130):
                for stream in (True, False):
                    yield bytes([form, 16]) + frames(SOUTHBOUND[of].name, stream=stream)
        case "refusal":
            yield b'\x10{"error":{"message":"m","code":"c","type":"t"}}'
            yield b'\xc8{"error":"m"}'
            yield b'\xc8{"object":"list","data":[{"id":"m","object":"model","created":1}]}'
            yield b'\xc8{"models":[{"name":"m","model":"m","modified_at":"2026-01-01T00:00:00Z","size":1}]}'
        case "request" if of in BESIDE:
            yield BESIDE[of][1]
        case "request":
            yield LANGUAGES[of].asked()
            for (dialect, _), fields in _FULLEST.items():
                if dialect == of:
                    yield json.dumps(fields).encode()
        case "toml":
            shipped = (Path(__file__).parents[2] / "etc/penstock.toml").read_text()
            yield "".join(
                line.lstrip("#") for line in shipped.splitlines(keepends=True) if "=" in line or "[" in line
            ).encode()
            yield b'[backends.a]\nkind = "openai"\nurl = "http://x"\n[routes]\n"*" = ["a"]\n'
        case "unread":
            yield b'model=m&voice=a\naudio/json\n{"model":"m","input":"a"}'
            part = b'--x\r\nContent-Disposition: form-data; name="%b"\r\n\r\nm\r\n'
            yield b"\nmultipart/form-data; boundary=x\n" + part % b"model" + part % b"file" + b"--x--\r\n"
        case "lists":
            yield b'{"data":[{"id":"m","type":"vlm","state":"loaded","max_context_length":1,"quantization":"q"}]}'
            yield b'{"models":[{"name":"m","size":1,"details":{"family":"f","parameter_size":"1B"},"digest":"d"}]}'
            yield b'{"tokens":[1,2]}'
            yield b'{"model":"m"}'
        case "http":
            yield b"\x05HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"
            chunks = b"2\r\nhi\r\n3;x\r\n...\r\n0\r\nX: y\r\n\r\n"
            yield b"\x01HTTP/1.1 103 Early\r\n\r\nHTTP/1.1 200\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks
            yield b"\x01HTTP/1.0 200 OK\r\nX: a\r\n b\r\n\r\nuntil the end"
        case "door":
            yield b"GET http://localhost:11435/v1/models?x HTTP/1.1\r\nHost: localhost:11435\r\nUpgrade: h2c\r\n\r\n"
            yield (
                b"POST /api/chat HTTP/1.1\r\nHost: 127.0.0.1:11435\r\nOrigin: null\r\nSec-Fetch-Site: none\r\n"
                b"Content-Type: text/plain; x\r\nContent-Length: 2\r\nAuthorization: Bearer sk-x\r\n\r\nhi"
            )
            yield (
                b"OPTIONS / HTTP/1.1\r\nHost: LOCALHOST:11435\r\nOrigin: http://page.example:3000\r\nAPI-Key: sk-x\r\n"
                b"Access-Control-Request-Method: POST\r\nAccess-Control-Request-Headers: a, b\r\n"
                b"Sec-WebSocket-Protocol: bearer.c2steA\r\nTransfer-Encoding: chunked\r\n\r\n"
            )
        case "websocket":
            yield from WEBSOCKET[of]()


def _handshake() -> Iterator[bytes]:
    yield (
        b"1.1\nupgrade: websocket\nconnection: keep-alive, Upgrade\nsec-websocket-version: 13\n"
        b"sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\norigin: x"
    )


def _messages() -> Iterator[bytes]:
    yield b'{"type":"chat.create","id":"a","messages":[{"role":"user","content":"hi"}],"model":"m"}'
    yield b'{"type":"chat.cancel","id":"a"}'
    yield b"hello"


def _frames() -> Iterator[bytes]:
    """A client's: two messages, one of them in pieces with a ping between, and a close."""
    protocol = Protocol(ConnectionType.CLIENT)
    said = [
        TextMessage("hello"),
        TextMessage("in ", message_finished=False),
        Ping(b"x"),
        TextMessage("pieces é"),
        CloseConnection(1000, "bye"),
    ]
    yield b"\x03" + b"".join(protocol.send(event) for event in said)
    yield b"\x00" + Protocol(ConnectionType.CLIENT).send(TextMessage("x" * 1100))
    yield b"\x01" + b"".join(Protocol(ConnectionType.CLIENT).send(Ping(b"")) for _ in range(7))


WEBSOCKET = {"handshake": _handshake, "messages": _messages, "frames": _frames}
_FRAME = b'event: %b\ndata: {"type":"%b",%b}\n\n'
_RESPONSE = b'"response":{"id":"r","created_at":1,"model":"m","output":[],"usage":{"input_tokens":1,"output_tokens":2}}'
#: Answers to those requests that are no chat.
ANSWERS = {
    "embeddings": (
        b'{"data":[{"embedding":[0.5,1],"index":1},{"embedding":"AAAAPw==","index":0}],"usage":{"prompt_tokens":3}}',
        b'{"embeddings":[[0.5],[1]],"prompt_eval_count":3,"total_duration":5,"load_duration":1}',
        b'{"embedding":[0.5]}',
        b'{"error":"m"}',
    ),
    "rerank": (b'{"results":[{"index":1,"relevance_score":0.5},{"index":0,"score":1}],"usage":{"total_tokens":3}}',),
    "fim": (
        b'data: {"content":"a","stop":false,"prompt_progress":{"total":2,"processed":1}}\n\n'
        b'data: {"content":"","stop":true,"stop_type":"limit","tokens_evaluated":1,"timings":{"prompt_ms":1.5}}\n\n',
        b'{"content":"a","stop":true,"tokens_predicted":1,"timings":{"predicted_ms":2}}',
    ),
    "responses": (
        b"".join(
            _FRAME % (name, name, rest)
            for name, rest in (
                (b"response.created", _RESPONSE),
                (b"response.output_item.added", b'"output_index":0,"item":{"type":"function_call","id":"i"}'),
                (b"response.function_call_arguments.delta", b'"item_id":"i","delta":"{}"'),
                (b"response.output_text.delta", b'"item_id":"j","delta":"a"'),
                (b"response.output_item.done", b'"output_index":0,"item":{"type":"message"},"sequence_number":5'),
                (b"response.completed", _RESPONSE),
            )
        ),
        b'{"id":"r","status":"completed","output":[{"type":"message","content":[{"type":"output_text","text":"a"}]}]}',
        b'event: error\ndata: {"type":"error","code":"c","message":"m"}\n\n',
    ),
}
