"""Every form in which a server tells an Ollama answer, and what is read from it."""

from __future__ import annotations

import json
import re

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.chat.events import PULSE, Event, Failed, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Operation, Request
from penstock.dialects.base import Limits, Reader
from penstock.dialects.ollama import ollama_south

OPENED = Opened(created=1789000000, model="m")
COUNTERS = (
    '"total_duration":9,"load_duration":1,"prompt_eval_count":5,"prompt_eval_duration":2,'
    '"eval_count":7,"eval_duration":6'
)
USAGE = Usage(prompt_tokens=5, completion_tokens=7, load_ns=1, prompt_ns=2, completion_ns=6, total_ns=9)
HEAD = '{"model":"m","created_at":"2026-09-10T00:26:40.123456789Z",'


def reader(operation: str = "chat", content_type: str = "application/x-ndjson", limits: Limits | None = None) -> Reader:
    request = Request(dialect="ollama", operation=Operation(operation), model="m", stream=True, body={})
    return ollama_south.reader(request, content_type, limits or Limits())


def read(*chunks: bytes, operation: str = "chat") -> list[Event]:
    told = reader(operation)
    return [event for chunk in chunks for event in told.receive(chunk)] + told.end()


def said(rest: str) -> str:
    return HEAD + rest + "}\n"


def message(rest: str, after: str = '"done":false') -> str:
    return said(f'"message":{{"role":"assistant",{rest}}},{after}')


def calls(*items: str, content: str = "", after: str = '"done":false') -> str:
    return message(f'"content":"{content}","tool_calls":[{",".join(items)}]', after)


def call(arguments: str, name: str = "f", call_id: str | None = "call_1") -> str:
    named = "" if call_id is None else f'"id":"{call_id}",'
    return f'{{{named}"function":{{"index":0,"name":"{name}","arguments":{arguments}}}}}'


def whole(event: Event, line: str) -> Event:
    return msgspec.structs.replace(event, raw=line.encode())


HELLO = message('"content":"Hello"')
HEY = said('"response":"Hey","done":false')
THINK = message('"content":"","thinking":"Hm"')
EMPTY = message('"content":""')
LAST = message('"content":""', f'"done":true,"done_reason":"stop",{COUNTERS}')
LAST_TEXT = said(f'"response":"","done":true,"done_reason":"length","context":[1,2],{COUNTERS}')
STOP = Finish(FinishReason.STOP)
CALLED = Finish(FinishReason.TOOL_CALLS)
STRANGE = message('"content":"x","new":{"a":[1]}', '"newer":null,"done":false')
TWO_CALLS = calls(call('{"b":1,"a":2}'), call("{}", name="g", call_id="call_2"))

