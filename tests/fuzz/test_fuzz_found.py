"""What fuzzing and the properties found, each by its name."""

from __future__ import annotations

import time

import pytest

from asking import LANGUAGES
from penstock.chat.events import Text
from penstock.dialects.base import Identity, Limits
from penstock.dialects.jsontext import decode_request
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BadRequest
from wellformed import units

#: A piece of text of each language whose frames are passed on as they came, with a field that penstock does not read.
PIECES = {
    "ollama": b'{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"x"},'
    b'"done":false,"more":"%b"}\n',
    "anthropic": b'event: content_block_delta\ndata: {"type":"content_block_delta","index":0,"delta":'
    b'{"type":"text_delta","text":"x"},"more":"%b"}\n\n',
    "openai": b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m","choices":[{"index":0,"delta":'
    b'{"role":"assistant","content":"x"},"finish_reason":null}],"more":"%b"}\n\n',
}


@pytest.mark.parametrize("broken", [b"\xed\xa0\x80", b"\xff", b"\xc3"])
@pytest.mark.parametrize("name", PIECES)
def test_broken_utf8_in_a_field_that_nobody_reads_is_not_passed_on(name: str, broken: bytes) -> None:
    """msgspec passes over such a field without a look, and clients' decoders stop at it."""
    request = NORTHBOUND[name].parse("chat", LANGUAGES[name].asked({"stream": True}))
    media = "application/x-ndjson" if name == "ollama" else "text/event-stream"
    events = SOUTHBOUND[name].reader(request, media, Limits()).receive(PIECES[name] % broken)
    assert [event.text for event in events if isinstance(event, Text)] == ["x"]
    writer = NORTHBOUND[name].writer(request, Identity(stream="s", created=1.0), passthrough=True)
    assert units(writer.content_type, writer.write(events))


def test_one_key_twice_among_very_many_is_found_at_once() -> None:
    """It was looked for with one search of the list for each key before it."""
    body = b"{" + b",".join(b'"%d":1' % number for number in range(90_000)) + b',"89999":1}'
    begun = time.perf_counter()
    with pytest.raises(BadRequest, match="'89999' twice"):
        decode_request(body)
    assert time.perf_counter() - begun < 2


def test_a_very_long_key_is_not_repeated_in_full() -> None:
    key = b"x" * 1_000_000
    with pytest.raises(BadRequest) as caught:
        decode_request(b'{"%b":1,"%b":1}' % (key, key))
    assert len(caught.value.message) < 200


@pytest.mark.parametrize("end", ["\u2028", "\u2029", "\x85"])
def test_a_message_of_a_websocket_is_one_line_for_every_reader(end: str) -> None:
    request = NORTHBOUND["websocket"].parse("chat", LANGUAGES["websocket"].asked())
    writer = NORTHBOUND["websocket"].writer(request, Identity(stream="s", created=1.0), passthrough=False)
    assert len(writer.write([Text(f"a{end}b")]).decode().splitlines()) == 1
