"""What stands between a prompt and a suffix, llama.cpp's own way to say it, and the ranking of documents."""

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
    Score,
    Text,
    Usage,
)
from penstock.chat.request import Operation
from penstock.config.model import Manner
from penstock.dialects.base import Identity, Limits, Reader, Timing
from penstock.dialects.fim import fim_north
from penstock.dialects.llamacpp_infill import InfillReader
from penstock.dialects.registry import SOUTHBOUND
from penstock.dialects.rerank import RerankSouth, rerank_north
from penstock.errors import BackendTruncated, BadRequest

IDENTITY = Identity(stream="s", created=1.0)
GAP = {"model": "m", "prompt": "def f(", "suffix": "return x", "max_tokens": 9}


def read(reader: Reader, body: bytes, size: int) -> list[Event]:
    events: list[Event] = []
    for start in range(0, len(body), size):
        events += reader.receive(body[start : start + size])
    return [event for event in events + reader.end() if event is not PULSE]


# --- fim/completions -------------------------------------------------------------------------------------------------


def test_a_completion_that_is_told_as_a_chat() -> None:
    request = fim_north.parse(
        "completion", json.dumps({**GAP, "random_seed": 5, "min_tokens": 1, "stream": True}).encode()
    )
    assert (request.operation, request.prompt, request.suffix) == (Operation.COMPLETION, "def f(", "return x")
    assert (request.sampling.seed, request.unmapped) == (5, ("min_tokens",))
    body = json.loads(SOUTHBOUND["openai"].encode(request, "m", Manner(fim="fim")).body)
    assert (body["seed"], body["min_tokens"]) == (5, 1)
    writer = fim_north.writer(request, IDENTITY, passthrough=True)
    # the frame of a completion is of another shape
    told = writer.write([Opened(), Text("x", b"data: {}\n\n"), Finish(FinishReason.STOP)]) + writer.end(Timing())
    chunks = [json.loads(line[6:]) for line in told.decode().split("\n") if line.startswith("data: {")]
    assert "".join(chunk["choices"][0]["delta"].get("content") or "" for chunk in chunks) == "x"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert told.endswith(b"data: [DONE]\n\n")