# name: operation, body, events
CASES: dict[str, tuple[str, str, list[Event]]] = {
    "text and the end": ("chat", HELLO + LAST, [OPENED, whole(Text("Hello"), HELLO), whole(STOP, LAST), USAGE]),
    "generate": (
        "completion",
        HEY + LAST_TEXT,
        [OPENED, whole(Text("Hey"), HEY), whole(Finish(FinishReason.LENGTH), LAST_TEXT), USAGE],
    ),
    "thinking": ("chat", THINK, [OPENED, whole(Thinking("Hm"), THINK)]),
    "thinking of generate": (
        "completion",
        line := said('"response":"","thinking":"Hm","done":false'),
        [OPENED, whole(Thinking("Hm"), line)],
    ),
    "thinking and text in one line": (
        "chat",
        message('"content":"Yes","thinking":"Hm"'),
        [OPENED, Thinking("Hm"), Text("Yes")],
    ),
    "an empty piece": ("chat", EMPTY, [OPENED, PULSE]),
    "nothing but done:false": ("chat", said('"done":false'), [OPENED, PULSE]),
    "no calls": (
        "chat",
        message('"content":"x","tool_calls":[]') + message('"content":"y","tool_calls":null'),
        [OPENED, Text("x"), whole(Text("y"), message('"content":"y","tool_calls":null'))],
    ),
    "unknown fields": ("chat", STRANGE, [OPENED, whole(Text("x"), STRANGE)]),
    "CRLF": ("chat", HELLO[:-1] + "\r\n", [OPENED, whole(Text("Hello"), HELLO)]),
    "blank lines": ("chat", "\n" + EMPTY + " \r\n\n" + EMPTY, [OPENED, PULSE, PULSE]),
    "a line without LF": ("chat", HELLO[:-1], [OPENED, whole(Text("Hello"), HELLO)]),
    "Unicode's line ends are no ends": (
        "chat",
        line := HELLO.replace("Hello", "a\u2028b\x85c"),
        [OPENED, whole(Text("a\u2028b\x85c"), line)],
    ),
    "logprobs": (
        "chat",
        line := message('"content":"x"', '"done":false,"logprobs":[{"token":"x","logprob":-1}]'),
        [OPENED, whole(Text("x", logprobs=[{"token": "x", "logprob": -1}]), line)],
    ),
    # --- tool calls
    "a call in a line of its own": (
        "chat",
        (line := calls(call('{"b":1,"a":[2]}'))) + LAST,
        [OPENED, whole(ToolDelta(0, "call_1", "f", '{"b":1,"a":[2]}'), line), whole(CALLED, LAST), USAGE],
    ),
    "calls in the last line": (
        "chat",
        calls(call("{}"), content="Hi", after=f'"done":true,"done_reason":"stop",{COUNTERS}'),
        [OPENED, Text("Hi"), ToolDelta(0, "call_1", "f", "{}"), CALLED, USAGE],
    ),
    "the same index on two lines": (
        "chat",
        TWO_CALLS + (line := calls(call("{}", call_id="call_3"))),
        [
            OPENED,
            ToolDelta(0, "call_1", "f", '{"b":1,"a":2}'),
            ToolDelta(1, "call_2", "g", "{}"),
            whole(ToolDelta(2, "call_3", "f", "{}"), line),
        ],
    ),
    "integers of any size": (
        "chat",
        line := calls(call('{"n":123456789012345678901234567890}')),
        [OPENED, whole(ToolDelta(0, "call_1", "f", '{"n":123456789012345678901234567890}'), line)],
    ),
    "arguments as text": ("chat", calls(call(r'"{\"a\":1}"')), [OPENED, ToolDelta(0, "call_1", "f", '{"a":1}')]),
    "arguments as empty text": ("chat", calls(call('""')), [OPENED, ToolDelta(0, "call_1", "f", "{}")]),
    "arguments null": ("chat", calls(call("null")), [OPENED, ToolDelta(0, "call_1", "f", "{}")]),
    "length ran out in a call": (
        "chat",
        TWO_CALLS + message('"content":""', '"done":true,"done_reason":"length"'),
        [
            OPENED,
            ToolDelta(0, "call_1", "f", '{"b":1,"a":2}'),
            ToolDelta(1, "call_2", "g", "{}"),
            Finish(FinishReason.LENGTH),
        ],
    ),
    # --- the end
    "text in the last line": (
        "chat",
        LAST.replace('""', '"!"'),
        [OPENED, Text("!"), STOP, USAGE],
    ),
    "counters of zero are left out": (
        "chat",
        message('"content":""', '"done":true,"done_reason":"stop","eval_count":7,"eval_duration":6'),
        [OPENED, STOP, Usage(completion_tokens=7, completion_ns=6)],
    ),
    "no counters": ("chat", message('"content":""', '"done":true,"done_reason":"stop"'), [OPENED, STOP]),
    "counters as floats": (
        "chat",
        message('"content":""', '"done":true,"eval_count":7.0,"prompt_eval_count":null'),
        [OPENED, STOP, Usage(completion_tokens=7)],
    ),
    "no reason": ("chat", LAST.replace('"done_reason":"stop",', ""), [OPENED, STOP, USAGE]),
    "an empty reason": ("chat", LAST.replace('"stop"', '""'), [OPENED, STOP, USAGE]),
    "a reason nobody knows": ("chat", LAST.replace("stop", "eos"), [OPENED, STOP, USAGE]),
    "content_filter": (
        "chat",
        message('"content":""', '"done":true,"done_reason":"content_filter"'),
        [OPENED, Finish(FinishReason.CONTENT_FILTER)],
    ),
    "no message in the last line": (
        "chat",
        said(f'"done":true,"done_reason":"stop",{COUNTERS}'),
        [OPENED, STOP, USAGE],
    ),
    "loaded": (
        "chat",
        line := message('"content":""', '"done_reason":"load","done":true'),
        [OPENED, whole(STOP, line)],
    ),
    "unloaded": (
        "completion",
        line := said('"response":"","done":true,"done_reason":"unload"'),
        [OPENED, whole(STOP, line)],
    ),
    "done_reason without done": (
        "chat",
        said('"message":{"role":"assistant","content":"x"},"done_reason":"stop"'),
        [OPENED, Text("x"), STOP],
    ),
    "done_reason beside done:false": (
        "chat",
        LAST.replace('"done":true', '"done":false'),
        [OPENED, STOP],
    ),
    "done_reason first, done later": (
        "chat",
        message('"content":""', '"done":false,"done_reason":"stop"') + LAST,
        [OPENED, STOP, USAGE],
    ),
    "an object that is the whole answer": (
        "chat",
        LAST.replace('"content":""', '"content":"All","thinking":"Hm"')[:-1],
        [OPENED, Thinking("Hm"), Text("All"), STOP, USAGE],
    ),
    # --- errors
    "an error": ("chat", HELLO + '{"error":"boom"}\n', [OPENED, whole(Text("Hello"), HELLO), Failed("boom")]),
    "an error first": ("chat", '{"error":"boom"}', [Opened(), Failed("boom")]),
    "an error beside other fields": (
        "chat",
        HELLO.replace('"done"', '"error":"boom","done"'),
        [OPENED, Failed("boom")],
    ),
    "an error beside fields of other types": ("chat", '{"error":"boom","message":"x"}\n', [Opened(), Failed("boom")]),
    "an error as an object": (
        "chat",
        '{"error":{"message":"slow down","code":429,"type":"rate_limit"}}\n',
        [Opened(), Failed("slow down", code="429", type="rate_limit", status=429)],
    ),
    "an object with a code in words": (
        "chat",
        '{"error":{"message":"no","code":"nope"}}\n',
        [Opened(), Failed("no", code="nope")],
    ),
    "an object without a message": ("chat", '{"error":{"a":1}}\n', [Opened(), Failed('the backend failed: {"a":1}')]),
    "no error": ("chat", line := HELLO.replace('"done"', '"error":null,"done"'), [OPENED, whole(Text("Hello"), line)]),
    "an empty error": (
        "chat",
        line := HELLO.replace('"done"', '"error":"","done"'),
        [OPENED, whole(Text("Hello"), line)],
    ),
    "done_reason error": (
        "chat",
        message('"content":"it broke"', '"done":true,"done_reason":"error"'),
        [OPENED, Failed("it broke")],
    ),
    "done_reason error without a word": (
        "chat",
        message('"content":""', '"done":true,"done_reason":"error"'),
        [OPENED, Failed("the backend ended its answer with done_reason 'error'")],
    ),
    "the context is full": (
        "chat",
        '{"error":"request (9 tokens) exceeds the available context size (8 tokens)"}\n',
        [
            Opened(),
            Failed("request (9 tokens) exceeds the available context size (8 tokens)", code="context_length_exceeded"),
        ],
    ),
    # --- lines that clients would not take, read and written anew
    "no created_at": ("chat", HELLO.replace("created_at", "created"), [Opened(model="m"), Text("Hello")]),
    "created_at as a number": (
        "chat",
        re.sub('"2026[^"]*"', "1789000000", HELLO),
        [Opened(model="m"), Text("Hello")],
    ),
    "no model": ("chat", HELLO.replace('"model":"m",', ""), [Opened(created=1789000000), Text("Hello")]),
    "no done": ("chat", HELLO.replace(',"done":false', ""), [OPENED, Text("Hello")]),
    "no role": ("chat", HELLO.replace('"role":"assistant",', ""), [OPENED, Text("Hello")]),
    "another role": ("chat", HELLO.replace("assistant", "model"), [OPENED, Text("Hello")]),
    "thinking without content": ("chat", message('"thinking":"Hm"'), [OPENED, Thinking("Hm")]),
    "content null": ("chat", message('"content":null'), [OPENED, PULSE]),
    "generate's line in a chat": ("chat", HEY, [OPENED, Text("Hey")]),
    "a chat's line in generate": ("completion", HELLO, [OPENED, Text("Hello")]),
    # --- what strict parsers refuse
    "half a surrogate pair": ("chat", HELLO.replace("Hello", r"\ud83d"), [OPENED, Text("\ud83d")]),
    "a counter that is no number": (
        "chat",
        LAST.replace(":9,", ":NaN,"),
        [OPENED, STOP, msgspec.structs.replace(USAGE, total_ns=None)],
    ),
    "a byte order mark": ("chat", "\ufeff" + HELLO, [OPENED, Text("Hello")]),
}


