"""KoboldCpp's frames and bodies, both ways."""

from __future__ import annotations

import json
import re
from typing import Any

import msgspec
import pytest

from penstock.chat.events import PULSE, Event, Failed, Finish, FinishReason, Opened, Text, Thinking, Usage
from penstock.chat.request import Effort, Image, Message, Operation, Request, Sampling
from penstock.dialects.base import Call, Identity, Limits, Timing, Writer
from penstock.dialects.koboldcpp import koboldcpp_north, koboldcpp_south
from penstock.dialects.koboldcpp_generate import key_of
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import BackendTruncated, BadRequest, Draining, PenstockError

STOP = Finish(FinishReason.STOP)
TEXT = Request(dialect="openai", operation=Operation.COMPLETION, model="m", stream=True, body={}, prompt="Once")
CHAT = msgspec.structs.replace(
    TEXT, operation=Operation.CHAT, prompt="", messages=(Message(role="user", content="hi"),)
)


def frame(token: str, finish: str | None = None) -> bytes:
    return b"event: message\ndata: %b\n\n" % json.dumps({"token": token, "finish_reason": finish}).encode()


def read(*chunks: bytes, limits: Limits | None = None) -> tuple[list[Event], bool]:
    """The events of a body, without what only proves life; whether its terminal marker was seen."""
    told = koboldcpp_south.reader(TEXT, "text/event-stream", limits or Limits())
    events = [event for chunk in chunks for event in told.receive(chunk)] + told.end()
    return [event for event in events if event != PULSE], told.complete


# --- reading ---------------------------------------------------------------------------------------------------------

CASES: dict[str, tuple[bytes, list[Event], bool]] = {
    "text and the end": (frame(" a") + frame("é🚰") + frame("", "stop"), [Text(" a"), Text("é🚰"), STOP], True),
    "text beside the finish": (frame(" a", "length"), [Text(" a"), Finish(FinishReason.LENGTH)], True),
    "nothing but the end": (frame("", "stop"), [STOP], True),
    "a word of its own": (frame("a") + frame("", "eos"), [Text("a"), STOP], True),
    "no finish reason at all": (b'event: message\ndata: {"token":"a"}\n\n', [Text("a")], False),
    "a body that just ends": (frame("a") + frame(""), [Text("a")], False),
    "cut in a frame": (frame("a") + frame("b")[:30], [Text("a")], False),
    "no blank line at the end": (frame("a") + frame("", "stop")[:-2], [Text("a"), STOP], True),
    "carriage returns": ((frame("a") + frame("", "stop")).replace(b"\n", b"\r\n"), [Text("a"), STOP], True),
    "nothing after the finish": (frame("", "stop") + frame("late"), [STOP], True),
    "comments": (b": ping\n\n" + frame("a") + b":\n\n" + frame("", "stop"), [Text("a"), STOP], True),
    "failed": (
        frame("a") + frame("", "error"),
        [Text("a"), Failed("the backend's generation failed (finish_reason 'error')")],
        False,
    ),
    "an error in words": (
        frame("a") + b'data: {"detail":{"msg":"Server is busy","type":"service_unavailable"}}\n\n',
        [Text("a"), Failed("Server is busy")],
        False,
    ),
}


@pytest.mark.parametrize(("body", "events", "complete"), CASES.values(), ids=CASES)
def test_an_answer_is_read_however_it_is_cut(body: bytes, events: list[Event], complete: bool) -> None:
    expected = ([Opened(), *events], complete)
    assert read(body) == expected
    assert read(*(body[i : i + 1] for i in range(len(body)))) == expected
    for cut in range(len(body)):
        assert read(body[:cut], body[cut:]) == expected


@pytest.mark.parametrize(
    ("body", "layer"),
    [
        (b"data: {nonsense\n\n", "parse"),
        (b'data: {"token": 5}\n\n', "schema"),
        (b'data: {"token": "a", "finish_reason": []}\n\n', "schema"),
        (b"data: [1]\n\n", "schema"),
        (frame("x" * 2000), "parse"),
    ],
)
def test_what_is_not_the_dialect_ends_the_answer(body: bytes, layer: str) -> None:
    (*before, failed), complete = read(frame("a"), body + frame("", "stop"), limits=Limits(line=1024))
    assert before == [Opened(), Text("a")]
    assert isinstance(failed, Failed)
    assert (failed.garbled, complete) == (layer, False)


def test_the_answer_is_limited() -> None:
    (*_, failed), _ = read(*[frame("x" * 900)] * 3, limits=Limits(answer=2000))
    assert isinstance(failed, Failed)
    assert "limits.answer" in failed.message