def test_and_in_one_piece() -> None:
    request = fim_north.parse("completion", json.dumps(GAP).encode())
    writer = fim_north.writer(request, IDENTITY, passthrough=True)
    writer.write([Opened(), Text("x"), Finish(FinishReason.LENGTH)])
    (choice,) = json.loads(writer.end(Timing()))["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == ("x", "length")


@pytest.mark.parametrize(
    ("fields", "param"), [({"prompt": None}, "prompt"), ({"suffix": 7}, "suffix"), ({"max_tokens": -2}, "max_tokens")]
)
def test_what_cannot_be(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        fim_north.parse("completion", json.dumps(GAP | fields).encode())
    assert caught.value.param == param


def test_a_server_that_has_the_path_answers_as_a_chat() -> None:
    request = fim_north.parse("completion", json.dumps({**GAP, "stream": True}).encode())
    reader = SOUTHBOUND["openai"].reader(request, "text/event-stream", Limits(), Manner(fim="fim"))
    chunk = {"id": "c", "choices": [{"index": 0, "delta": {"content": "x"}, "finish_reason": "stop"}]}
    events = read(reader, b"data: %b\n\ndata: [DONE]\n\n" % json.dumps(chunk).encode(), 1000)
    assert [event for event in events if isinstance(event, Text | Finish)] == [Text("x"), Finish(FinishReason.STOP)]
    assert reader.complete


# --- llama.cpp's infill ----------------------------------------------------------------------------------------------


def frame(**fields: object) -> bytes:
    return b"data: %b\n\n" % json.dumps(fields).encode()


LAST = frame(
    content="",
    stop=True,
    stop_type="eos",
    tokens_evaluated=7,
    tokens_predicted=2,
    timings={"prompt_ms": 1.5, "predicted_ms": 2.5, "cache_n": 0},
)
END: list[Event] = [Usage(7, 2, prompt_ns=1_500_000, completion_ns=2_500_000), Finish(FinishReason.STOP)]
CASES: dict[str, tuple[bytes, list[Event], bool]] = {
    "text": (
        frame(content=" a", stop=False, tokens=[1]) + frame(content=" b", stop=False) + LAST,
        [Opened(), Text(" a"), Text(" b"), *END],
        True,
    ),
    "progress": (
        frame(content="", stop=False, prompt_progress={"total": 9, "processed": 4, "cache": 0, "time_ms": 1}) + LAST,
        [Opened(), Progress(4, 9), *END],
        True,
    ),
    "length": (
        frame(content="a", stop=True, stop_type="limit", model="m"),
        [Opened(model="m"), Text("a"), Usage(), Finish(FinishReason.LENGTH)],
        True,
    ),
    "an error": (
        frame(content="a", stop=False) + frame(error={"code": 500, "message": "no", "type": "server_error"}),
        [Opened(), Text("a"), Failed("no", "500", "server_error", 500)],
        False,
    ),
    "an older error": (b'error: {"code":500,"message":"no"}\n\n', [Failed("no", "500", None, 500)], False),
    "no end": (frame(content="a", stop=False), [Opened(), Text("a")], False),
}


@pytest.mark.parametrize(("body", "events", "complete"), CASES.values(), ids=CASES)
@pytest.mark.parametrize("size", [1, 1000])
def test_reading_infill(body: bytes, events: list[Event], complete: bool, size: int) -> None:
    reader = InfillReader(Limits(), document=False)
    assert read(reader, b":\n\n" + body, size) == events
    assert reader.complete is complete


@pytest.mark.parametrize(("body", "layer"), [(b"data: {oops\n\n", "parse"), (frame(content=7), "schema")])
def test_what_is_no_infill(body: bytes, layer: str) -> None:
    (failed,) = read(InfillReader(Limits(), document=False), body, 1000)
    assert isinstance(failed, Failed)
    assert failed.garbled == layer


# --- rerank ----------------------------------------------------------------------------------------------------------

RANK = {"model": "m", "query": "q", "documents": ["short", {"text": "longest"}, "longer"]}


def ranked(*results: object, **more: object) -> bytes:
    return json.dumps({"results": results, "usage": {"prompt_tokens": 5, "total_tokens": 5}, **more}).encode()


def test_a_ranking_all_the_way() -> None:
    body = {**RANK, "top_n": 2, "return_documents": True, "truncate_prompt_tokens": 9}
    request = rerank_north.parse("rerank", json.dumps(body).encode())
    assert (request.prompt, request.inputs) == ("q", ("short", "longest", "longer"))
    call = RerankSouth(SOUTHBOUND["vllm"]).encode(request, "theirs")
    documents = {"model": "theirs", "query": "q", "documents": ["short", "longest", "longer"]}
    assert (call.path, json.loads(call.body)) == ("/rerank", {**documents, "truncate_prompt_tokens": 9})
    closed = RerankSouth(SOUTHBOUND["llamacpp"]).encode(request, "theirs", Manner(passthrough=False))
    assert (closed.path, json.loads(closed.body)) == ("/v1/rerank", documents)
    assert closed.dropped == ("truncate_prompt_tokens",)

    reader = RerankSouth(SOUTHBOUND["vllm"]).reader(request, "application/json", Limits())
    results = [{"index": 0, "relevance_score": -3.5}, {"index": 2, "relevance_score": 1}, {"index": 1, "score": 2.5}]
    events = read(reader, ranked(*results), 10)
    assert events == [Opened(), Score(0, -3.5), Score(2, 1), Score(1, 2.5), Usage(5), Finish(FinishReason.STOP)]
    assert reader.complete

    writer = rerank_north.writer(request, IDENTITY, passthrough=True)
    assert writer.write(events) == b""
    answer = json.loads(writer.end(Timing()))
    assert answer["results"] == [
        {"index": 1, "relevance_score": 2.5, "document": {"text": "longest"}},
        {"index": 2, "relevance_score": 1, "document": {"text": "longer"}},
    ]
    assert answer["data"] == answer["results"]
    assert (answer["model"], answer["usage"]) == ("m", {"prompt_tokens": 5, "total_tokens": 5})


@pytest.mark.parametrize(
    ("body", "told"),
    [
        (ranked({"index": 3, "relevance_score": 1}), "other documents"),
        (ranked({"index": -1, "relevance_score": 1}), "other documents"),
        (ranked({"index": 0}), "no scores"),
        (b'{"object":"list"}', "other documents"),
        (b"{", "cannot be read"),
        (b'{"error":{"message":"no such model","code":404}}', "no such model"),
    ],
)
def test_what_is_no_ranking(body: bytes, told: str) -> None:
    request = rerank_north.parse("rerank", json.dumps(RANK).encode())
    reader = RerankSouth(SOUTHBOUND["vllm"]).reader(request, "application/json", Limits())
    *_, failed = read(reader, body, 1000)
    assert isinstance(failed, Failed)
    assert told in failed.message
    assert not reader.complete


@pytest.mark.parametrize(
    ("fields", "param"),
    [
        ({"model": ""}, "model"),
        ({"query": None}, "query"),
        ({"query": 5}, "query"),
        ({"documents": []}, "documents"),
        ({"documents": "x"}, "documents"),
        ({"documents": ["a", 5]}, "documents[1]"),
        ({"top_n": 0}, "top_n"),
        ({"top_n": "2"}, "top_n"),
        ({"return_documents": 1}, "return_documents"),
    ],
)
def test_what_cannot_be_ranked(fields: dict[str, Any], param: str) -> None:
    with pytest.raises(BadRequest) as caught:
        rerank_north.parse("rerank", json.dumps(RANK | fields).encode())
    assert caught.value.param == param


@pytest.mark.parametrize("kind", ["ollama", "anthropic", "koboldcpp"])
def test_who_cannot_rank(kind: str) -> None:
    with pytest.raises(BadRequest, match="cannot rank"):
        RerankSouth(SOUTHBOUND[kind])


def test_a_failure_is_cut() -> None:
    request = rerank_north.parse("rerank", json.dumps(RANK).encode())
    writer = rerank_north.writer(request, IDENTITY, passthrough=True)
    assert (writer.heartbeat(), writer.fail(BackendTruncated("x")), writer.clean_failure) == (b" ", b"", False)