@pytest.mark.parametrize(("operation", "body", "expected"), CASES.values(), ids=CASES)
def test_read_cut_anywhere(operation: str, body: str, expected: list[Event]) -> None:
    data = body.encode()
    assert read(data, operation=operation) == expected
    assert read(*(data[i : i + 1] for i in range(len(data))), operation=operation) == expected
    for cut in range(len(data) + 1):
        assert read(data[:cut], data[cut:], operation=operation) == expected


@pytest.mark.parametrize("end", [LAST, '{"error":"boom"}\n'], ids=["done", "error"])
@pytest.mark.parametrize("trailing", [HELLO, "   ", "garbage\n", '{"error":"late"}\n', "{"])
def test_nothing_is_read_after_the_end(end: str, trailing: str) -> None:
    assert read((end + trailing).encode()) == read(end.encode())
    assert read(end.encode(), trailing.encode()) == read(end.encode())


@pytest.mark.parametrize(
    ("body", "complete", "done"),
    [
        (HELLO, False, False),
        (LAST, True, True),
        (message('"content":""', '"done_reason":"stop","done":false'), True, False),
        ('{"error":"boom"}\n', False, True),
        (message('"content":""', '"done":true,"done_reason":"error"'), False, True),
    ],
)
def test_marker(body: str, complete: bool, done: bool) -> None:
    told = reader()
    told.receive(body.encode())
    assert (told.complete, told.done) == (complete, done)


