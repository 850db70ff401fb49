"""What every Anthropic client may rely on, as one check of a streamed body.

Independent of penstock's own codecs: the event names and their order as Anthropic's documentation of streaming has
them, of which its client libraries need the ``event`` lines, ``message_start`` first and ``message_stop`` last.
"""

from __future__ import annotations

import json
from typing import Any

_DELTAS = {"text": {"text_delta"}, "thinking": {"thinking_delta", "signature_delta"}, "tool_use": {"input_json_delta"}}
_REASONS = {"end_turn", "max_tokens", "stop_sequence", "tool_use", "refusal"}
_ERRORS = {
    "invalid_request_error",
    "authentication_error",
    "billing_error",
    "permission_error",
    "not_found_error",
    "request_too_large",
    "rate_limit_error",
    "timeout_error",
    "api_error",
    "overloaded_error",
}


def check_anthropic_stream(body: bytes) -> list[dict[str, Any]]:
    """Assert that a whole body breaks no client; its events, decoded, without pings and without a final error."""
    events = [event for event in _frames(body) if event["type"] != "ping"]
    assert events, "no event"
    error = events.pop() if events[-1]["type"] == "error" else None
    if error is not None:
        assert list(error) == ["type", "error"] and set(error["error"]) == {"type", "message"}
        assert error["error"]["type"] in _ERRORS and error["error"]["message"]
    assert all(event["type"] != "error" for event in events), "an error that is not the last event"
    if error is not None and not events:
        return []
    _check_start(events[0])
    ended = _check_blocks(events[1:])
    assert ended is (error is None), "an end and an error, or neither"
    return events


def check_anthropic_error(body: bytes) -> dict[str, Any]:
    """Assert that the body of an error status has the one shape; the error in it."""
    value = json.loads(body)
    assert value["type"] == "error" and value["error"]["type"] in _ERRORS and value["error"]["message"]
    error: dict[str, Any] = value["error"]
    return error


def _frames(body: bytes) -> list[dict[str, Any]]:
    text = body.decode()
    assert "\r" not in text
    assert text.endswith("\n\n"), "cut in the middle of a frame"
    events = []
    for frame in text.removesuffix("\n\n").split("\n\n"):
        name, data = frame.split("\n")
        assert name.startswith("event: ") and data.startswith("data: "), frame
        event = json.loads(data[6:])
        assert event["type"] == name[7:], "another event than its data says"
        events.append(event)
    return events


def _check_start(event: dict[str, Any]) -> None:
    assert event["type"] == "message_start"
    message = event["message"]
    assert message["id"] and message["model"]
    assert (message["type"], message["role"], message["content"]) == ("message", "assistant", [])
    assert message["stop_reason"] is None and message["stop_sequence"] is None
    assert all(type(message["usage"][name]) is int for name in ("input_tokens", "output_tokens"))


def _check_blocks(events: list[dict[str, Any]]) -> bool:
    """Whether the answer came to its end."""
    index, kind, called = 0, "", False
    rest = iter(events)
    for event in rest:
        match event["type"]:
            case "content_block_start":
                assert not kind, "a block in a block"
                assert event["index"] == index
                kind = event["content_block"]["type"]
                if kind == "tool_use":
                    called = True
                    assert event["content_block"]["id"] and event["content_block"]["name"]
                    assert event["content_block"]["input"] == {}
            case "content_block_delta":
                assert event["index"] == index
                assert event["delta"]["type"] in _DELTAS[kind], f"{event['delta']['type']} in {kind}"
            case "content_block_stop":
                assert kind and event["index"] == index
                index, kind = index + 1, ""
            case "message_delta":
                assert not kind, "a block is open at the end"
                assert event["delta"]["stop_reason"] in _REASONS
                assert called or event["delta"]["stop_reason"] != "tool_use"
                assert type(event["usage"]["output_tokens"]) is int
                assert next(rest) == {"type": "message_stop"}
                assert next(rest, None) is None, "something after the end"
                return True
            case other:
                raise AssertionError(f"an event nobody knows: {other}")
    return False
