"""Requests of each dialect: the smallest that is one, and the fullest, for the docs to be made from."""

from __future__ import annotations

import json
from collections.abc import Iterator

from penstock.chat.request import Request
from penstock.dialects.registry import NORTHBOUND

#: Of a dialect that asks in another way than with ``messages`` alone.
_ASKS: dict[str, dict[str, object]] = {
    "koboldcpp": {"prompt": "Hello"},
    "anthropic": {"max_tokens": 100, "messages": [{"role": "user", "content": "Hello"}]},
    "responses": {"input": "Hello"},
}


def smallest(dialect: str, *, stream: bool) -> Request:
    """The smallest request for an answer."""
    asks = _ASKS.get(dialect, {"messages": [{"role": "user", "content": "Hello"}]})
    operation = "chat"
    if dialect == "koboldcpp":
        operation = "stream" if stream else "generate"
    return NORTHBOUND[dialect].parse(operation, json.dumps({"model": "coder", **asks, "stream": stream}).encode())


def fullest() -> Iterator[tuple[str, Request]]:
    """Of each dialect and operation, the request that says everything which some backend cannot be told."""
    for (dialect, operation), fields in _FULLEST.items():
        yield f"{dialect} {operation}", NORTHBOUND[dialect].parse(operation, json.dumps(fields).encode())


_TOOL = {"name": "look", "description": "d", "parameters": {"type": "object", "properties": {}}}
_CALL = {"id": "call_1", "type": "function", "function": {"name": "look", "arguments": "{}"}}
_PNG = "iVBORw0KGgo="

_FULLEST: dict[tuple[str, str], dict[str, object]] = {
    ("openai", "chat"): {
        "model": "m",
        "messages": [
            {"role": "system", "content": "s", "name": "n"},
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "t"},
                    {
                        "type": "image_url",
                        "image_url": {"url": f"data:image/png;base64,{_PNG}", "detail": "low"},
                    },
                ],
            },
            {"role": "assistant", "content": None, "reasoning_content": "hm", "tool_calls": [_CALL]},
            {"role": "tool", "tool_call_id": "call_1", "content": "r"},
        ],
        "tools": [{"type": "function", "function": {**_TOOL, "strict": True}}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "response_format": {"type": "json_schema", "json_schema": {"name": "n", "schema": {}, "strict": True}},
        "reasoning_effort": "low",
        "max_completion_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "repeat_penalty": 1.1,
        "seed": 1,
        "stop": ["x"],
        "presence_penalty": 0.1,
        "frequency_penalty": 0.1,
        "logprobs": True,
        "top_logprobs": 2,
        "keep_alive": "5m",
        "stream_options": {"include_usage": True},
        "user": "u",
        "api_key": "k",
    },
    ("openai", "completion"): {
        "model": "m",
        "prompt": "p",
        "max_tokens": 9,
        "top_k": 40,
        "logprobs": 2,
        "keep_alive": "5m",
        "echo": True,
        "best_of": 2,
    },
    ("ollama", "chat"): {
        "model": "m",
        "messages": [
            {"role": "user", "content": "t", "images": [_PNG]},
            {
                "role": "assistant",
                "content": "",
                "thinking": "hm",
                "tool_calls": [{"function": {"name": "look", "arguments": {}}}],
            },
            {"role": "tool", "content": "r", "tool_name": "look"},
        ],
        "tools": [{"type": "function", "function": _TOOL}],
        "format": {"type": "object"},
        "think": "low",
        "keep_alive": "5m",
        "logprobs": True,
        "top_logprobs": 2,
        "options": {
            "num_predict": 9,
            "num_ctx": 8192,
            "temperature": 0.5,
            "top_p": 0.9,
            "top_k": 40,
            "min_p": 0.1,
            "repeat_penalty": 1.1,
            "seed": 1,
            "stop": ["x"],
        },
    },
    ("ollama", "completion"): {
        "model": "m",
        "prompt": "p",
        "raw": True,
        "system": "s",
        "images": [_PNG],
        "format": "json",
        "think": True,
        "keep_alive": "5m",
        "template": "t",
        "context": [1],
        "options": {"top_k": 40, "num_ctx": 8192},
    },
    ("koboldcpp", "generate"): {
        "model": "m",
        "genkey": "KCPP1",
        "memory": "once",
        "prompt": "p",
        "images": [_PNG],
        "max_length": 9,
        "max_context_length": 8192,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "min_p": 0.1,
        "rep_pen": 1.1,
        "presence_penalty": 0.1,
        "sampler_seed": 1,
        "stop_sequence": ["x"],
        "grammar": "root ::= x",
    },
    ("anthropic", "chat"): {
        "model": "m",
        "max_tokens": 9,
        "system": [{"type": "text", "text": "s", "cache_control": {"type": "ephemeral"}}],
        "messages": [
            {
                "role": "user",
                "content": [
                    {"type": "text", "text": "t"},
                    {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}},
                ],
            },
            {
                "role": "assistant",
                "content": [
                    {"type": "thinking", "thinking": "hm", "signature": "s"},
                    {"type": "tool_use", "id": "toolu_1", "name": "look", "input": {}},
                ],
            },
            {
                "role": "user",
                "content": [{"type": "tool_result", "tool_use_id": "toolu_1", "content": "r", "is_error": True}],
            },
        ],
        "tools": [
            {"name": "look", "description": "d", "input_schema": {"type": "object", "properties": {}}},
            {"type": "web_search_20250305", "name": "web_search"},
        ],
        "tool_choice": {"type": "any", "disable_parallel_tool_use": True},
        "thinking": {"type": "enabled", "budget_tokens": 1024},
        "temperature": 0.5,
        "top_p": 0.9,
        "top_k": 40,
        "stop_sequences": ["x"],
        "metadata": {"user_id": "u"},
        "service_tier": "auto",
    },
    ("responses", "chat"): {
        "model": "m",
        "instructions": "s",
        "input": [
            {
                "type": "message",
                "role": "user",
                "content": [
                    {"type": "input_text", "text": "t"},
                    {"type": "input_image", "image_url": f"data:image/png;base64,{_PNG}", "detail": "low"},
                ],
            },
            {"type": "reasoning", "summary": [{"type": "summary_text", "text": "hm"}]},
            {"type": "function_call", "call_id": "call_1", "name": "look", "arguments": "{}"},
            {"type": "function_call_output", "call_id": "call_1", "output": "r"},
        ],
        "tools": [{"type": "function", **_TOOL, "strict": True}, {"type": "web_search"}],
        "tool_choice": "required",
        "parallel_tool_calls": False,
        "text": {"format": {"type": "json_schema", "name": "n", "schema": {}, "strict": True}, "verbosity": "low"},
        "reasoning": {"effort": "low", "summary": "auto"},
        "include": ["message.output_text.logprobs", "reasoning.encrypted_content"],
        "max_output_tokens": 9,
        "temperature": 0.5,
        "top_p": 0.9,
        "top_logprobs": 2,
        "store": True,
        "metadata": {"a": "b"},
    },
    ("typed_events", "chat"): {"message": "t", "model": "m", "top_k": 40, "user": "u"},
    ("websocket", "chat"): {"message": "t", "model": "m", "top_k": 40, "user": "u"},
}