def test_a_cut_line_is_no_garble() -> None:
    """Its missing end is what is wrong, and ``complete`` says so."""
    told = reader()
    told.receive((HELLO + LAST[:40]).encode())
    assert told.end() == []
    assert not told.complete


@pytest.mark.parametrize("call_id", [None, ""])
def test_missing_ids_are_made_up(call_id: str | None) -> None:
    body = calls(call("{}", call_id=call_id), call("{}", call_id=call_id)) + calls(call("{}", call_id=call_id))
    ids = [event.id for event in read(body.encode()) if isinstance(event, ToolDelta)]
    assert len(set(ids)) == 3
    assert all(re.fullmatch("call_[0-9a-f]{8}", str(made)) for made in ids)


GARBLED = {
    "text": ("Internal Server Error\n", "parse"),
    "text without LF": ("<html>no", "parse"),
    "cut in the middle": (HELLO[:30] + "\n", "parse"),
    "nested without end": (HELLO.replace('"done"', '"x":' + "[" * 100_000 + "]" * 100_000 + ',"done"'), "parse"),
    "a number": ("7\n", "schema"),
    "a list": ("[]\n", "schema"),
    "an empty object": ("{}\n", "schema"),
    "another dialect": ('{"object":"chat.completion.chunk","choices":[]}\n', "schema"),
    "message as text": ('{"message":"x"}\n', "schema"),
    "content as a list": (message('"content":["x"]'), "schema"),
    "done as text": (said('"response":"","done":"yes"'), "schema"),
    "arguments as a list": (calls(call("[1]")), "schema"),
    "arguments as a number": (calls(call("1")), "schema"),
    "a call without a name": (calls('{"function":{}}'), "schema"),
    "a call without a function": (calls("{}"), "schema"),
}


