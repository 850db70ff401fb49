"""What fuzzing and the properties found, each by its name."""

from __future__ import annotations

import time

import pytest

from asking import LANGUAGES
from penstock.chat.events import Failed, Text, Usage
from penstock.dialects.base import Identity, Limits
from penstock.dialects.jsontext import decode_request
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.dialects.sse import Comment, Decoder, Frame
from penstock.errors import BackendGarbled, BadRequest
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
    begun = time.process_time()
    with pytest.raises(BadRequest, match="'89999' twice"):
        decode_request(body)
    assert time.process_time() - begun < 2


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


#: The end of an answer with a number in each place where a server says a count or a time.
COUNTED = {
    "openai": b'data: {"choices":[{"index":0,"delta":{"content":"x"},"finish_reason":"stop"}],"usage":'
    b'{"prompt_tokens":%b,"completion_tokens":%b},"timings":{"prompt_ms":%b}}\n\ndata: [DONE]\n\n',
    "ollama": b'{"model":"m","message":{"role":"assistant","content":"x"},"done":true,"done_reason":"stop",'
    b'"total_duration":7,"prompt_eval_count":%b,"eval_count":%b,"prompt_eval_duration":%b}\n',
    "anthropic": b'data: {"type":"message_start","message":{"usage":{"input_tokens":%b,"output_tokens":1}}}\n\n'
    b'data: {"type":"message_delta","delta":{"stop_reason":"end_turn"},"usage":{"output_tokens":%b,'
    b'"cache_read_input_tokens":%b}}\n\ndata: {"type":"message_stop"}\n\n',
    "llamacpp": b'data: {"content":"x","stop":true,"tokens_evaluated":%b,"tokens_predicted":%b,'
    b'"timings":{"prompt_ms":%b}}\n\n',
}


@pytest.mark.parametrize("number", [b"-5", b"1" + b"0" * 30, b"1" + b"0" * 400])
@pytest.mark.parametrize("kind", COUNTED)
def test_a_number_that_no_count_can_be_is_not_told(kind: str, number: bytes) -> None:
    """Nor does it end the answer: counters take no negative number, and floats none of 400 digits."""
    asked = {"prompt": "a", "suffix": "b"} if kind == "llamacpp" else {}
    operation = "completion" if asked else "chat"
    request = NORTHBOUND["openai"].parse(operation, LANGUAGES["openai"].asked({"stream": True} | asked))
    reader = SOUTHBOUND[kind].reader(request, "", Limits())
    took = b"1e308" if kind == "llamacpp" else number
    events = reader.receive(COUNTED[kind] % (number, number, took)) + reader.end()
    assert reader.complete and not any(isinstance(event, Failed) for event in events)
    (usage,) = [event for event in events if isinstance(event, Usage)]
    assert (usage.prompt_tokens, usage.completion_tokens, usage.prompt_ns) == (0, 0, None)


@pytest.mark.parametrize("kind", ["openai", "llamacpp"])
def test_a_time_that_is_no_time_is_not_told(kind: str) -> None:
    request = NORTHBOUND["openai"].parse("completion", b'{"model":"m","prompt":"a","suffix":"b","stream":true}')
    if kind == "openai":
        request = NORTHBOUND["openai"].parse("chat", LANGUAGES["openai"].asked({"stream": True}))
    reader = SOUTHBOUND[kind].reader(request, "", Limits())
    events = reader.receive(COUNTED[kind] % (b"1", b"2", b"1e308")) + reader.end()
    (usage,) = [event for event in events if isinstance(event, Usage)]
    assert (usage.prompt_tokens, usage.completion_tokens, usage.prompt_ns) == (1, 2, None)


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_comment_that_makes_a_frame_too_long_is_none_in_any_cut(size: int) -> None:
    body = b"data: %b\n:%b\n\n" % (b"x" * 250, b"y" * 250)

    def read() -> None:
        decoder = Decoder(400)
        for at in range(0, len(body), size):
            assert decoder.receive(body[at : at + size]) == []
            decoder.check()

    with pytest.raises(BackendGarbled, match=r"limits\.line"):
        read()


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_of_json_does_not_count_with_the_frame_that_it_ends(size: int) -> None:
    body = b'data: %b\n{"a":"%b"}\n\n' % (b"x" * 250, b"y" * 250)
    decoder = Decoder(400)
    found: list[Frame | Comment] = []
    for at in range(0, len(body), size):
        found += decoder.receive(body[at : at + size])
        decoder.check()
    assert [len(frame.data) for frame in found if isinstance(frame, Frame)] == [250, 258]


@pytest.mark.parametrize("size", [1, 7, 1000])
def test_a_line_of_json_that_is_too_long_loses_nothing_before_it(size: int) -> None:
    body = b'data: x\n{"a":"%b"}\n\n' % (b"y" * 500)
    decoder = Decoder(400)
    found = [frame for at in range(0, len(body), size) for frame in decoder.receive(body[at : at + size])]
    assert found[0] == Frame(b"x")
    with pytest.raises(BackendGarbled, match=r"limits\.line"):
        decoder.check()
