"""What an Ollama client gets for the events of an answer."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ollama_conformance import check_ollama_stream
from penstock.chat.aggregate import Aggregate
from penstock.chat.events import PULSE, Event, Finish, FinishReason, Opened, Progress, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Message, Operation, Request
from penstock.dialects.base import Identity, Limits, Timing, Writer
from penstock.dialects.ollama import is_load, load_answer, ollama_north, ollama_south
from penstock.errors import BackendGarbled, BackendTruncated, UnknownModel

IDENTITY = Identity(stream="7f3k9q2m", created=1789000000.25)
CREATED = "2026-09-10T00:26:40.250000000Z"
HEAD = f'{{"model":"coder","created_at":"{CREATED}",'
TIMING = Timing(total_ns=90, load_ns=10, prompt_ns=20, completion_ns=60)
MEASURED = {"total_duration": 90, "load_duration": 10, "prompt_eval_duration": 20, "eval_duration": 60}
STOP = Finish(FinishReason.STOP)
USAGE = Usage(prompt_tokens=5, completion_tokens=7, load_ns=1, prompt_ns=2, completion_ns=6, total_ns=9)
TOLD = {
    "total_duration": 9,
    "load_duration": 1,
    "prompt_eval_count": 5,
    "prompt_eval_duration": 2,
    "eval_count": 7,
    "eval_duration": 6,
}


def writer(operation: str = "chat", *, stream: bool = True, passthrough: bool = False) -> Writer:
    request = Request(
        dialect="ollama",
        operation=Operation(operation),
        model="coder",
        stream=stream,
        body={},
        messages=(Message(role="user", content="hi"),) if operation == "chat" else (),
        prompt="hi" if operation == "completion" else "",
    )
    return ollama_north.writer(request, IDENTITY, passthrough=passthrough)


def written(*events: Event, operation: str = "chat", stream: bool = True, passthrough: bool = False) -> bytes:
    told = writer(operation, stream=stream, passthrough=passthrough)
    return told.write(events) + told.end(TIMING)


# --- lines

LINES = {
    "text": ("chat", Text("Hi\n"), '"message":{"role":"assistant","content":"Hi\\n"},"done":false}'),
    "thinking": ("chat", Thinking("Hm"), '"message":{"role":"assistant","content":"","thinking":"Hm"},"done":false}'),
    "logprobs": (
        "chat",
        Text("x", logprobs=[{"token": "x", "logprob": -1}]),
        '"message":{"role":"assistant","content":"x"},"done":false,"logprobs":[{"token":"x","logprob":-1}]}',
    ),
    "text of generate": ("completion", Text("Hi"), '"response":"Hi","done":false}'),
    "thinking of generate": ("completion", Thinking("Hm"), '"response":"","thinking":"Hm","done":false}'),
    "half a surrogate pair": ("completion", Text("a\ud83d"), '"response":"a\ufffd","done":false}'),
    "a frame of another dialect": (
        "chat",
        Text("x", raw=b"data: {}\n\n"),
        '"message":{"role":"assistant","content":"x"},"done":false}',
    ),
}


@pytest.mark.parametrize(("operation", "event", "rest"), LINES.values(), ids=LINES)
def test_line(operation: str, event: Event, rest: str) -> None:
    assert writer(operation).write([event]).decode() == HEAD + rest + "\n"


@pytest.mark.parametrize("event", [PULSE, Progress(1, 2), Opened(model="other"), USAGE])
def test_no_line(event: Event) -> None:
    assert writer().write([event]) == b""


def test_last_line() -> None:
    body = written(Text("x"), STOP, USAGE)
    last = check_ollama_stream(body)[-1]
    assert last == {
        "model": "coder",
        "created_at": CREATED,
        "message": {"role": "assistant", "content": ""},
        "done": True,
        "done_reason": "stop",
        **TOLD,
    }


@pytest.mark.parametrize(
    ("usage", "expected"),
    [
        (None, MEASURED | {"prompt_eval_count": 0, "eval_count": 0}),
        (Usage(prompt_tokens=5, completion_tokens=7), MEASURED | {"prompt_eval_count": 5, "eval_count": 7}),
        (USAGE, TOLD),
        (Usage(total_ns=0, load_ns=0, prompt_ns=0, completion_ns=0), dict.fromkeys(TOLD, 0) | {"eval_duration": 1}),
    ],
    ids=["none", "counts only", "all", "zeros"],
)
@pytest.mark.parametrize("operation", ["chat", "completion"])
@pytest.mark.parametrize("stream", [True, False])
def test_counters(usage: Usage | None, expected: dict[str, int], operation: str, stream: bool) -> None:
    body = written(*([usage] if usage else []), STOP, operation=operation, stream=stream)
    last = json.loads(body.splitlines()[-1])
    assert {key: last[key] for key in TOLD} == expected


def test_a_frozen_clock_still_gives_clients_a_divisor() -> None:
    told = writer()
    told.write([STOP])
    assert json.loads(told.end(Timing()))["eval_duration"] == 1


REASONS = {
    FinishReason.STOP: "stop",
    FinishReason.LENGTH: "length",
    FinishReason.TOOL_CALLS: "stop",
    FinishReason.CONTENT_FILTER: "stop",
}


@pytest.mark.parametrize("reason", FinishReason)
@pytest.mark.parametrize("stream", [True, False])
def test_reason(reason: FinishReason, stream: bool) -> None:
    assert json.loads(written(Finish(reason), stream=stream))["done_reason"] == REASONS[reason]


# --- tool calls

FRAGMENTS: list[Event] = [
    ToolDelta(0, "call_1", "f", ""),
    ToolDelta(0, arguments='{"b": 1, '),
    ToolDelta(0, arguments='"a": 123456789012345678901234567890}'),
    ToolDelta(1, "call_2", "g"),
    Finish(FinishReason.TOOL_CALLS),
]
CALLS = [
    {"id": "call_1", "function": {"index": 0, "name": "f", "arguments": {"b": 1, "a": 123456789012345678901234567890}}},
    {"id": "call_2", "function": {"index": 1, "name": "g", "arguments": {}}},
]


def test_fragments_become_one_line_of_whole_calls() -> None:
    told = writer()
    assert told.write([Text("x"), *FRAGMENTS[:-1]]).count(b"\n") == 1
    line = told.write(FRAGMENTS[-1:])
    assert json.loads(line)["message"] == {"role": "assistant", "content": "", "tool_calls": CALLS}
    assert b'{"b":1,"a":123456789012345678901234567890}' in line
    check_ollama_stream(line + told.end(TIMING))


def test_whole_answer_with_calls() -> None:
    message = json.loads(written(Text("x"), *FRAGMENTS, stream=False))["message"]
    assert message == {"role": "assistant", "content": "x", "tool_calls": CALLS}


@pytest.mark.parametrize("stream", [True, False])
@pytest.mark.parametrize("arguments", ['{"a":', "[1]", "1", "nonsense"])
def test_broken_arguments(stream: bool, arguments: str) -> None:
    broken = ToolDelta(0, "call_1", "f", arguments)
    with pytest.raises(BackendGarbled, match="object: f: "):
        written(broken, Finish(FinishReason.TOOL_CALLS), stream=stream)
    # Where the length ran out, the cut call is no call and the reason says why.
    body = written(broken, Finish(FinishReason.LENGTH), stream=stream)
    assert [line["done_reason"] for line in check_ollama_stream(body.rstrip() + b"\n")] == ["length"]


# --- one object


def test_whole_chat() -> None:
    body = written(Opened(model="other"), Thinking("Hm"), Text("a"), PULSE, Text("b"), USAGE, STOP, stream=False)
    assert not body.endswith(b"\n")
    (line,) = check_ollama_stream(body + b"\n")
    assert line["message"] == {"role": "assistant", "content": "ab", "thinking": "Hm"}
    assert line["model"] == "coder"


def test_whole_generate() -> None:
    logprobs = [{"token": "a", "logprob": -1}]
    body = written(Thinking("Hm"), Text("a", logprobs=logprobs), STOP, operation="completion", stream=False)
    (line,) = check_ollama_stream(body + b"\n", "completion")
    assert (line["response"], line["thinking"], line["logprobs"]) == ("a", "Hm", logprobs)


# --- frames of the same dialect

RAW = (
    b'{"model":"m","created_at":"2026-09-10T00:26:40.1Z","message":{"role":"assistant","content":"x"},"new":1,'
    b'"done":false}\n'
)
RAW_LAST = (
    b'{"model":"m","created_at":"2026-09-10T00:26:40.1Z","message":{"role":"assistant","content":""},"new":1,'
    b'"done":true,"done_reason":"stop","total_duration":9,"load_duration":1,"prompt_eval_count":5,'
    b'"prompt_eval_duration":2,"eval_count":7,"eval_duration":6}\n'
)
RAW_CALL = (
    b'{"model":"m","created_at":"2026-09-10T00:26:40.1Z","message":{"role":"assistant","content":"",'
    b'"tool_calls":[{"function":{"name":"h","arguments":{}}}]},"done":false}\n'
)


def test_frames_are_sent_on() -> None:
    told = writer(passthrough=True)
    assert told.write([Opened(model="m"), Text("x", RAW), Thinking("x", RAW)]) == RAW + RAW
    assert told.write([Finish(FinishReason.STOP, RAW_LAST), USAGE]) == RAW_LAST
    assert told.end(TIMING) == b""
    assert told.heartbeat() == b""
    assert told.fail(BackendTruncated("late")) == b""


def test_lines_of_ours_between_theirs_name_their_model() -> None:
    body = written(Opened(model="m"), Text("x", RAW), Text("y"), STOP, USAGE, passthrough=True)
    assert body.startswith(RAW)
    assert {line["model"] for line in check_ollama_stream(body)} == {"m"}


def test_calls_keep_their_order_and_number() -> None:
    body = written(
        Opened(model="m"),
        *FRAGMENTS[:-1],
        ToolDelta(2, "call_3", "h", "{}", RAW_CALL),
        ToolDelta(3, "call_4", "i", "{}"),
        FRAGMENTS[-1],
        passthrough=True,
    )
    messages = [line["message"] for line in check_ollama_stream(body)]
    calls = [call["function"] for message in messages for call in message.get("tool_calls", [])]
    assert [(call["name"], call.get("index")) for call in calls] == [("f", 0), ("g", 1), ("h", None), ("i", 3)]


def test_frames_are_not_sent_on_in_one_object() -> None:
    body = written(
        Opened(model="m"), Text("x", RAW), Finish(FinishReason.STOP, RAW_LAST), stream=False, passthrough=True
    )
    (line,) = check_ollama_stream(body + b"\n")
    assert line["model"] == "m"


# --- life and failure


@pytest.mark.parametrize("stream", [True, False])
def test_heartbeats_are_white_space_of_the_next_text(stream: bool) -> None:
    told = writer(stream=stream)
    body = told.heartbeat() + told.write([Text("x")]) + told.heartbeat() + told.heartbeat() + told.write([STOP])
    body += told.heartbeat() + told.end(TIMING)
    assert body.startswith(b" ")
    check_ollama_stream(body if stream else body + b"\n")


def test_failure_of_a_stream() -> None:
    told = writer()
    body = told.write([Text("x"), *FRAGMENTS[:2]]) + told.heartbeat()
    body += told.fail(BackendTruncated('the backend "b"\nwent away'))
    assert check_ollama_stream(body)[-1] == {"error": 'the backend "b"\nwent away'}
    assert body.endswith(b' {"error":"the backend \\"b\\"\\nwent away"}\n')
    assert told.clean_failure
    assert told.heartbeat() == told.end(TIMING) == told.fail(BackendTruncated("again")) == b""


def test_failure_of_one_object() -> None:
    told = writer(stream=False)
    told.write([Text("x")])
    assert told.fail(BackendTruncated("gone")) == b'{"error":"gone"}'
    assert not told.clean_failure


def test_error_before_the_answer() -> None:
    assert ollama_north.error(UnknownModel("x", ["y"])) == b"""{"error":"model 'x' not found; near names: y"}"""


def test_an_answer_without_marker_cannot_end() -> None:
    for stream in (True, False):
        with pytest.raises(AssertionError, match="terminal marker"):
            written(Text("x"), stream=stream)


# --- load requests


@pytest.mark.parametrize("operation", ["chat", "completion"])
@pytest.mark.parametrize(
    ("keep_alive", "reason"),
    [
        ("", "load"),
        (',"keep_alive":"5m"', "load"),
        (',"keep_alive":-1', "load"),
        (',"keep_alive":0', "unload"),
        (',"keep_alive":"0s"', "unload"),
    ],
)
def test_load(operation: str, keep_alive: str, reason: str) -> None:
    request = ollama_north.parse(operation, f'{{"model":"coder"{keep_alive}}}'.encode())
    assert is_load(request)
    (line,) = check_ollama_stream(load_answer(request, IDENTITY) + b"\n", operation)
    assert (line["model"], line["done_reason"]) == ("coder", reason)
    # From an Ollama backend the answer is the same: one object, whatever the client said of streaming.
    told = ollama_north.writer(request, IDENTITY, passthrough=True)
    assert (told.content_type, told.streaming) == ("application/json", False)
    told.write([Opened(model="m"), Finish(FinishReason.STOP, RAW_LAST)])
    assert json.loads(told.end(TIMING))["done_reason"] == reason


# --- anything

EVENTS = st.one_of(
    st.builds(Text, st.text(min_size=1)),
    st.builds(Thinking, st.text(min_size=1)),
    st.just(PULSE),
    st.builds(Usage, st.integers(0, 2**40), st.integers(0, 2**40)),
)


@given(st.lists(st.lists(EVENTS, max_size=4), max_size=6), st.sampled_from(["chat", "completion"]), st.booleans())
def test_any_answer(batches: list[list[Event]], operation: str, stream: bool) -> None:
    told = writer(operation, stream=stream)
    body = b"".join(told.heartbeat() + told.write(batch) for batch in batches) + told.write([STOP]) + told.end(TIMING)
    lines = check_ollama_stream(body if stream else body + b"\n", operation)
    events = [event for batch in batches for event in batch]
    said = [line["message"] if operation == "chat" else line for line in lines]
    text = "".join(str(part["content" if operation == "chat" else "response"]) for part in said)  # type: ignore[index]
    assert text == "".join(event.text for event in events if isinstance(event, Text))


HEADS = ['{"model":"m","created_at":"2026-09-10T00:26:40.1Z",', '{"model":"m",', "{"]
CALL = '"tool_calls":[{"function":{"name":"f","arguments":{"a":1}}}]'


@st.composite
def bodies(draw: st.DrawFn) -> bytes:
    """An answer of a server that keeps to the rules on some lines only."""
    lines: list[str] = []
    for text in draw(st.lists(st.text())):
        content = json.dumps(text, ensure_ascii=False)
        more = draw(st.sampled_from(["", f',"thinking":{content}', f",{CALL}", f",{CALL[:-1]},{CALL[14:]}"]))
        role = draw(st.sampled_from(['"role":"assistant",', ""]))
        done = draw(st.sampled_from([',"done":false', ""]))
        lines.append(f'{draw(st.sampled_from(HEADS))}"message":{{{role}"content":{content}{more}}}{done}}}')
    counters = draw(
        st.sampled_from(['"total_duration":1', RAW_LAST.decode().partition('"done_reason":"stop",')[2][:-2]])
    )
    lines.append(f'{draw(st.sampled_from(HEADS))}"message":{{"role":"assistant","content":""}},"done":true,')
    lines[-1] += f'"done_reason":"{draw(st.sampled_from(["stop", "length", "eos", ""]))}",{counters}}}'
    return "".join(line + draw(st.sampled_from(["\n", "\r\n"])) for line in lines).encode()


@given(bodies())
def test_any_server_becomes_one_that_every_client_takes(body: bytes) -> None:
    request = ollama_north.parse("chat", b'{"model":"coder","messages":[{"role":"user"}]}')

    def read(data: bytes) -> list[Event]:
        return ollama_south.reader(request, "", Limits()).receive(data)

    events = read(body)
    told = ollama_north.writer(request, IDENTITY, passthrough=True)
    sent = told.write(events) + told.end(TIMING)
    check_ollama_stream(sent)
    before, after = Aggregate(), Aggregate()
    before.add(events)
    after.add(read(sent))
    for field in ("text", "thinking", "finish"):
        assert getattr(after.completion(), field) == getattr(before.completion(), field)
    calls = [[(call.name, call.arguments) for call in answer.completion().tool_calls] for answer in (before, after)]
    assert calls[0] == calls[1]
