"""Each dialect's shapes, taken apart by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rawclient import CHAT, COMPLETIONS, GENERATE, OLLAMA_CHAT, Client, answer, content, counting, frames, ndjson, sse

from penstock.simulate.server import Simulation

PATHS = [CHAT, COMPLETIONS, OLLAMA_CHAT, GENERATE]


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize("script", ["tokens=0", "tokens=1", "tokens=1200", "tokens=12,rate=1000", "tokens=30,width=9"])
async def test_a_stream_counts_without_a_gap(simulation: Simulation, path: str, script: str) -> None:
    _, _, body = await answer(simulation, path, script)
    count = int(script.split(",")[0].removeprefix("tokens="))
    assert "".join(map(content, frames(path, body))).replace(".", "") == counting(count)


@pytest.mark.parametrize("path", PATHS)
async def test_a_whole_answer_counts_without_a_gap(simulation: Simulation, path: str) -> None:
    status, headers, body = await answer(simulation, path, "tokens=1200", stream=False)
    assert (status, headers["content-type"]) == (200, "application/json")
    assert content(json.loads(body)) == counting(1200)


@pytest.mark.parametrize("path", PATHS)
async def test_awkward_text_survives_json_and_lines(simulation: Simulation, path: str) -> None:
    expected = "".join(f' t{number}\n\ndata: "\\é€🚰\u2028' for number in range(11))
    _, _, body = await answer(simulation, path, "tokens=11,text=awkward")
    assert "".join(map(content, frames(path, body))) == expected
    _, _, body = await answer(simulation, path, "tokens=11,text=awkward", stream=False)
    assert content(json.loads(body)) == expected


@pytest.mark.parametrize("path", ["/chat/completions", "/completions"])
async def test_the_v1_prefix_may_be_left_out(simulation: Simulation, path: str) -> None:
    _, _, body = await answer(simulation, path, "tokens=2")
    assert "".join(map(content, sse(body))) == counting(2)


async def test_openai_chat_frames(simulation: Simulation) -> None:
    _, headers, body = await answer(simulation, CHAT, "tokens=1,thinking=1", stream_options={"include_usage": True})
    assert headers["content-type"] == "text/event-stream"
    *chunks, done = sse(body)
    assert done == "[DONE]"
    assert {chunk["object"] for chunk in chunks} == {"chat.completion.chunk"}
    assert len({(chunk["id"], chunk["created"], chunk["model"]) for chunk in chunks}) == 1
    assert [(c["choices"][0]["delta"], c["choices"][0]["finish_reason"]) for c in chunks[:-1]] == [
        ({"role": "assistant", "content": ""}, None),
        ({"reasoning_content": " r0"}, None),
        ({"content": " t0"}, None),
        ({}, "stop"),
    ]
    assert chunks[-1]["choices"] == []
    assert chunks[-1]["usage"] == {"prompt_tokens": 5, "completion_tokens": 2, "total_tokens": 7}


async def test_openai_completion_frames(simulation: Simulation) -> None:
    *chunks, done = sse((await answer(simulation, COMPLETIONS, "tokens=1,thinking=3,tools=1"))[2])
    assert done == "[DONE]"
    assert [(chunk["choices"][0]["text"], chunk["choices"][0]["finish_reason"]) for chunk in chunks] == [
        (" t0", None),
        ("", "stop"),
    ], "thinking and tools have no place in a completion"


@pytest.mark.parametrize(
    ("usage", "on_chunks", "at_end"),
    [
        ("none", [False] * 4, None),
        ("end", [False] * 4, []),
        ("null", [None] * 4, []),
        ("every", [0, 1, 2, 2], []),
        ("choices", [False] * 4, [{"index": 0, "delta": {}, "finish_reason": "stop"}]),
    ],
)
async def test_openai_usage(simulation: Simulation, usage: str, on_chunks: list[Any], at_end: Any) -> None:
    *chunks, _ = sse((await answer(simulation, CHAT, f"tokens=2,prompt=7,usage={usage}"))[2])
    if at_end is not None:
        last = chunks.pop()
        assert last["choices"] == at_end
        assert last["usage"] == {"prompt_tokens": 7, "completion_tokens": 2, "total_tokens": 9}
    seen = [chunk.get("usage", False) for chunk in chunks]
    assert [value["completion_tokens"] if value else value for value in seen] == on_chunks


@pytest.mark.parametrize(
    ("field", "fields"),
    [
        ("reasoning_content", ["reasoning_content"]),
        ("reasoning", ["reasoning"]),
        ("both", ["reasoning_content", "reasoning"]),
    ],
)
async def test_openai_reasoning_fields(simulation: Simulation, field: str, fields: list[str]) -> None:
    script = f"tokens=0,thinking=1,reasoning={field}"
    chunks = sse((await answer(simulation, CHAT, script))[2])
    assert chunks[1]["choices"][0]["delta"] == dict.fromkeys(fields, " r0")
    whole = json.loads((await answer(simulation, CHAT, script, stream=False))[2])
    assert whole["choices"][0]["message"] == {"role": "assistant", "content": ""} | dict.fromkeys(fields, " r0")


def _calls(chunks: list[Any]) -> tuple[dict[int, dict[str, str]], list[int]]:
    """Tool calls put together from fragments, and the order in which the fragments came."""
    calls: dict[int, dict[str, str]] = {}
    order = []
    for chunk in chunks:
        for part in chunk["choices"][0]["delta"].get("tool_calls", []) if chunk != "[DONE]" else []:
            call = calls.setdefault(part["index"], {"id": "", "name": "", "arguments": ""})
            call["id"] += part.get("id", "")
            call["name"] += part["function"].get("name", "")
            call["arguments"] += part["function"]["arguments"]
            order.append(part["index"])
    return calls, order


@pytest.mark.parametrize(
    ("script", "order"),
    [
        ("tokens=0,tools=2,fragments=2", [0, 0, 0, 1, 1, 1]),
        ("tokens=0,tools=2,fragments=2,fault=interleave", [0, 1, 0, 1, 0, 1]),
        ("tokens=0,tools=2,fragments=2,fault=empty-name", [0, 0, 0, 1, 1, 1]),
    ],
)
async def test_openai_tool_calls_come_in_fragments(simulation: Simulation, script: str, order: list[int]) -> None:
    tools = [{"type": "function", "function": {"name": name}} for name in ("read_file", "grep")]
    chunks = sse((await answer(simulation, CHAT, script, tools=tools))[2])
    calls, seen = _calls(chunks)
    assert seen == order
    assert [call["name"] for call in calls.values()] == ["read_file", "grep"]
    assert len({call["id"] for call in calls.values()}) == 2
    assert [json.loads(call["arguments"]) for call in calls.values()] == [
        {"call": number, "text": counting(8)} for number in range(2)
    ]
    assert chunks[-2]["choices"][0]["finish_reason"] == "tool_calls"


async def test_openai_whole_tool_calls(simulation: Simulation) -> None:
    whole = json.loads((await answer(simulation, CHAT, "tokens=0,tools=1", stream=False))[2])
    choice = whole["choices"][0]
    assert choice["finish_reason"] == "tool_calls"
    assert choice["message"]["content"] is None
    assert json.loads(choice["message"]["tool_calls"][0]["function"]["arguments"]) == {"call": 0, "text": counting(8)}


async def test_ollama_chat_lines(simulation: Simulation) -> None:
    _, headers, body = await answer(simulation, OLLAMA_CHAT, "tokens=1,thinking=1,rate=100,first=10ms")
    assert headers["content-type"] == "application/x-ndjson"
    lines = ndjson(body)
    assert [(line["message"], line["done"]) for line in lines] == [
        ({"role": "assistant", "content": "", "thinking": " r0"}, False),
        ({"role": "assistant", "content": " t0"}, False),
        ({"role": "assistant", "content": ""}, True),
    ]
    last = lines[-1]
    assert last["created_at"].endswith("Z")
    assert (last["done_reason"], last["prompt_eval_count"], last["eval_count"]) == ("stop", 5, 2)
    assert (last["prompt_eval_duration"], last["eval_duration"]) == (10_000_000, 20_000_000)
    assert "load_duration" not in last, "zero counters are left out"


async def test_ollama_generate_lines(simulation: Simulation) -> None:
    lines = ndjson((await answer(simulation, GENERATE, "tokens=1,thinking=1,finish=length"))[2])
    assert [(line["response"], line.get("thinking")) for line in lines] == [("", " r0"), (" t0", None), ("", None)]
    assert (lines[-1]["done_reason"], lines[-1]["context"]) == ("length", [1, 2, 3])


@pytest.mark.parametrize(("where", "lines_with_calls"), [("middle", [1, 2]), ("final", [1])])
async def test_ollama_tool_calls(simulation: Simulation, where: str, lines_with_calls: list[int]) -> None:
    lines = ndjson((await answer(simulation, OLLAMA_CHAT, f"tokens=1,tools=2,tools-in={where}"))[2])
    assert [number for number, line in enumerate(lines) if "tool_calls" in line["message"]] == lines_with_calls
    calls = [call["function"] for line in lines for call in line["message"].get("tool_calls", [])]
    assert [call["arguments"]["call"] for call in calls] == [0, 1]
    assert lines[-1]["done_reason"] == "stop"


@pytest.mark.parametrize(("fields", "reason"), [({}, "load"), ({"keep_alive": 0}, "unload")])
async def test_ollama_loads_without_a_prompt(simulation: Simulation, fields: dict[str, Any], reason: str) -> None:
    _, headers, body = await answer(simulation, OLLAMA_CHAT, "tokens=5", messages=[], **fields)
    loaded = json.loads(body)
    assert (loaded["done"], loaded["done_reason"], headers["content-type"]) == (True, reason, "application/json")


@pytest.mark.parametrize("path", PATHS)
async def test_the_stream_default_is_the_dialects(simulation: Simulation, path: str) -> None:
    _, headers, _ = await answer(simulation, path, "tokens=1", stream=None)
    # null is false in both dialects
    assert headers["content-type"] == "application/json"


@pytest.mark.parametrize("path", PATHS)
@pytest.mark.parametrize(
    ("headers", "fields", "why"),
    [
        ([], {"model": "sim:tokns=3"}, "unknown parameter 'tokns'; did you mean tokens or tools?"),
        (["x-simulate: fault=silense"], {}, "unknown fault 'silense'; did you mean silence?"),
        ([], {"model": "sim:tokens=1000001", "stream": False}, "more than 1000000 tokens go out as a stream only"),
    ],
)
async def test_a_bad_script_is_a_400_in_the_dialect(
    simulation: Simulation, path: str, headers: list[str], fields: dict[str, Any], why: str
) -> None:
    status, _, body = await answer(simulation, path, "", *headers, **fields)
    error = json.loads(body)["error"]
    assert status == 400
    assert (error["message"] if path.startswith("/v1") else error).startswith(why)


@pytest.mark.parametrize("body", [b"{", b"[]", b"[" * 100_000, b'{"model": "\xff"}'])
async def test_a_body_that_is_no_request_is_a_400(simulation: Simulation, body: bytes) -> None:
    client = await Client.connect(simulation)
    async with client.stream:
        head = f"POST {CHAT} HTTP/1.1\r\nHost: s\r\nContent-Length: {len(body)}\r\n\r\n"
        await client.stream.send_all(head.encode() + body)
        status, headers = await client.head()
        assert status == 400
        assert "the body is not" in json.loads(await client.body(headers))["error"]["message"]


async def _get(simulation: Simulation, method: str, path: str) -> tuple[int, dict[str, str], bytes]:
    client = await Client.connect(simulation)
    async with client.stream:
        await client.stream.send_all(f"{method} {path} HTTP/1.1\r\nHost: s\r\nContent-Length: 0\r\n\r\n".encode())
        status, headers = await client.head()
        return status, headers, b"" if method == "HEAD" else await client.body(headers)


@pytest.mark.parametrize(
    ("method", "path", "part"),
    [
        ("GET", "/", b"Ollama is running"),
        ("GET", "/health", b'"ok"'),
        ("GET", "/v1/models", b'"id":"sim"'),
        ("GET", "/models", b'"id":"sim"'),
        ("GET", "/v1/models/sim", b'"object":"model"'),
        ("GET", "/api/version", b'"version"'),
        ("GET", "/api/tags", b'"name":"sim"'),
        ("GET", "/api/ps", b'"expires_at"'),
        ("POST", "/api/show", b'"simulated.context_length"'),
    ],
)
async def test_it_tells_of_itself(simulation: Simulation, method: str, path: str, part: bytes) -> None:
    status, _, body = await _get(simulation, method, path)
    assert status == 200
    assert part in body


async def test_head_has_a_length_but_no_body(simulation: Simulation) -> None:
    status, headers, _ = await _get(simulation, "HEAD", "/")
    assert (status, headers["content-length"]) == (200, "17")


async def test_other_paths_are_404(simulation: Simulation) -> None:
    assert (await _get(simulation, "GET", "/nowhere"))[0] == 404
