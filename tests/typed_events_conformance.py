"""What every reader of typed events may rely on, as one check of a streamed body: the rules of WHATWG's EventSource."""

from __future__ import annotations

import json
import re
from typing import Any

_COMMENT = re.compile(r": [a-z-]+")


def check_typed_events(body: bytes) -> list[tuple[str, Any]]:
    """Assert that a whole body breaks no client; its events, by name, with their data decoded."""
    text = body.decode()
    assert "\r" not in text
    assert text.endswith("\n\n"), "an event that no reader gets to see"
    events: list[tuple[str, Any]] = []
    for block in text.removesuffix("\n\n").split("\n\n"):
        lines = block.split("\n")
        while lines[0].startswith(":"):
            assert _COMMENT.fullmatch(lines.pop(0))
        if not events:
            assert re.fullmatch(r"id: \w+", lines.pop(0)), "the first event names the stream"
        name, data = lines
        assert name.startswith("event: ") and data.startswith("data: ")
        events.append((name[7:], json.loads(data[6:])))
    for name, value in events:
        _check(name, value)
    assert [name for name, _ in events if name in ("done", "error")] == [events[-1][0]], "one end, and it is the last"
    return events


def _check(name: str, value: Any) -> None:
    match name:
        case "token" | "thinking":
            assert isinstance(value, str) and value
        case "tool":
            assert set(value) == {"name", "arguments"} and isinstance(value["arguments"], dict)
        case "done":
            assert set(value) == {"reason", "usage"}
            assert value["reason"] in ("stop", "length", "tool_calls", "content_filter")
        case "error":
            assert set(value) == {"error", "reason"} and value["error"]
        case other:
            raise AssertionError(f"an event nobody knows: {other}")
