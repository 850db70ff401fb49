"""Anthropic's messages: whole, streamed, broken; and what is computed: counts of tokens, embeddings."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rawclient import Client, answer, counting

from anthropic_conformance import check_anthropic_error, check_anthropic_stream
from penstock.simulate.server import Simulation

MESSAGES = "/v1/messages"
HELLO = [{"role": "user", "content": [{"type": "text", "text": "hello"}]}]


async def answered(simulation: Simulation, script: str, **fields: Any) -> tuple[int, bytes]:
    status, _, body = await answer(simulation, MESSAGES, script, messages=HELLO, **fields)
    return status, body


async def told(simulation: Simulation, script: str, **fields: Any) -> list[dict[str, Any]]:
    return check_anthropic_stream((await answered(simulation, script, **fields))[1])


@pytest.mark.parametrize(
    ("script", "blocks"),
    [
        ("tokens=3", ["text"]),
        ("tokens=0", []),
        ("tokens=1,thinking=2", ["thinking", "text"]),
        ("tokens=0,thinking=2", ["thinking"]),
        ("tokens=0,tools=2", ["tool_use", "tool_use"]),
        ("tokens=1,thinking=1,tools=2", ["thinking", "text", "tool_use", "tool_use"]),
        ("tokens=0,thinking=1,tools=1", ["thinking", "tool_use"]),
        ("tokens=1,thinking=1,tools=1,rate=1000,burst=1,ping=1ms", ["thinking", "text", "tool_use"]),
    ],
)
async def test_blocks_are_begun_and_ended(simulation: Simulation, script: str, blocks: list[str]) -> None:
    events = await told(simulation, script)
    assert [event["content_block"]["type"] for event in events if event["type"] == "content_block_start"] == blocks
    whole = json.loads((await answered(simulation, script, stream=False))[1])
    assert [block["type"] for block in whole["content"]] == blocks
    reason = "tool_use" if "tools" in script else "end_turn"
    assert (events[-2]["delta"]["stop_reason"], whole["stop_reason"]) == (reason, reason)


async def test_text_counts_and_so_does_usage(simulation: Simulation) -> None:
    events = await told(simulation, "tokens=900,thinking=2,finish=length")
    pieces = [event["delta"] for event in events if event["type"] == "content_block_delta"]
    assert "".join([piece.get("text", "") for piece in pieces]) == counting(900)
    assert "".join([piece.get("thinking", "") for piece in pieces]) == " r0 r1"
    assert events[-2]["delta"]["stop_reason"] == "max_tokens"
    assert events[-2]["usage"] == {"input_tokens": 5, "output_tokens": 902}


async def test_tool_calls_come_in_fragments(simulation: Simulation) -> None:
    events = await told(simulation, "tokens=0,tools=2,fragments=3", tools=[{"name": "read_file"}, {"name": "grep"}])
    begun = [event["content_block"] for event in events if event["type"] == "content_block_start"]
    assert [block["name"] for block in begun] == ["read_file", "grep"]
    for number in range(2):
        pieces = [
            event["delta"]["partial_json"] for event in events if "delta" in event and event.get("index") == number
        ]
        assert len(pieces) == 3
        assert json.loads("".join(pieces)) == {"call": number, "text": counting(8)}


@pytest.mark.parametrize("fault", ["error", "error-event", "error-choices", "error-field"])
async def test_an_error_is_an_event(simulation: Simulation, fault: str) -> None:
    body = (await answered(simulation, f"tokens=4,fault={fault}@2"))[1]
    check_anthropic_stream(body)
    assert b'"message":"simulated failure after 2 tokens"' in body
    assert body.count(b"text_delta") == 2


@pytest.mark.parametrize(
    ("fault", "ending"),
    [
        ("no-terminator", ["content_block_stop", "message_delta"]),
        ("no-finish", ["content_block_stop", "message_stop"]),
        ("truncate@9", ["content_block_delta", "content_block_delta"]),
        ("error-done@9", ["error", "content_block_stop", "message_delta", "message_stop"]),
        ("error-finish@9", ["content_block_delta", "message_delta", "message_stop"]),
        ("schema@9", ["content_block_delta", "content_block_stop", "message_delta", "message_stop"]),
    ],
)
async def test_an_end_may_lack_something(simulation: Simulation, fault: str, ending: list[str]) -> None:
    body = (await answered(simulation, f"tokens=2,fault={fault}"))[1]
    names = [line[7:] for line in body.decode().split("\n") if line.startswith("event: ")]
    assert names[-len(ending) :] == ending


async def test_frames_may_look_otherwise(simulation: Simulation) -> None:
    crlf = (await answered(simulation, "tokens=2,fault=crlf"))[1]
    assert crlf.count(b"\n") == crlf.count(b"\r\n")
    assert check_anthropic_stream(crlf.replace(b"\r\n", b"\n"))
    bare = (await answered(simulation, "tokens=1,fault=swapped"))[1]
    assert all(json.loads(line)["type"] for line in bare.splitlines())


async def test_a_status_has_anthropics_shape(simulation: Simulation) -> None:
    status, body = await answered(simulation, "status=429")
    assert (status, check_anthropic_error(body)["type"]) == (429, "rate_limit_error")


@pytest.mark.parametrize(
    ("path", "asked", "expected"),
    [
        (f"{MESSAGES}/count_tokens", {"messages": HELLO}, {"input_tokens": 5}),
        (
            "/api/embed",
            {"model": "m", "input": "hello"},
            {
                "model": "m",
                "embeddings": [[5.0, 0.5, -0.25, 0.125]],
                "prompt_eval_count": 5,
                "total_duration": 1000,
            },
        ),
        (
            "/v1/embeddings",
            {"model": "m", "input": ["a", "hello"], "encoding_format": "base64"},
            {
                "object": "list",
                "model": "m",
                "data": [
                    {"object": "embedding", "index": 0, "embedding": [1.0, 0.5, -0.25, 0.125]},
                    {"object": "embedding", "index": 1, "embedding": [5.0, 0.5, -0.25, 0.125]},
                ],
                "usage": {"prompt_tokens": 6, "total_tokens": 6},
            },
        ),
    ],
)
async def test_what_is_computed(simulation: Simulation, path: str, asked: object, expected: object) -> None:
    status, answered = await computed(simulation, path, json.dumps(asked).encode())
    assert (status, answered) == (200, expected)
    for body in (b"{", b"[]"):
        status, answered = await computed(simulation, path, body)
        assert (status, list(answered)) == (400, ["error"])


async def computed(simulation: Simulation, path: str, body: bytes) -> tuple[int, Any]:
    client = await Client.connect(simulation)
    async with client.stream:
        head = f"POST {path} HTTP/1.1\r\nHost: s\r\nContent-Length: {len(body)}\r\n\r\n"
        await client.stream.send_all(head.encode() + body)
        status, headers = await client.head()
        return status, json.loads(await client.body(headers))


async def test_a_koboldcpp_prompt_may_begin_with_the_script(simulation: Simulation) -> None:
    _, _, body = await answer(
        simulation, "/api/extra/generate/stream", "", model=None, prompt="sim:tokens=2,finish=length\nhello"
    )
    assert body.count(b"event: message") == 3
    assert b'"finish_reason":"length"' in body
