"""How each dialect asks a backend: the body of a request -> what is asked, without penstock's own codecs."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from matrix.facts import Asked

Body = dict[str, Any]


def asked(path: str, body: str) -> Asked:
    """What the request to this path asks."""
    return _READERS[path](json.loads(body))


def _chat(body: Body) -> Asked:
    parts = [
        part for message in body["messages"] if isinstance(message["content"], list) for part in message["content"]
    ]
    calls = [call for message in body["messages"] for call in message.get("tool_calls", ())]
    results = [message for message in body["messages"] if message["role"] == "tool"]
    assert {result["tool_call_id"] for result in results} <= {call["id"] for call in calls}
    return Asked(
        tools=[tool["function"]["name"] for tool in body.get("tools", ())],
        calls=[(call["function"]["name"], json.loads(call["function"]["arguments"])) for call in calls],
        results=[result["content"] for result in results],
        images=[
            part["image_url"]["url"].removeprefix("data:image/png;base64,")
            for part in parts
            if part["type"] == "image_url"
        ],
        schema=body.get("response_format", {}).get("json_schema", {}).get("schema"),
        sampling=(body.get("max_tokens", body.get("max_completion_tokens")), body.get("temperature"), body.get("stop")),
    )


def _completion(body: Body) -> Asked:
    return Asked(sampling=(body.get("max_tokens"), body.get("temperature"), body.get("stop")))


def _ollama(body: Body) -> Asked:
    options = body.get("options", {})
    messages = body.get("messages", ())
    calls = [call for message in messages for call in message.get("tool_calls", ())]
    results = [message for message in messages if message["role"] == "tool"]
    known = {call.get("id") for call in calls} | {call["function"]["name"] for call in calls}
    assert all(result.get("tool_call_id") in known or result["tool_name"] in known for result in results)
    return Asked(
        tools=[tool["function"]["name"] for tool in body.get("tools", ())],
        calls=[(call["function"]["name"], call["function"]["arguments"]) for call in calls],
        results=[result["content"] for result in results],
        images=[image for turn in (body, *messages) for image in turn.get("images", ())],
        schema=body.get("format"),
        sampling=(options.get("num_predict"), options.get("temperature"), options.get("stop")),
    )


def _ollama_generate(body: Body) -> Asked:
    return _ollama({key: value for key, value in body.items() if key not in ("messages", "tools")})


def _koboldcpp(body: Body) -> Asked:
    return Asked(
        images=body.get("images", []),
        sampling=(body.get("max_length"), body.get("temperature"), body.get("stop_sequence")),
    )


def _anthropic(body: Body) -> Asked:
    turns = [message["content"] for message in body["messages"]]
    blocks = [block for turn in turns if isinstance(turn, list) for block in turn]
    calls = [block for block in blocks if block["type"] == "tool_use"]
    results = [block for block in blocks if block["type"] == "tool_result"]
    assert {result["tool_use_id"] for result in results} <= {call["id"] for call in calls}
    texts = [
        part if isinstance(part, str) else part["text"]
        for result in results
        for part in ([result["content"]] if isinstance(result["content"], str) else result["content"])
    ]
    return Asked(
        tools=[tool["name"] for tool in body.get("tools", ())],
        calls=[(call["name"], call["input"]) for call in calls],
        results=texts,
        images=[block["source"]["data"] for block in blocks if block["type"] == "image"],
        schema=body.get("output_config", {}).get("format", {}).get("schema"),
        sampling=(body["max_tokens"], body.get("temperature"), body.get("stop_sequences")),
    )


def _responses(body: Body) -> Asked:
    items = body["input"] if isinstance(body["input"], list) else []
    parts = [part for item in items if isinstance(item.get("content"), list) for part in item["content"]]
    calls = [item for item in items if item.get("type") == "function_call"]
    return Asked(
        tools=[tool["name"] for tool in body.get("tools", ())],
        calls=[(call["name"], json.loads(call["arguments"])) for call in calls],
        results=[item["output"] for item in items if item.get("type") == "function_call_output"],
        images=[
            part["image_url"].removeprefix("data:image/png;base64,") for part in parts if part["type"] == "input_image"
        ],
        schema=body.get("text", {}).get("format", {}).get("schema"),
    )


def _infill(body: Body) -> Asked:
    assert body["input_suffix"]
    return Asked(sampling=(body.get("n_predict"), body.get("temperature"), body.get("stop")))


_READERS: dict[str, Callable[[Body], Asked]] = {
    "/v1/chat/completions": _chat,
    "/v1/completions": _completion,
    "/api/chat": _ollama,
    "/api/generate": _ollama_generate,
    "/api/extra/generate/stream": _koboldcpp,
    "/api/v1/generate": _koboldcpp,
    "/v1/messages": _anthropic,
    "/v1/responses": _responses,
    "/infill": _infill,
}
