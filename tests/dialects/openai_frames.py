"""Frames of OpenAI-compatible backends, as the tests write them, and how they are read."""

from __future__ import annotations

import json

from penstock.chat.events import (
    Event,
    Finish,
    FinishReason,
    Opened,
)
from penstock.dialects.base import Limits, Reader
from penstock.dialects.openai import openai_north, openai_south

CHAT = openai_north.parse("chat", b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}')
TEXT = openai_north.parse("completion", b'{"model":"m","prompt":"x","stream":true}')
HEAD = {"id": "c-1", "object": "chat.completion.chunk", "created": 1700000000, "model": "qwen"}
NAMES = ("c-1", 1700000000, "qwen")


def sse(value: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(value).encode()


def chunk(delta: object = None, finish: str | None = None, **more: object) -> bytes:
    return sse({**HEAD, "choices": [{"index": 0, "delta": delta or {}, "finish_reason": finish}], **more})


def text_chunk(text: str, finish: str | None = None, **more: object) -> bytes:
    choice = {"index": 0, "text": text, "logprobs": None, "finish_reason": finish}
    return sse({**HEAD, "object": "text_completion", "choices": [choice], **more})


def call(
    index: int | None, arguments: object = "", identity: str | None = None, name: str | None = None
) -> dict[str, object]:
    fragment: dict[str, object] = {} if index is None else {"index": index}
    if identity is not None:
        fragment |= {"id": identity, "type": "function"}
    function: dict[str, object] = {} if name is None else {"name": name}
    return {**fragment, "function": {**function, "arguments": arguments}}


def calls(*fragments: dict[str, object]) -> dict[str, object]:
    return {"tool_calls": list(fragments)}


USAGE = {"prompt_tokens": 3, "completion_tokens": 2, "total_tokens": 5}
USAGE_CHUNK = sse({**HEAD, "choices": [], "usage": USAGE})
ROLE = chunk({"role": "assistant", "content": None})
TEXT_A = chunk({"content": "a"})
STOP = chunk({}, "stop")
DONE = b"data: [DONE]\n\n"
OPENED = Opened(*NAMES, ROLE)
STOPPED = Finish(FinishReason.STOP, STOP)
LATE = Opened(*NAMES)  # the head of a first frame that says more than that

#: name, what the backend sends, the events, whether the answer is complete


def read(reader: Reader, *pieces: bytes) -> list[Event]:
    return [event for piece in pieces for event in reader.receive(piece)] + reader.end()


def chat_reader(content_type: str = "text/event-stream") -> Reader:
    return openai_south.reader(CHAT, content_type, Limits())
