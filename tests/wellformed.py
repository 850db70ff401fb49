"""What of an answer's bytes a client takes for one unit: an event, a line, a text; read as narrowly and as widely as
any client does."""

from __future__ import annotations

import json
import re
from typing import Any

#: Everything at which some reader of lines ends one: Python's ``str.splitlines``, JavaScript, terminals.
LINE_ENDS = "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"
#: What a text from outside is made of to forge something.
HOSTILE = [
    *LINE_ENDS,
    "\r\n",
    "\n\n",
    "\r\n\r\n",
    "\x00",
    "\x1b[2J",
    "\ufeff",
    "\ud800",
    "data: {}",
    "data: [DONE]",
    "event: done",
    "event: error",
    "id: 1",
    "retry: 0",
    ": ",
    '{"done":true}',
    '"}',
    "\\",
    "Set-Cookie: x=1",
    "HTTP/1.1 200 OK",
    "0\r\n\r\n",
    "x",
    "é",
    " ",
]
_FIELD = re.compile(r"(data|event|id|retry)?: ?(.*)")


def units(content_type: str, body: bytes) -> list[Any]:
    """The JSON values in a body of this type, ``"[DONE]"`` as it is.  Fails where two readers may see two things."""
    text = body.decode()
    assert "\x00" not in text
    if content_type == "application/json":
        # One text, however many lines it has, and only blank ones before it.
        assert "\n" not in text.strip()
        return [json.loads(text)] if text.strip() else []
    assert text.splitlines() == text.removesuffix("\n").split("\n") or not text, "some readers see more lines"
    if content_type.startswith("text/event-stream"):
        return _events(text)
    assert content_type == "application/x-ndjson"
    return [json.loads(line) for line in text.split("\n") if line.strip()]


def _events(text: str) -> list[Any]:
    found = []
    for event in text.split("\n\n"):
        values = []
        for line in event.split("\n"):
            if not line:
                continue
            match = _FIELD.fullmatch(line)
            assert match, f"no line of an event stream: {line!r}"
            field, value = match.groups()
            match field:
                case "data":
                    values.append(value if value == "[DONE]" else json.loads(value))
                case "event" | "id":
                    assert re.fullmatch(r"[\w.-]+", value), value
                case None:
                    assert value in ("", "keep-alive", "ping"), value
                case _:
                    raise AssertionError(line)
        assert len(values) <= 1, f"data over several lines: {event!r}"
        found += values
    return found


def strings(value: Any) -> list[str]:
    """Every text in a JSON value."""
    match value:
        case str():
            return [value]
        case list():
            return [text for item in value for text in strings(item)]
        case dict():
            return [text for pair in value.items() for item in pair for text in strings(item)]
        case _:
            return []
