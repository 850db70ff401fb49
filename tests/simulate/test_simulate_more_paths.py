"""The Responses API, llama.cpp's infill, fim/completions, rerank and KoboldCpp's counts, taken apart by hand."""

from __future__ import annotations

import json
from typing import Any

import pytest
from rawclient import Client, answer, counting, sse

from penstock.simulate.server import Simulation
from rawhttp import get

RESPONSES, INFILL, FIM = "/v1/responses", "/infill", "/v1/fim/completions"


def named(body: bytes) -> list[dict[str, Any]]:
    """The data of events, each of which says its own name."""
    found = []
    for event in body.decode().removesuffix("\n\n").split("\n\n"):
        name, data = event.split("\n")
        value = json.loads(data.removeprefix("data: "))
        assert name == f"event: {value['type']}"
        found.append(value)
    return found


async def test_a_response(simulation: Simulation) -> None:
    script = "tokens=2,thinking=1,tools=1,fragments=2,prompt=7"
    events = named((await answer(simulation, RESPONSES, script))[2])
    numbers = [event["sequence_number"] for event in events]
    assert numbers == list(range(len(events)))
    assert [event["type"].removeprefix("response.") for event in events] == [
        "created",
        "in_progress",
        "output_item.added",
        "reasoning_summary_part.added",
        "reasoning_summary_text.delta",
        "reasoning_summary_text.done",
        "reasoning_summary_part.done",
        "output_item.done",
        "output_item.added",
        "content_part.added",
        "output_text.delta",
        "output_text.delta",
        "output_text.done",
        "content_part.done",
        "output_item.done",
        "output_item.added",
        "function_call_arguments.delta",
        "function_call_arguments.delta",
        "function_call_arguments.done",
        "output_item.done",
        "completed",
    ]
    response = events[-1]["response"]
    assert (response["usage"]["input_tokens"], response["status"]) == (7, "completed")
    whole = json.loads((await answer(simulation, RESPONSES, script, stream=False))[2])
    assert [item["type"] for item in whole["output"]] == ["reasoning", "message", "function_call"]
    assert whole["output"][1]["content"][0]["text"] == counting(2)


@pytest.mark.parametrize(
    ("script", "last"),
    [
        ("tokens=1,finish=length", "response.incomplete"),
        ("tokens=3,fault=error@1", "response.failed"),
        ("tokens=3,fault=error-event@1", "error"),
        ("tokens=1,fault=no-finish", "response.output_item.done"),
    ],
)
async def test_how_a_response_ends(simulation: Simulation, script: str, last: str) -> None:
    assert named((await answer(simulation, RESPONSES, script))[2])[-1]["type"] == last


async def test_infill(simulation: Simulation) -> None:
    *frames, last = sse((await answer(simulation, INFILL, "tokens=3,prompt=7,finish=length"))[2])
    assert "".join(frame["content"] for frame in frames) == counting(3)
    assert not any(frame["stop"] for frame in frames)
    assert (last["stop"], last["stop_type"], last["tokens_evaluated"], last["tokens_predicted"]) == (
        True,
        "limit",
        7,
        3,
    )
    whole = json.loads((await answer(simulation, INFILL, "tokens=3", stream=False))[2])
    assert (whole["content"], whole["stop"]) == (counting(3), True)


async def test_fim(simulation: Simulation) -> None:
    whole = json.loads((await answer(simulation, FIM, "tokens=3", stream=False))[2])
    assert whole["choices"][0]["message"]["content"] == counting(3)


async def test_rerank(simulation: Simulation) -> None:
    ranked = await answer(simulation, "/v1/rerank", "", query="q", documents=["a", "ccc", {"text": "bb"}], top_n=2)
    assert [result["index"] for result in json.loads(ranked[2])["results"]] == [1, 2]
    assert (await answer(simulation, "/v1/rerank", ""))[0] == 400


async def told(simulation: Simulation, path: str) -> Any:
    client = await Client.connect(simulation)
    async with client.stream:
        await client.stream.send_all(get(path))
        _, headers = await client.head()
        return json.loads(await client.body(headers))


async def test_what_it_tells_of_itself(simulation: Simulation) -> None:
    assert (await told(simulation, "/api/extra/perf"))["last_token_count"] == 0
    await answer(simulation, "/api/extra/generate/stream", "tokens=3,prompt=7")
    perf = await told(simulation, "/api/extra/perf")
    assert (perf["last_input_count"], perf["last_token_count"]) == (7, 3)
    (model,) = (await told(simulation, "/api/v0/models"))["data"]
    assert (model["id"], model["type"], model["max_context_length"]) == ("sim", "llm", 4096)