@pytest.mark.parametrize(
    ("status", "body", "message", "shown"),
    [
        (503, b'{"detail":{"msg":"Server is busy","type":"service_unavailable"}}', "Server is busy", 503),
        (500, b'{"detail":{"msg":"Error parsing input.","type":"bad_input"}}', "Error parsing input.", 500),
        (401, b'{"detail":{"error":"Unauthorized","msg":"No key","type":"u"}}', "Unauthorized", 502),
    ],
)
def test_a_refusal_says_what_the_backend_says(status: int, body: bytes, message: str, shown: int) -> None:
    error = koboldcpp_south.refusal(status, body)
    assert message in error.message
    assert error.status == shown


# --- asking ----------------------------------------------------------------------------------------------------------


def encoded(request: Request) -> tuple[str, dict[str, Any], Call]:
    call = koboldcpp_south.encode(request, "model-of-the-target")
    return call.path, json.loads(call.body), call


@pytest.mark.parametrize("request_", [TEXT, CHAT], ids=["completion", "chat"])
def test_every_request_has_a_key_of_its_own_by_which_it_can_be_aborted(request_: Request) -> None:
    keys = set()
    for _ in range(3):
        _, body, call = encoded(request_)
        assert re.fullmatch("KCPP[0-9a-f]{12}", body["genkey"])
        assert call.farewell == Call(path="/api/extra/abort", body=b'{"genkey":"%b"}' % body["genkey"].encode())
        keys.add(body["genkey"])
    assert len(keys) == 3


def test_a_completion_is_asked_in_its_own_words() -> None:
    sampling = Sampling(
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        seed=3,
        stop=("\n", "###"),
        presence_penalty=0.2,
        frequency_penalty=0.3,
        repeat_penalty=1.1,
    )
    path, body, call = encoded(
        msgspec.structs.replace(TEXT, sampling=sampling, effort=Effort.LOW, images=(Image(data="aGk="),))
    )
    assert path == "/api/extra/generate/stream"
    assert body.pop("genkey")
    assert body == {
        "prompt": "Once",
        "max_length": 7,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "rep_pen": 1.1,
        "presence_penalty": 0.2,
        "sampler_seed": 3,
        "stop_sequence": ["\n", "###"],
        "images": ["aGk="],
    }
    assert call.dropped == ("frequency_penalty", "think")


def test_what_nobody_said_is_not_sent() -> None:
    _, body, call = encoded(TEXT)
    assert (set(body), call.dropped) == ({"prompt", "genkey"}, ())


def test_a_chat_goes_through_its_openai_layer() -> None:
    request = msgspec.structs.replace(CHAT, dialect="ollama", sampling=Sampling(top_k=5, repeat_penalty=1.2))
    path, body, _ = encoded(request)
    assert path == "/v1/chat/completions"
    assert body.pop("genkey")
    assert body == {
        "messages": [{"role": "user", "content": "hi"}],
        "top_k": 5,
        "repeat_penalty": 1.2,
        "rep_pen": 1.2,
        "model": "model-of-the-target",
        "stream": True,
        "stream_options": {"include_usage": True},
    }


def test_an_openai_client_keeps_its_fields_but_not_its_key() -> None:
    asked = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "xtc_threshold": 0.1, "genkey": "mine"}
    request = NORTHBOUND["openai"].parse("chat", json.dumps(asked).encode())
    _, body, _ = encoded(request)
    assert body["xtc_threshold"] == 0.1
    assert body["genkey"] != "mine"


@pytest.mark.parametrize(
    "request_",
    [
        msgspec.structs.replace(TEXT, suffix="end"),
        msgspec.structs.replace(TEXT, images=(Image(url="http://a/b.png"),)),
    ],
    ids=["infill", "image by URL"],
)
def test_what_it_cannot_do_is_refused(request_: Request) -> None:
    with pytest.raises(BadRequest, match="KoboldCpp"):
        koboldcpp_south.encode(request_, "m")


# --- being asked -----------------------------------------------------------------------------------------------------


def parse(operation: str = "stream", **body: object) -> Request:
    return koboldcpp_north.parse(operation, json.dumps(body).encode())


def test_a_body_is_read_in_its_own_words() -> None:
    request = parse(
        prompt=" time",
        memory="Once upon a",
        max_length=7,
        max_context_length=4096,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        rep_pen=1.1,
        presence_penalty=0.2,
        sampler_seed=3,
        stop_sequence=["\n"],
        genkey="KCPP1",
        quiet=True,
        sampler_order=[6, 0],
        images=["aGk="],
    )
    assert (request.model, request.stream, request.prompt) == ("", True, "Once upon a time")
    assert (request.operation, request.raw_prompt) == (Operation.COMPLETION, True)
    assert request.sampling == Sampling(
        max_tokens=7,
        temperature=0.5,
        top_p=0.9,
        top_k=40,
        min_p=0.1,
        seed=3,
        stop=("\n",),
        presence_penalty=0.2,
        repeat_penalty=1.1,
    )
    assert request.images == (Image(data="aGk="),)
    assert request.unmapped == ("max_context_length", "sampler_order")
    assert key_of(request) == "KCPP1"


