"""What every Ollama client may rely on, as one check of a streamed body."""

from __future__ import annotations

import json
import re

from ollama import ChatResponse, GenerateResponse

COUNTERS = (
    "total_duration",
    "load_duration",
    "prompt_eval_count",
    "prompt_eval_duration",
    "eval_count",
    "eval_duration",
)
_TIME = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d{1,9})?Z")


def check_ollama_stream(body: bytes, operation: str = "chat") -> list[dict[str, object]]:
    """Assert that a whole body is what the strictest clients take; its lines, decoded.

    ``operation`` is "chat" or "completion".  The last line is either the end or the one error.
    """
    text = body.decode()
    assert text.endswith("\n"), "something follows the last line"
    pieces = text.removesuffix("\n").split("\n")
    assert text.splitlines() == pieces, "a client that splits as Unicode says sees other lines"
    assert all(piece.strip() for piece in pieces), "an empty line"

    lines: list[dict[str, object]] = [json.loads(piece) for piece in pieces]
    for line, piece in zip(lines, pieces, strict=True):
        last = line is lines[-1]
        if "error" in line:
            assert last, "lines after the error"
            assert piece.lstrip(" ").startswith('{"error":"'), "clients know an error by its first bytes"
            assert list(line) == ["error"]
            continue
        _check_line(line, operation)
        assert line["done"] is last, "done is said on the last line and on no other"
    if lines[-1].get("done"):
        _check_last(lines[-1])
    return lines


def _check_line(line: dict[str, object], operation: str) -> None:
    assert isinstance(line["model"], str) and line["model"]
    assert isinstance(line["created_at"], str) and _TIME.fullmatch(line["created_at"])
    if operation == "completion":
        assert isinstance(line["response"], str)
        assert "message" not in line
        GenerateResponse.model_validate(line)
        return
    message = line["message"]
    assert isinstance(message, dict)
    assert message["role"] == "assistant"
    assert isinstance(message["content"], str)
    assert "response" not in line
    if "tool_calls" in message:
        assert message["tool_calls"], "an empty list of tool calls"
        for call in message["tool_calls"]:
            assert isinstance(call["function"]["name"], str)
            assert isinstance(call["function"]["arguments"], dict)
    ChatResponse.model_validate(line)


def _check_last(line: dict[str, object]) -> None:
    assert line["done_reason"] in {"stop", "length", "load", "unload"}
    for counter in COUNTERS:
        assert type(line[counter]) is int, counter
    assert line["eval_duration"] != 0, "clients divide by it"
