"""Writes a whole answer to an Anthropic client that did not ask for a stream: events in, one JSON text out at the end.

From a backend of the same dialect it is put together out of the frames themselves, so that signatures, citations and
blocks that the neutral tongue does not know are in it.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import suppress

from penstock.chat.aggregate import Aggregate, Completion
from penstock.chat.events import Event, Failed, Progress, Pulse, Usage
from penstock.chat.request import Request
from penstock.dialects import anthropic_errors, jsontext
from penstock.dialects.anthropic_writer import REASONS, counts, head
from penstock.dialects.arguments import decoded
from penstock.dialects.base import Identity, Timing
from penstock.errors import PenstockError

Object = dict[str, object]


class MessageWhole:
    """One ``message``; see :class:`penstock.dialects.base.Writer`."""

    content_type = "application/json"
    streaming = False
    clean_failure = False

    def __init__(self, request: Request, identity: Identity, *, passthrough: bool) -> None:
        self._request = request
        self._identity = identity
        self._passthrough = passthrough
        self._answer = Aggregate()
        self._frames = Frames()

    def write(self, events: Sequence[Event]) -> bytes:
        """Collect; nothing to send yet."""
        self._answer.add(events)
        if self._passthrough:
            for event in events:
                if not isinstance(event, Pulse | Failed | Progress) and event.raw is not None:
                    self._frames.add(event.raw)
        return b""

    def heartbeat(self) -> bytes:
        """White space before the JSON text."""
        return b"\n"

    def end(self, timing: Timing) -> bytes:
        """The whole message; its Finish must have been written."""
        if self._frames.message:
            return jsontext.escape(jsontext.encode(self._frames.whole()))
        answer = self._answer.completion()
        assert answer.finish is not None, "an answer without its terminal marker ends in fail()"
        message = head(self._request, self._identity) | {
            "content": _blocks(answer),
            "stop_reason": REASONS[answer.finish],
            "stop_sequence": None,
            "usage": counts(answer.usage or Usage()),
        }
        return jsontext.escape(jsontext.encode(message))

    def fail(self, error: PenstockError) -> bytes:
        """The error as it would have been the answer, for those who read what they got before the cut."""
        return anthropic_errors.body(error)


class Frames:
    """A message put together from its frames.  Its size is bounded by what the reader lets through."""

    def __init__(self) -> None:
        self.message: Object = {}
        self._blocks: dict[object, Object] = {}
        self._pieces: dict[tuple[object, str], list[str]] = {}  # by block and field

    def add(self, frames: bytes) -> None:
        """Take the next frames, whole."""
        for frame in frames.split(b"\n\n"):
            _, _, data = frame.partition(b"\ndata: ")
            if data:
                self._take(jsontext.decode(data))

    def whole(self) -> Object:
        """The message."""
        for (index, name), pieces in self._pieces.items():
            text = "".join(pieces)
            if name != "partial_json":
                self._blocks[index][name] = text
            else:
                # where it was cut short, what the block began with stays
                with suppress(ValueError):
                    self._blocks[index]["input"] = jsontext.decode(text.encode("utf-8", "surrogatepass"))
        return {**self.message, "content": list(self._blocks.values())}

    def _take(self, value: object) -> None:
        match value:
            case {"type": "message_start", "message": dict() as message}:
                self.message = dict(message)
            case {"type": "content_block_start", "content_block": dict() as block, **more}:
                self._blocks[more.get("index")] = dict(block)
            case {"type": "content_block_delta", "delta": dict() as delta, **more} if more.get("index") in self._blocks:
                self._piece(more.get("index"), delta)
            case {"type": "message_delta", **last}:
                said, usage, known = last.get("delta"), last.get("usage"), self.message.get("usage")
                self.message |= said if isinstance(said, dict) else {}
                if isinstance(usage, dict):
                    self.message["usage"] = {**(known if isinstance(known, dict) else {}), **usage}

    def _piece(self, index: object, delta: Object) -> None:
        block = self._blocks[index]
        match delta:
            case {"type": "citations_delta", "citation": citation}:
                known = block.get("citations")
                block["citations"] = [*(known if isinstance(known, list) else ()), citation]
            case _:
                for name, piece in delta.items():
                    if name != "type" and isinstance(piece, str):
                        begun = block.get(name)
                        pieces = self._pieces.setdefault((index, name), [begun] if isinstance(begun, str) else [])
                        pieces.append(piece)


def _blocks(answer: Completion) -> list[Object]:
    blocks: list[Object] = []
    if answer.thinking:
        blocks.append({"type": "thinking", "thinking": answer.thinking, "signature": ""})
    if answer.text:
        blocks.append({"type": "text", "text": answer.text})
    for call in answer.tool_calls:
        arguments = decoded(call, answer.finish)
        if arguments is not None:
            blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": arguments})
    return blocks
