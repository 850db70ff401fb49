"""Where the corpus of a target begins: full requests, our own frames, the configuration that is shipped."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

from full_requests import _FULLEST

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
        case "answer":
            for form in (0, 1, 2, 4, 8, 12, 16, 20, 24, 130):
                for stream in (True, False):
                    yield bytes([form, 16]) + frames(SOUTHBOUND[of].name, stream=stream)
        case "refusal":
            yield b'\x10{"error":{"message":"m","code":"c","type":"t"}}'
            yield b'\xc8{"error":"m"}'
            yield b'\xc8{"object":"list","data":[{"id":"m","object":"model","created":1}]}'
            yield b'\xc8{"models":[{"name":"m","model":"m","modified_at":"2026-01-01T00:00:00Z","size":1}]}'
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
