"""Writes an answer to a client of OpenAI's Responses API: as server-sent events, or as one JSON text at the end.

Every event is named, carries a ``sequence_number``, and is about one item of the output: reasoning (as a summary, the
form that clients show), a message, or a call.  One item is open at a time.  ``response.completed``,
``response.incomplete`` or ``response.failed`` ends the stream, with the whole response in it.

The heartbeat is ``response.in_progress``, after ``response.created`` if that is still to come: Codex gives up after
300 s without an event, and comments are none; the client libraries want ``response.created`` before anything else.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.chat.events import Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Request
from penstock.dialects import openai_errors
from penstock.dialects.base import Identity, Timing
from penstock.dialects.jsontext import encode, escape
from penstock.dialects.responses_items import Call, Item, Reasoning, Words
from penstock.errors import PenstockError

Object = dict[str, object]

_INCOMPLETE = {FinishReason.LENGTH: "max_output_tokens", FinishReason.CONTENT_FILTER: "content_filter"}
#: What the response repeats of the request, and what stands there where the client said nothing.
_REPEATED: Object = {
    "max_output_tokens": None,
    "metadata": {},
    "parallel_tool_calls": True,
    "reasoning": {"effort": None, "summary": None},
    "temperature": None,
    "text": {"format": {"type": "text"}},
    "tool_choice": "auto",
    "top_p": None,
}


class ResponseStream:
    """See :class:`penstock.dialects.base.Writer`."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True
    clean_failure = True

    def __init__(self, request: Request, identity: Identity) -> None:
        self._request = request
        self._identity = identity
        self.id = f"resp_{identity.stream}"
        self._number = 0
        self._opened = False
        self._items: list[Item] = []
        self._open_item: Item | None = None
        self._held: list[Text | Thinking] = []  # words from the middle of a call
        self._finish: FinishReason | None = None
        self._usage: Usage | None = None

    def write(self, events: Sequence[Event]) -> bytes:
        """Frames for these events."""
        frames: list[bytes] = []
        for event in events:
            self._take(event, frames)
        return escape(b"".join(frames))

    def heartbeat(self) -> bytes:
        """An event that says nothing new."""
        frames: list[bytes] = []
        if not self._opened:
            self._open(frames)
        else:
            self._tell([("response.in_progress", {"response": self._response("in_progress")})], frames)
        return escape(b"".join(frames))

    def end(self, timing: Timing) -> bytes:
        """The last event."""
        frames: list[bytes] = []
        response = self.whole()
        self._tell([(f"response.{response['status']}", {"response": response})], frames)
        return escape(b"".join(frames))

    def fail(self, error: PenstockError) -> bytes:
        """The last event of an answer that ends badly; what was told stays told."""
        frames: list[bytes] = []
        self._open(frames)
        response = self._response("failed") | {
            "error": {"code": openai_errors.code_of(error), "message": error.message},
            "output": self.output(),
        }
        self._tell([("response.failed", {"response": response})], frames)
        return escape(b"".join(frames))

    def output(self) -> list[object]:
        """The items as far as they are told."""
        return [item.whole("incomplete") if item is self._open_item else item.told for item in self._items]

    def whole(self) -> Object:
        """The complete response."""
        assert self._finish is not None, "an answer without its terminal marker ends in fail()"
        reason = _INCOMPLETE.get(self._finish)
        usage = self._usage or Usage()
        return self._response("incomplete" if reason else "completed") | {
            "incomplete_details": {"reason": reason} if reason else None,
            "output": [item.told for item in self._items],
            "usage": {
                "input_tokens": usage.prompt_tokens,
                "input_tokens_details": {"cached_tokens": usage.cached_tokens or 0, "cache_write_tokens": 0},
                "output_tokens": usage.completion_tokens,
                "output_tokens_details": {"reasoning_tokens": usage.reasoning_tokens or 0},
                "total_tokens": usage.prompt_tokens + usage.completion_tokens,
            },
        }

    def _take(self, event: Event, frames: list[bytes]) -> None:
        match event:
            case Text() | Thinking() if isinstance(self._open_item, Call):
                # An item cannot be taken up again: what is said in the middle of a call waits for its end.
                self._held.append(event)
            case Text():
                logprobs = event.logprobs if self._request.logprobs else None
                self._piece(self._item(Words, frames), event.text, frames, logprobs)
            case Usage():
                self._usage = event
            case Opened():
                self._open(frames)
            case Thinking():
                self._piece(self._item(Reasoning, frames), event.text, frames)
            case Finish():
                self._open(frames)
                self._close(frames, cut=event.reason is FinishReason.LENGTH)
                self._finish = event.reason
            case ToolDelta():
                if event.id is not None:
                    self._close(frames)
                    self._begin(Call(self._next_id("fc"), len(self._items), event.id, event.name or ""), frames)
                call = self._open_item
                if isinstance(call, Call) and event.arguments:
                    self._piece(call, event.arguments, frames)

    def _response(self, status: str) -> Object:
        asked = self._request.body
        return {
            "id": self.id,
            "object": "response",
            "created_at": int(self._identity.created),
            "status": status,
            "background": False,
            "error": None,
            "incomplete_details": None,
            "instructions": None,
            "model": self._request.model,
            "output": [],
            "previous_response_id": None,
            "store": False,
            "tools": [],
            "truncation": "disabled",
            "usage": None,
            **{name: value if asked.get(name) is None else asked[name] for name, value in _REPEATED.items()},
        }

    def _open(self, frames: list[bytes]) -> None:
        if not self._opened:
            self._opened = True
            response: Object = {"response": self._response("in_progress")}
            self._tell([("response.created", response), ("response.in_progress", response)], frames)

    def _item(self, kind: type[Words] | type[Reasoning], frames: list[bytes]) -> Item:
        """The open item if it is of this kind, else a new one."""
        item = self._open_item
        if not isinstance(item, kind):
            item = kind(self._next_id(kind.prefix), len(self._items))
            self._begin(item, frames)
        return item

    def _next_id(self, prefix: str) -> str:
        return f"{prefix}_{self._identity.stream}{len(self._items)}"

    def _begin(self, item: Item, frames: list[bytes]) -> None:
        self._open(frames)
        self._close(frames)
        self._items.append(item)
        self._open_item = item
        self._tell(item.begin(), frames)

    def _close(self, frames: list[bytes], *, cut: bool = False) -> None:
        while self._open_item is not None:
            self._tell(self._open_item.end("incomplete" if cut else "completed"), frames)
            self._open_item = None
            held, self._held = self._held, []
            for event in held:
                self._take(event, frames)

    def _piece(self, item: Item, piece: str, frames: list[bytes], logprobs: list[object] | None = None) -> None:
        frames.append(item.add(self._number, piece, logprobs))
        self._number += 1

    def _tell(self, events: Sequence[tuple[str, Object]], frames: list[bytes]) -> None:
        for name, said in events:
            value = {"type": name, "sequence_number": self._number, **said}
            self._number += 1
            frames.append(b"event: %b\ndata: %b\n\n" % (name.encode(), encode(value)))


class ResponseWhole(ResponseStream):
    """One ``response``, made as the stream is and sent when it is complete."""

    content_type = "application/json"
    streaming = False
    clean_failure = False

    def write(self, events: Sequence[Event]) -> bytes:
        """Collect; nothing to send yet."""
        super().write(events)
        return b""

    def heartbeat(self) -> bytes:
        """White space before the JSON text."""
        return b"\n"

    def end(self, timing: Timing) -> bytes:
        """The whole response; its Finish must have been written."""
        return escape(encode(self.whole()))

    def fail(self, error: PenstockError) -> bytes:
        """The error as it would have been the answer, for those who read what they got before the cut."""
        return openai_errors.body(error)
