"""The Responses API of a backend that has it: what is asked, what is read, and what the client gets of it."""

from __future__ import annotations

import json
from typing import Any

import pytest

from penstock.chat.events import (
    PULSE,
    Event,
    Failed,
    Finish,
    FinishReason,
    Opened,
    Progress,
    Text,
    Thinking,
    ToolDelta,
    Usage,
)
from penstock.chat.request import Request
from penstock.config.model import Manner
from penstock.dialects.base import Identity, Limits, Timing, Writer
from penstock.dialects.registry import SOUTHBOUND
from penstock.dialects.responses import ResponsesSouth, responses_north, south_for
from penstock.errors import BackendTruncated, BadRequest

IDENTITY = Identity(stream="8c1f", created=1_767_225_600.0)
NATIVE = Manner(responses="native")


def asked(**body: object) -> Request:
    return responses_north.parse("chat", json.dumps({"model": "m", "input": "Hi", **body}).encode())


# --- who is asked how ------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("kind", "manner", "native"),
    [
        ("openai", Manner(), False),
        ("openai", NATIVE, True),
        ("llamacpp", Manner(), False),
        ("llamacpp", NATIVE, True),
        ("lmstudio", Manner(), True),
        ("lmstudio", Manner(responses="translated"), False),
        ("vllm", Manner(), True),
        ("vllm", Manner(passthrough=False), False),
        ("vllm", Manner(stream="never"), False),
        ("ollama", Manner(), False),
        ("koboldcpp", Manner(), False),
        ("anthropic", Manner(), False),
    ],
)
def test_natively_or_by_a_chat(kind: str, manner: Manner, native: bool) -> None:
    request = asked(stream=True)
    south = south_for(request, SOUTHBOUND[kind], manner)
    assert (south.name == "responses") is native
    path = south.encode(request, "m", manner).path
    assert path.endswith("/responses") is native
    assert path.startswith("/v1") is (kind in ("llamacpp", "lmstudio", "koboldcpp"))


@pytest.mark.parametrize(
    ("field", "param"),
    [
        ({"previous_response_id": "resp_1"}, "previous_response_id"),
        ({"previous_response_id": "resp_1", "input": None}, "previous_response_id"),
        ({"conversation": "conv_1"}, "conversation"),
        ({"prompt": {"id": "pmpt_1"}, "input": None}, "prompt"),
        ({"input": [{"type": "item_reference", "id": "msg_1"}]}, "input[0].id"),
    ],
)
def test_what_needs_a_store_goes_to_who_has_one(field: dict[str, Any], param: str) -> None:
    request = asked(**field)
    with pytest.raises(BadRequest, match="keeps none") as caught:
        south_for(request, SOUTHBOUND["ollama"], Manner())
    assert caught.value.param == param
    body = json.loads(south_for(request, SOUTHBOUND["vllm"], Manner()).encode(request, "m").body)
    assert field.items() <= body.items()


def test_all_of_it_travels_but_what_must_not() -> None:
    tools = [{"type": "web_search"}, {"type": "mcp", "server_url": "http://evil", "headers": {}}]
    request = asked(store=True, include=["x"], tools=tools, stream_id="s", base_url="http://evil", truncation="auto")
    call = ResponsesSouth(SOUTHBOUND["vllm"]).encode(request, "theirs")  # type: ignore[arg-type]
    told = {"input": "Hi", "store": True, "include": ["x"], "truncation": "auto", "tools": [{"type": "web_search"}]}
    assert json.loads(call.body) == {"model": "theirs", "stream": True, **told}
    assert set(call.dropped) == {"base_url", "tools[1]", "stream_id"}


def test_nobody_works_on_without_a_client() -> None:
    with pytest.raises(BadRequest) as caught:
        asked(background=True)
    assert caught.value.param == "background"


# --- reading ---------------------------------------------------------------------------------------------------------


