"""Streams an answer to an Anthropic client: events in, server-sent events out (Anthropic API, "Streaming Messages").

Every frame has its ``event`` line, without which client libraries skip it.  One block is open at a time, numbered from
0.  ``message_delta`` with the stop reason and the counts, and ``message_stop``, end the answer.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.chat.events import (
    Event,
    Failed,
    Finish,
    FinishReason,
    Opened,
    Progress,
    Pulse,
    Text,
    Thinking,
    ToolDelta,
    Usage,
)
from penstock.chat.request import Request
from penstock.dialects import anthropic_errors
from penstock.dialects.base import Identity, Timing
from penstock.dialects.jsontext import encode, escape
from penstock.errors import PenstockError

REASONS = {
    FinishReason.STOP: "end_turn",
    FinishReason.LENGTH: "max_tokens",
    FinishReason.TOOL_CALLS: "tool_use",
    FinishReason.CONTENT_FILTER: "refusal",
}
_TEXT: dict[str, object] = {"type": "text", "text": ""}
#: Only Anthropic can sign it; its client libraries want the field.
_THINKING: dict[str, object] = {"type": "thinking", "thinking": "", "signature": ""}
_STOP = b'event: message_stop\ndata: {"type":"message_stop"}\n\n'


class MessageStream:
    """See :class:`penstock.dialects.base.Writer`."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True
    clean_failure = True

    def __init__(self, request: Request, identity: Identity, *, passthrough: bool) -> None:
        self._request = request
        self._identity = identity
        self._passthrough = passthrough
        self._opened = False
        self._index = -1  # of the newest block
        self._block = ""  # what it is, while it is open
        self._delta = b""  # how a piece of it begins
        self._held: list[tuple[str, object, str]] = []  # words from the middle of a call
        self._finish: Finish | None = None
        self._relayed = False  # the backend's own message_delta went out
        self._usage: Usage | None = None

    def write(self, events: Sequence[Event]) -> bytes:
        """Frames for these events."""
        frames: list[bytes] = []
        for event in events:
            match event:
                case Text() if event.raw is None or not self._passthrough:
                    self._piece("text", _TEXT, event.text, frames)
                case Pulse() | Failed() | Progress():
                    pass
                case Usage():
                    self._usage = event
                case _ if self._passthrough and event.raw is not None:
                    self._opened = True
                    self._relayed = isinstance(event, Finish)
                    frames.append(event.raw)
                case Thinking():
                    self._piece("thinking", _THINKING, event.text, frames)
                case Opened():
                    self._open(frames)
                case Finish():
                    self._open(frames)
                    self._close(frames)
                    self._finish = event
                case ToolDelta():
                    block: dict[str, object] = {"type": "tool_use", "id": event.id, "name": event.name, "input": {}}
                    if event.id is not None:
                        self._close(frames)
                    if event.arguments or event.id is None:
                        self._piece("tool_use", block, event.arguments, frames)
                    else:
                        self._begin("tool_use", block, frames)
        return escape(b"".join(frames))

    def heartbeat(self) -> bytes:
        """Anthropic's own sign of life.  Claude Code waits 300 s for content, whatever the heartbeat."""
        return b'event: ping\ndata: {"type": "ping"}\n\n'

    def end(self, timing: Timing) -> bytes:
        """Stop reason and counts, unless the backend's own went out, and the terminator."""
        if self._relayed:
            return _STOP
        assert self._finish is not None, "an answer without its terminal marker ends in fail()"
        delta = {
            "type": "message_delta",
            "delta": {"stop_reason": REASONS[self._finish.reason], "stop_sequence": None},
            "usage": counts(self._usage or Usage()),
        }
        return _frame("message_delta", delta) + _STOP

    def fail(self, error: PenstockError) -> bytes:
        """The error as the last frame, without a ``message_stop``."""
        return anthropic_errors.frame(error)

    def _open(self, frames: list[bytes]) -> None:
        if not self._opened:
            self._opened = True
            # The counts come with message_delta; the client libraries want numbers here.
            message = head(self._request, self._identity) | {
                "content": [],
                "stop_reason": None,
                "stop_sequence": None,
                "usage": {"input_tokens": 0, "output_tokens": 0},
            }
            frames.append(_frame("message_start", {"type": "message_start", "message": message}))

    def _piece(self, kind: str, block: object, text: str, frames: list[bytes]) -> None:
        if self._block != kind:
            if self._block == "tool_use":
                # A block cannot be taken up again: what is said in the middle of a call waits for its end.
                self._held.append((kind, block, text))
                return
            self._begin(kind, block, frames)
        frames.append(self._delta + encode(text) + b"}}\n\n")

    def _begin(self, kind: str, block: object, frames: list[bytes]) -> None:
        self._open(frames)
        self._close(frames)
        self._index += 1
        self._block = kind
        start = {"type": "content_block_start", "index": self._index, "content_block": block}
        frames.append(_frame("content_block_start", start))
        name, field = {
            "text": (b"text_delta", b"text"),
            "thinking": (b"thinking_delta", b"thinking"),
            "tool_use": (b"input_json_delta", b"partial_json"),
        }[kind]
        self._delta = (
            b'event: content_block_delta\ndata: {"type":"content_block_delta","index":%d,"delta":{"type":"%b","%b":'
            % (self._index, name, field)
        )

    def _close(self, frames: list[bytes]) -> None:
        while self._block:
            self._block = ""
            frames.append(_frame("content_block_stop", {"type": "content_block_stop", "index": self._index}))
            held, self._held = self._held, []
            for piece in held:
                self._piece(*piece, frames)


def head(request: Request, identity: Identity) -> dict[str, object]:
    """What every message begins with."""
    return {"id": f"msg_{identity.stream}", "type": "message", "role": "assistant", "model": request.model}


def counts(usage: Usage) -> dict[str, object]:
    """Anthropic's ``usage``: its ``input_tokens`` are those that no cache knew."""
    cached = usage.cached_tokens or 0
    told: dict[str, object] = {
        "input_tokens": max(0, usage.prompt_tokens - cached),
        "output_tokens": usage.completion_tokens,
    }
    return told | ({"cache_read_input_tokens": cached} if usage.cached_tokens is not None else {})


def _frame(name: str, value: object) -> bytes:
    return b"event: %b\ndata: %b\n\n" % (name.encode(), encode(value))
