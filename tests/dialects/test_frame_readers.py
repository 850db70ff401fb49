"""What all readers of server-sent events do alike: a frame that breaks the rules is told with those before it."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from penstock.chat.events import Failed, Text
from penstock.dialects.anthropic_reader import MessageReader
from penstock.dialects.base import Limits
from penstock.dialects.koboldcpp_reader import GenerateReader
from penstock.dialects.llamacpp_infill import InfillReader
from penstock.dialects.openai_reader import StreamReader
from penstock.dialects.reader import FrameReader
from penstock.dialects.responses_reader import ResponseReader

LIMITS = Limits(line=200, answer=10_000)
READERS: dict[str, tuple[Callable[[], FrameReader], bytes]] = {
    "openai": (
        lambda: StreamReader(LIMITS, chat=True),
        b'data: {"id":"a","choices":[{"index":0,"delta":{"role":"assistant","content":"hi"}}]}\n\n',
    ),
    "responses": (
        lambda: ResponseReader(LIMITS, document=False),
        b'event: response.output_text.delta\ndata: {"type":"response.output_text.delta","delta":"hi"}\n\n',
    ),
    "anthropic": (
        lambda: MessageReader(LIMITS, document=False, framed=False),
        b"event: content_block_delta\n"
        b'data: {"type":"content_block_delta","index":0,"delta":{"type":"text_delta","text":"hi"}}\n\n',
    ),
    "koboldcpp": (
        lambda: GenerateReader(LIMITS, document=False),
        b'event: message\ndata: {"token":"hi","finish_reason":null}\n\n',
    ),
    "infill": (lambda: InfillReader(LIMITS, document=False), b'data: {"content":"hi","stop":false}\n\n'),
}


@pytest.mark.parametrize("name", READERS)
def test_what_breaks_the_rules_is_told_with_what_came_before_it(name: str) -> None:
    """Not with the next bytes, which may never come."""
    make, good = READERS[name]
    reader = make()
    events = reader.receive(good + b"data: " + b"x" * 300 + b"\n\n")
    assert [event.text for event in events if isinstance(event, Text)] == ["hi"]
    last = events[-1]
    assert isinstance(last, Failed)
    assert "limits.line" in last.message
    assert reader.done
