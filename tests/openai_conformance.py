"""What every OpenAI client may rely on, as one check of a streamed body.

Independent of penstock's own codecs: a parser of thirty lines for the one form that all client parsers agree on.
"""

from __future__ import annotations

import json
import re
from typing import Any

_FINISH = {"stop", "length", "tool_calls", "content_filter"}
_COMMENT = re.compile(r": [a-oq-z][^{]*|: p(?!ing)[^{]*")


def check_openai_stream(body: bytes) -> list[dict[str, Any]]:
    """Assert that a whole body breaks no client; its chunks, decoded, without a final error."""
    chunks = _frames(body)
    assert chunks, "nothing before [DONE]"
    error = chunks.pop() if "error" in chunks[-1] else None
    if error is not None:
        _check_error(error)
    assert all("error" not in chunk for chunk in chunks), "an error that is not the last frame"
    for chunk in chunks:
        _check_head(chunk, chunks[0])
    choices = [chunk for chunk in chunks if chunk["choices"]]
    usages = [chunk for chunk in chunks if not chunk["choices"]]
    assert choices or error, "no choice"
    assert not usages or usages == chunks[-1:], "usage is not the one last chunk"
    for chunk in usages:
        _check_usage(chunk["usage"])
    assert all(chunk.get("usage") is None for chunk in choices), "usage beside a choice"
    _check_choices([_choice(chunk) for chunk in choices], failed=error is not None)
    return chunks


def _frames(body: bytes) -> list[dict[str, Any]]:
    text = body.decode()
    assert "\r" not in text
    assert text.endswith("\n\n"), "cut in the middle of a frame"
    frames: list[str] = []
    lines = text.split("\n")[:-1]
    while lines:
        line = lines.pop(0)
        if line.startswith(":"):
            assert _COMMENT.fullmatch(line), f"a comment that breaks a client: {line}"
            continue
        assert line.startswith("data: "), f"not a data line: {line}"
        assert lines and lines.pop(0) == "", f"no blank line after {line}"
        frames.append(line[6:])
    assert frames.pop() == "[DONE]", "no [DONE] at the end"
    assert "[DONE]" not in frames
    return [json.loads(frame) for frame in frames]


def _check_head(chunk: dict[str, Any], first: dict[str, Any]) -> None:
    assert isinstance(chunk["id"], str) and chunk["id"] == first["id"], "another id"
    assert chunk["object"] in ("chat.completion.chunk", "text_completion") and chunk["object"] == first["object"]
    assert isinstance(chunk["created"], int) and 0 <= chunk["created"] < 2**31
    assert isinstance(chunk["model"], str) and chunk["model"]
    assert isinstance(chunk["choices"], list)
    assert chunk["choices"] or chunk.get("usage"), "no choices and no usage"


def _choice(chunk: dict[str, Any]) -> dict[str, Any]:
    choices = chunk["choices"]
    assert isinstance(choices, list) and len(choices) == 1
    choice: dict[str, Any] = choices[0]
    assert choice["index"] == 0 and "finish_reason" in choice
    if chunk["object"] == "text_completion":
        assert isinstance(choice["text"], str) and "delta" not in choice
    else:
        assert isinstance(choice["delta"], dict)
    return choice


def _check_choices(choices: list[dict[str, Any]], *, failed: bool) -> None:
    finishes = [choice["finish_reason"] for choice in choices if choice["finish_reason"] is not None]
    assert len(finishes) == 1, f"finish reasons: {finishes}"
    assert choices[-1]["finish_reason"] is not None, "something after the finish reason"
    assert finishes[0] in _FINISH or (failed and finishes[0] == "error"), finishes
    deltas = [choice["delta"] for choice in choices if "delta" in choice]
    if not deltas:
        return
    assert deltas[0].get("role") == "assistant", "the first chunk does not name the role"
    assert all("role" not in delta for delta in deltas[1:]), "a role after the first chunk"
    calls = 0
    for delta in deltas:
        assert delta.get("tool_calls") != [], "Copilot loses the text beside an empty list"
        if not delta.get("tool_calls"):
            continue
        assert not delta.get("content") and not delta.get("reasoning_content"), "text beside a tool call"
        calls = _check_call(delta["tool_calls"], calls)
    if not failed:
        assert not calls or finishes[0] != "stop", "stop although tools were called"
        assert calls or finishes[0] != "tool_calls", "tool_calls although no tool was called"


def _check_call(fragments: list[dict[str, Any]], calls: int) -> int:
    (fragment,) = fragments
    function = fragment["function"]
    assert isinstance(function, dict) and isinstance(function["arguments"], str)
    if fragment["index"] == calls:
        assert fragment["id"] and fragment["type"] == "function" and function["name"], "a call without its identity"
        return calls + 1
    assert fragment["index"] == calls - 1, "tool calls out of order"
    assert fragment.get("id") is None and function.get("name") is None, "a call named twice"
    return calls


def _check_usage(usage: object) -> None:
    assert isinstance(usage, dict)
    for name in ("prompt_tokens", "completion_tokens", "total_tokens"):
        assert type(usage[name]) is int
    for name in ("prompt_tokens_details", "completion_tokens_details"):
        assert None not in usage.get(name, {}).values()


def _check_error(frame: dict[str, Any]) -> None:
    assert list(frame) == ["error"], "an error beside something else"
    error = frame["error"]
    assert isinstance(error, dict) and isinstance(error["message"], str) and error["message"]
    assert error["type"] == "upstream_error" and error["param"] is None
    assert isinstance(error["code"], str) and not re.fullmatch(r"5\d\d|server_error", error["code"])