def frame(kind: str, **more: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (kind.encode(), json.dumps({"type": kind, **more}).encode())


def response(status: str = "completed", **more: object) -> dict[str, object]:
    return {"id": "resp_b", "object": "response", "created_at": 7, "model": "theirs", "status": status, **more}


USAGE = {
    "input_tokens": 7,
    "output_tokens": 3,
    "total_tokens": 10,
    "input_tokens_details": {"cached_tokens": 2},
    "output_tokens_details": {"reasoning_tokens": 1},
}
COUNTS = Usage(7, 3, cached_tokens=2, reasoning_tokens=1)
CREATED = frame("response.created", response=response("in_progress"), sequence_number=0)
WORKING = frame("response.in_progress", response=response("in_progress"), sequence_number=1)
ITEM = frame("response.output_item.added", output_index=0, item={"type": "message", "content": [{"odd": 1}]})
HELLO = frame("response.output_text.delta", item_id="i", delta="Hello", sequence_number=4)
DONE = frame("response.completed", response=response(usage=USAGE, output=[{"type": "odd"}]), sequence_number=5)
OPENED = Opened("resp_b", 7, "theirs", CREATED)


def read(body: bytes, size: int = 0, content_type: str = "text/event-stream") -> list[Event]:
    reader = ResponsesSouth(SOUTHBOUND["vllm"]).reader(asked(), content_type, Limits())  # type: ignore[arg-type]
    events: list[Event] = []
    for start in range(0, len(body), size or len(body)):
        events += reader.receive(body[start : start + (size or len(body))])
    return [event for event in events + reader.end() if event is not PULSE]


CALL = {"type": "function_call", "id": "fc_1", "call_id": "call_1", "name": "look", "arguments": ""}
CALL_ADDED = frame("response.output_item.added", item=CALL)
ARGUMENTS = frame("response.function_call_arguments.delta", item_id="fc_1", delta='{"a":')
SEARCH = frame("response.web_search_call.searching", output_index=0, item_id="ws_1")
UNKNOWN = frame("response.something_new", item={"type": 5, "content": "x"}, delta={"a": 1}, output_index=None)
THOUGHT = frame("response.reasoning_summary_text.delta", item_id="r", delta="hm")

CASES: dict[str, tuple[bytes, list[Event]]] = {
    "text": (
        CREATED + WORKING + ITEM + HELLO + DONE,
        [OPENED, Progress(0, 0, WORKING + ITEM), Text("Hello", HELLO), COUNTS, Finish(FinishReason.STOP, DONE)],
    ),
    "thinking": (
        CREATED + THOUGHT + HELLO + DONE,
        [OPENED, Thinking("hm", THOUGHT), Text("Hello", HELLO), COUNTS, Finish(FinishReason.STOP, DONE)],
    ),
    "a call": (
        CREATED + CALL_ADDED + ARGUMENTS + DONE,
        [
            OPENED,
            ToolDelta(0, "call_1", "look", raw=CALL_ADDED),
            ToolDelta(0, arguments='{"a":', raw=ARGUMENTS),
            COUNTS,
            Finish(FinishReason.TOOL_CALLS, DONE),
        ],
    ),
    "its own tools, and what nobody knows": (
        CREATED + SEARCH + UNKNOWN + HELLO + DONE,
        [
            OPENED,
            Progress(0, 0, SEARCH),
            Progress(0, 0, UNKNOWN),
            Text("Hello", HELLO),
            COUNTS,
            Finish(FinishReason.STOP, DONE),
        ],
    ),
    "incomplete": (
        CREATED + (end := frame("response.incomplete", response=response(incomplete_details={"reason": "max"}))),
        [OPENED, Finish(FinishReason.LENGTH, end)],
    ),
    "filtered": (
        CREATED
        + (cut := frame("response.incomplete", response=response(incomplete_details={"reason": "content_filter"}))),
        [OPENED, Finish(FinishReason.CONTENT_FILTER, cut)],
    ),
    "failed": (
        CREATED + frame("response.failed", response=response("failed", error={"code": "c", "message": "out of it"})),
        [OPENED, Failed("out of it", "c")],
    ),
    "an error": (
        CREATED + HELLO + frame("error", code="c", message="gone", param=None, sequence_number=2),
        [OPENED, Text("Hello", HELLO), Failed("gone", "c", "error")],
    ),
    "an error in another form": (
        frame("error", error={"message": "gone", "type": "t"}),
        [Failed("gone", None, "t")],
    ),
    "no end": (CREATED + HELLO, [OPENED, Text("Hello", HELLO)]),
    "an end that is none": (CREATED + HELLO + b"data: [DONE]\n\n", [OPENED, Text("Hello", HELLO)]),
    "no beginning": (HELLO + DONE, [Opened(), Text("Hello", HELLO), COUNTS, Finish(FinishReason.STOP, DONE)]),
}


@pytest.mark.parametrize(("body", "events"), CASES.values(), ids=CASES)
def test_reading(body: bytes, events: list[Event]) -> None:
    assert read(body) == events
    assert read(body, size=1) == events
    assert read(b": ping\n\n" + body.replace(b"\n", b"\r\n"), size=7) == events


@pytest.mark.parametrize("name", ["no end", "an end that is none", "failed", "an error"])
def test_what_is_not_complete(name: str) -> None:
    reader = ResponsesSouth(SOUTHBOUND["vllm"]).reader(asked(), "text/event-stream", Limits())  # type: ignore[arg-type]
    reader.receive(CASES[name][0])
    reader.end()
    assert not reader.complete


@pytest.mark.parametrize(
    ("body", "layer"),
    [
        (b'event: response.created\ndata: {"type": tru\n\n', "parse"),
        (frame("response.completed", response=5), "schema"),
        (b'data: {"choices": []}\n\n', "schema"),
        (frame("response.x\r\nevent: y"), "schema"),
    ],
)
def test_what_is_not_the_dialect(body: bytes, layer: str) -> None:
    *_, last = read(body)
    assert isinstance(last, Failed)
    assert last.garbled == layer


def test_one_json_text() -> None:
    items = [
        {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
        {"type": "message", "content": [{"type": "output_text", "text": "Hello"}]},
        {**CALL, "arguments": '{"a":1}'},
        {"type": "web_search_call"},
    ]
    events = read(json.dumps(response(output=items, usage=USAGE)).encode(), content_type="application/json")
    assert events == [
        Opened("resp_b", 7, "theirs"),
        Thinking("hm"),
        Text("Hello"),
        ToolDelta(0, "call_1", "look", '{"a":1}'),
        COUNTS,
        Finish(FinishReason.TOOL_CALLS),
    ]
    (failed,) = read(json.dumps(response("failed", error={"message": "no"})).encode(), content_type="application/json")
    assert failed == Failed("no")


# --- what the client gets --------------------------------------------------------------------------------------------


def writer(*, stream: bool = True) -> Writer:
    return responses_north.writer(asked(stream=stream), IDENTITY, passthrough=True)


@pytest.mark.parametrize("name", [name for name, (_, events) in CASES.items() if isinstance(events[-1], Finish)])
def test_a_streaming_client_gets_the_very_frames(name: str) -> None:
    body, events = CASES[name]
    out = writer()
    got = out.write(events) + out.end(Timing())
    if name == "no beginning":
        # strict clients want it before anything else
        assert got.startswith(b"event: response.created\n")
        got = got[got.index(HELLO) :]
    assert got == body


def test_another_client_gets_the_very_response() -> None:
    out = writer(stream=False)
    assert out.write(read(CASES["text"][0])) == b""
    assert json.loads(out.end(Timing())) == response(usage=USAGE, output=[{"type": "odd"}])


def test_a_failure_goes_on_where_the_frames_stopped() -> None:
    out = writer()
    item = {"type": "message", "id": "i", "content": [{"type": "output_text", "text": "Well\n\n"}]}
    done = frame("response.output_item.done", item=item, output_index=0, sequence_number=3)
    out.write(read(CREATED + done + HELLO))
    told = out.fail(BackendTruncated("it was cut"))
    name, data = told.decode().removeprefix("event: ").split("\ndata: ")
    last = json.loads(data)
    assert (name, last["type"], last["sequence_number"]) == ("response.failed", "response.failed", 5)
    assert (last["response"]["id"], last["response"]["error"]["message"]) == ("resp_b", "it was cut")
    assert last["response"]["output"] == [item]


@pytest.mark.parametrize("numbered", [True, False], ids=["numbered", "told by their ids"])
def test_what_is_not_done_is_told_as_far_as_it_came(numbered: bool) -> None:
    """Two items at once, one of them done: the client's last event holds both, each in its place."""

    def event(kind: str, index: int, **more: object) -> bytes:
        return frame(f"response.{kind}", **({"output_index": index} if numbered else {}), **more)

    thought = {"id": "r", "type": "reasoning", "summary": []}
    words = {"id": "m", "type": "message", "role": "assistant", "status": "in_progress", "content": []}
    called = {**CALL, "status": "in_progress"}
    out = writer()
    body = b"".join(
        [
            CREATED,
            event("output_item.added", 0, item=thought),
            event("reasoning_summary_text.delta", 0, item_id="r", summary_index=0, delta="hm"),
            event("reasoning_summary_text.delta", 0, item_id="r", summary_index=1, delta="oh"),
            event("output_item.added", 1, item=words),
            event("output_text.delta", 1, item_id="m", content_index=0, delta="He\n\n"),
            event("output_text.delta", 1, item_id="m", content_index=0, delta="llo"),
            event("output_item.added", 2, item=called),
            event("function_call_arguments.delta", 2, item_id="fc_1", delta='{"a":'),
            event("output_item.done", 0, item={**thought, "summary": ["whole"]}),
        ]
    )
    assert out.write(read(body)) == body
    last = json.loads(out.fail(BackendTruncated("it was cut")).partition(b"\ndata: ")[2])
    said = {"type": "output_text", "text": "He\n\nllo", "annotations": []}
    assert last["response"]["output"] == [
        {**thought, "summary": ["whole"]},
        {**words, "status": "incomplete", "content": [said]},
        {**called, "status": "incomplete", "arguments": '{"a":'},
    ]


def test_heartbeats_take_no_number() -> None:
    out = writer()
    assert out.heartbeat() == b": keep-alive\n"
    assert out.write(read(CREATED + HELLO)) == CREATED + HELLO
    assert out.heartbeat() == b": keep-alive\n"


def test_an_answer_in_one_piece_is_written_anew() -> None:
    events = read(json.dumps(response(output=[], usage=USAGE)).encode(), content_type="application/json")
    out = writer()
    told = out.write(events) + out.end(Timing())
    assert told.startswith(b"event: response.created\n")
    assert b"event: response.completed\n" in told
    whole = writer(stream=False)
    whole.write(events)
    assert json.loads(whole.end(Timing()))["status"] == "completed"
