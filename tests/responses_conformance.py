"""What every client of the Responses API may rely on, as one check of a streamed body.

Independent of penstock's own codecs: names, order and fields of the events as OpenAI's reference of streaming events
has them.
"""

from __future__ import annotations

import json
from typing import Any

_ENDS = {"response.completed": "completed", "response.incomplete": "incomplete", "response.failed": "failed"}
_DELTAS = {
    "message": "response.output_text.delta",
    "reasoning": "response.reasoning_summary_text.delta",
    "function_call": "response.function_call_arguments.delta",
}
_FRAMES_OF = {
    "message": ("response.content_part.added", ("response.output_text.done", "response.content_part.done")),
    "reasoning": (
        "response.reasoning_summary_part.added",
        ("response.reasoning_summary_text.done", "response.reasoning_summary_part.done"),
    ),
    "function_call": (None, ("response.function_call_arguments.done",)),
}


def check_responses_stream(body: bytes) -> list[dict[str, Any]]:
    """Assert that a whole body breaks no client; its events, decoded, without heartbeats."""
    events = _frames(body)
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    first, second, *rest = events
    assert (first["type"], second["type"]) == ("response.created", "response.in_progress")
    assert rest, "no end"
    last = rest[-1]
    told = [event for event in rest[:-1] if event["type"] != "response.in_progress"]
    for event in (first, second, last):
        _check_response(event["response"], first["response"]["id"])
    assert last["response"]["status"] == _ENDS[last["type"]]
    failed = last["type"] == "response.failed"
    items = _check_items(told, failed=failed)
    if failed:
        assert last["response"]["error"]["code"] and last["response"]["error"]["message"]
        assert last["response"]["output"][: len(items)] == items
    else:
        assert last["response"]["output"] == items, "the response is not what was told"
        usage = last["response"]["usage"]
        assert usage["total_tokens"] == usage["input_tokens"] + usage["output_tokens"]
        assert type(usage["input_tokens_details"]["cached_tokens"]) is int
        assert type(usage["output_tokens_details"]["reasoning_tokens"]) is int
    reason = (last["response"]["incomplete_details"] or {}).get("reason")
    assert (last["type"] == "response.incomplete") is (reason in ("max_output_tokens", "content_filter"))
    return [first, second, *told, last]


def _frames(body: bytes) -> list[dict[str, Any]]:
    text = body.decode()
    assert "\r" not in text
    assert text.endswith("\n\n"), "cut in the middle of a frame"
    events = []
    # a comment is one line of its own between two events
    for frame in text.replace(": keep-alive\n", "").removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        assert name.startswith("event: ") and data.startswith("data: "), frame
        event = json.loads(data[6:])
        assert event["type"] == name[7:], "another event than its data says"
        events.append(event)
    return events


def _check_response(response: dict[str, Any], identity: str) -> None:
    assert response["id"] == identity and response["object"] == "response"
    assert isinstance(response["created_at"], int) and response["model"]
    assert {"output", "parallel_tool_calls", "tool_choice", "tools", "usage", "error"} <= set(response)


def _check_items(events: list[dict[str, Any]], *, failed: bool) -> list[dict[str, Any]]:
    """The items that were told to their end."""
    items: list[dict[str, Any]] = []
    rest = iter(events)
    for event in rest:
        assert event["type"] == "response.output_item.added", event["type"]
        assert event["output_index"] == len(items) and event["item"]["status"] == "in_progress"
        item = _check_item(event["item"], len(items), rest)
        if item is None:
            assert failed and next(rest, None) is None, "an item without an end"
            break
        items.append(item)
    return items


def _check_item(begun: dict[str, Any], index: int, rest: Any) -> dict[str, Any] | None:
    kind, pieces = begun["type"], []
    added, ends = _FRAMES_OF[kind]
    if added is not None:
        assert next(rest)["type"] == added
    for event in rest:
        if event["type"] == _DELTAS[kind]:
            pieces.append(event["delta"])
        elif event["type"] in ends:
            if event["type"] == ends[0]:
                told = event.get("text", event.get("arguments"))
                assert told == "".join(pieces) or (kind == "function_call" and told == "{}" and not pieces)
        else:
            assert event["type"] == "response.output_item.done", event["type"]
            assert event["output_index"] == index
            item: dict[str, Any] = event["item"]
            assert (item["id"], item["type"]) == (begun["id"], kind) and item["status"] in ("completed", "incomplete")
            return item
        assert (event["item_id"], event["output_index"]) == (begun["id"], index)
    return None
