"""vLLM and LM Studio are read as OpenAI is, so that what holds for one of these readers holds for all."""

from __future__ import annotations

import pytest

from penstock.chat.events import Text, Thinking
from penstock.dialects.base import Limits
from penstock.dialects.openai import OpenAISouth, openai_north
from penstock.dialects.openai_reader import DocumentReader, StreamReader
from penstock.dialects.registry import SOUTHBOUND

CHAT = openai_north.parse("chat", b'{"model":"m","messages":[{"role":"user","content":"x"}],"stream":true}')
COMPLETION = openai_north.parse("completion", b'{"model":"m","prompt":"x","stream":true}')
KINDS = ("openai", "vllm", "lmstudio")


@pytest.mark.parametrize("kind", KINDS)
def test_their_reader_is_that_of_openai(kind: str) -> None:
    south = SOUTHBOUND[kind]
    assert isinstance(south, OpenAISouth) and type(south).reader is OpenAISouth.reader
    # so that its frames are passed on to OpenAI's clients as well
    assert south.name == "openai"
    for request in (CHAT, COMPLETION):
        assert type(south.reader(request, "text/event-stream", Limits())) is StreamReader
        assert type(south.reader(request, "application/json", Limits())) is DocumentReader


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("field", ["reasoning", "reasoning_content"])
def test_reasoning_under_either_name_is_understood(kind: str, field: str) -> None:
    reader = SOUTHBOUND[kind].reader(CHAT, "text/event-stream", Limits())
    head = '"id":"a","object":"chat.completion.chunk","created":1,"model":"m"'
    deltas = ('{"role":"assistant","content":""}', f'{{"{field}":"r"}}', '{"content":"t"}')
    frames = [
        f'data: {{{head},"choices":[{{"index":0,"delta":{delta},"finish_reason":null}}]}}\n\n' for delta in deltas
    ]
    events = reader.receive("".join(frames).encode())
    assert [(type(event), event.text) for event in events if isinstance(event, Text | Thinking)] == [
        (Thinking, "r"),
        (Text, "t"),
    ]