def test_what_a_client_leaves_out_has_its_usual_value() -> None:
    request = parse("generate", prompt="", max_length=0, sampler_seed=-1)
    assert request.sampling == Sampling(max_tokens=896)
    assert (request.stream, request.prompt, key_of(request)) == (False, "", "")


@pytest.mark.parametrize(
    ("body", "word"),
    [
        ({}, "'prompt' is missing"),
        ({"prompt": 5}, "'prompt' must be a string"),
        ({"prompt": "", "genkey": 5}, "'genkey' must be a string"),
        ({"prompt": "", "max_length": "long"}, "'max_length' must be an integer"),
        ({"prompt": "", "stop_sequence": [1]}, "'stop_sequence[0]' must be a string"),
    ],
)
def test_a_wrong_body_is_refused_by_name(body: dict[str, object], word: str) -> None:
    with pytest.raises(BadRequest, match=re.escape(word)):
        parse(**body)


def test_its_own_client_keeps_every_field_but_the_key() -> None:
    path, body, call = encoded(parse(prompt="a", memory="m", sampler_order=[6, 0], genkey="KCPP1", api_base="http://x"))
    assert path == "/api/extra/generate/stream"
    assert re.fullmatch("KCPP[0-9a-f]{12}", body.pop("genkey"))
    assert body == {"prompt": "a", "memory": "m", "sampler_order": [6, 0]}
    assert call.dropped == ("api_base",)


# --- answering -------------------------------------------------------------------------------------------------------

IDENTITY = Identity(stream="7f3k", created=1.0)
EVENTS: list[Event] = [
    Opened("x", 1, "m"),
    Thinking("hm"),
    Text(" a"),
    Text('"é\n'),
    STOP,
    Usage(prompt_tokens=3, completion_tokens=2),
]


def writer(operation: str) -> Writer:
    return koboldcpp_north.writer(parse(operation, prompt=""), IDENTITY, passthrough=False)


def test_a_stream_is_told_frame_by_frame() -> None:
    told = writer("stream")
    body = b"".join(told.write([event]) for event in EVENTS) + told.end(Timing())
    assert body == b"".join(
        b"event: message\ndata: %b\n\n" % data
        for data in (
            b'{"token":" a","finish_reason":null}',
            '{"token":"\\"é\\n","finish_reason":null}'.encode(),
            b'{"token":"","finish_reason":"stop"}',
        )
    )
    assert read(body) == ([Opened(), Text(" a"), Text('"é\n'), STOP], True)
    assert told.told == ' a"é\n'  # type: ignore[attr-defined]


def test_a_heartbeat_is_no_frame() -> None:
    told = writer("stream")
    beat = told.heartbeat()
    body = beat + told.write(EVENTS[:3]) + beat + told.write(EVENTS[3:]) + told.end(Timing())
    assert read(body)[0] == [Opened(), Text(" a"), Text('"é\n'), STOP]


def test_a_whole_answer_is_one_result() -> None:
    told = writer("generate")
    assert told.write(EVENTS[:4]) == b""
    assert told.told == ' a"é\n'  # type: ignore[attr-defined]
    assert told.write(EVENTS[4:]) == b""
    assert json.loads(told.heartbeat() + told.end(Timing())) == {
        "results": [
            {
                "text": ' a"é\n',
                "finish_reason": "stop",
                "logprobs": None,
                "prompt_tokens": 3,
                "completion_tokens": 2,
                "tool_calls": [],
            }
        ]
    }


def test_a_failed_stream_ends_with_the_finish_reason_error() -> None:
    told = writer("stream")
    body = told.write(EVENTS[:3]) + told.fail(BackendTruncated("it broke"))
    assert body.endswith(b'data: {"token":"","finish_reason":"error","error":"it broke"}\n\n')
    assert told.clean_failure
    assert not writer("generate").clean_failure


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (BadRequest("no"), "bad_input"),
        (Draining("no"), "service_unavailable"),
        (BackendTruncated("no"), "backend_truncated"),
    ],
)
def test_an_error_has_its_shape(error: PenstockError, kind: str) -> None:
    assert json.loads(koboldcpp_north.error(error)) == {"detail": {"msg": "no", "type": kind}}