@pytest.mark.parametrize(("body", "layer"), GARBLED.values(), ids=GARBLED)
def test_garbled(body: str, layer: str) -> None:
    told = reader()
    *before, failed = told.receive((HELLO + body).encode()) + told.end()
    assert before[:2] == [OPENED, whole(Text("Hello"), HELLO)]
    assert isinstance(failed, Failed) and failed.garbled == layer
    assert told.done
    assert told.receive(HELLO.encode()) + told.end() == []


def test_limits() -> None:
    (failed,) = reader(limits=Limits(line=50)).receive(HELLO.encode())
    assert isinstance(failed, Failed) and failed.garbled == "parse" and "limits.line" in failed.message
    told = reader(limits=Limits(answer=len(HELLO) * 3))
    for _ in range(3):
        told.receive(HELLO.encode())
    (failed,) = told.receive(b"\n")
    assert isinstance(failed, Failed) and "limits.answer" in failed.message


@pytest.mark.parametrize("content_type", ["application/json", "text/event-stream", "", "text/plain"])
def test_any_content_type(content_type: str) -> None:
    told = reader(content_type=content_type)
    assert told.receive((HELLO + LAST).encode()) + told.end() == read((HELLO + LAST).encode())


def test_one_text_over_several_lines() -> None:
    lines = json.dumps(json.loads(LAST.replace('"content":""', '"content":"All"')), indent=2)
    for body in (lines.encode(), lines.encode() + b"\n", lines.replace("\n", "\r\n").encode()):
        for cut in range(len(body) + 1):
            told = reader(content_type="application/json; charset=utf-8")
            assert told.receive(body[:cut]) + told.receive(body[cut:]) == []
            assert told.end() == [OPENED, Text("All"), STOP, USAGE]
            assert told.complete and told.done
    told = reader(content_type="application/json")
    assert told.receive(lines[:-9].encode()) + told.end() == []
    assert not told.complete


@given(st.lists(st.sampled_from([HELLO, THINK, EMPTY, TWO_CALLS, STRANGE, "\n", HEY])), st.data())
def test_any_chunks(body_lines: list[str], data: st.DataObject) -> None:
    body = ("".join(body_lines) + LAST).encode()
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)), max_size=8)))
    chunks = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    events = read(body)
    assert read(*chunks) == events
    assert isinstance(events[0], Opened)
    # What can be sent on is on the wire once and in full.
    raws = [event.raw for event in events if getattr(event, "raw", None)]
    assert all(raw.endswith(b"\n") and raw in body for raw in raws)


@given(st.text(min_size=1))
def test_any_text(text: str) -> None:
    body = HELLO.replace('"Hello"', json.dumps(text, ensure_ascii=False)).encode()
    opened, event = read(body)
    assert isinstance(opened, Opened)
    assert isinstance(event, Text)
    assert event.text == text
    assert event.raw is not None
    assert json.loads(event.raw)["message"]["content"] == text
