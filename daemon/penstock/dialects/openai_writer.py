"""Streams an answer to an OpenAI client: events in, server-sent events out.

A chunk's constant parts are encoded once per stream, so that a rendered chunk costs one JSON string.  The form is the
one that all client parsers agree on: the role first, one finish chunk, usage after it in a chunk of its own, one tool
call per chunk, ``[DONE]``, nothing but ``data:`` lines and comments.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.chat.events import Event, Failed, Finish, Opened, Pulse, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Request
from penstock.dialects import openai_errors
from penstock.dialects.base import Identity, Timing
from penstock.dialects.jsontext import encode, escape
from penstock.dialects.openai_logprobs import text_logprobs
from penstock.errors import PenstockError

_DONE = b"data: [DONE]\n\n"


class ChatStream:
    """Chunks of chat/completions."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True
    clean_failure = True

    _prefix = "chatcmpl-"
    _object = "chat.completion.chunk"
    _empty = b'"delta":{}'

    def __init__(self, request: Request, identity: Identity, *, passthrough: bool) -> None:
        self._request = request
        self._identity = identity
        self._passthrough = passthrough
        self._opened = False
        self._finished = False
        self._usage: Usage | None = None
        self._name(Opened())

    def write(self, events: Sequence[Event]) -> bytes:
        """Frames for these events."""
        frames: list[bytes] = []
        passthrough = self._passthrough
        for event in events:
            match event:
                case Text():
                    frames.append(event.raw if passthrough and event.raw is not None else self._text(event))
                case Pulse() | Failed():
                    pass
                case Usage():
                    # Its place is after the finish chunk, wherever the backend told it.
                    self._usage = event
                case Opened():
                    if not self._opened:
                        self._open(event, frames)
                case _:
                    if isinstance(event, Finish):
                        self._finished = True
                    frames.append(event.raw if passthrough and event.raw is not None else self._render(event))
        return escape(b"".join(frames))

    def heartbeat(self) -> bytes:
        """A comment.  One line end only: a blank line would make some parsers dispatch an empty event."""
        return b": keep-alive\n"

    def end(self, timing: Timing) -> bytes:
        """Usage where it was asked for, and the terminator."""
        if not self._request.include_usage:
            return _DONE
        usage = self._usage or Usage()
        if self._passthrough and usage.raw is not None:
            return escape(usage.raw) + _DONE
        return b'%b],"usage":%b}\n\n' % (self._head, encode(counts(usage))) + _DONE

    def fail(self, error: PenstockError) -> bytes:
        """The choice is closed first, else Copilot Chat hides the error frame."""
        frames: list[bytes] = []
        if not self._opened:
            self._open(Opened(), frames)
        if not self._finished:
            frames.append(self._finish("error"))
        return b"".join([*frames, openai_errors.frame(error), _DONE])

    def _name(self, opened: Opened) -> None:
        """Fix what every chunk of this answer begins with: the backend's names where it told some, else ours."""
        fields = {
            "id": opened.id or self._prefix + self._identity.stream,
            "object": self._object,
            "created": int(self._identity.created) if opened.created is None else opened.created,
            "model": opened.model or self._request.model,
        }
        self._head = b'data: %b,"choices":[' % encode(fields)[:-1]
        self._content = self._head + b'{"index":0,"delta":{"content":'
        self._thinking = self._head + b'{"index":0,"delta":{"reasoning_content":'

    def _open(self, event: Opened, frames: list[bytes]) -> None:
        self._opened = True
        if self._passthrough:
            # Frames that are passed on carry the backend's names, so the rendered ones between them do too.
            self._name(event)
        frames.append(event.raw if self._passthrough and event.raw is not None else self._begin())

    def _begin(self) -> bytes:
        return self._chunk(b'"delta":{"role":"assistant","content":""}')

    def _text(self, event: Text) -> bytes:
        if event.logprobs and self._request.logprobs:
            logprobs = encode({"content": event.logprobs})
            return self._chunk(b'"delta":{"content":%b},"logprobs":%b' % (encode(event.text), logprobs))
        return self._content + encode(event.text) + b'},"finish_reason":null}]}\n\n'

    def _render(self, event: Event) -> bytes:
        match event:
            case Thinking():
                return self._thinking + encode(event.text) + b'},"finish_reason":null}]}\n\n'
            case ToolDelta():
                call: dict[str, object] = {"index": event.index}
                function: dict[str, object] = {"arguments": event.arguments}
                if event.id is not None:
                    call |= {"id": event.id, "type": "function"}
                    function = {"name": event.name, "arguments": event.arguments}
                return self._chunk(b'"delta":{"tool_calls":[%b]}' % encode(call | {"function": function}))
            case Finish():
                return self._finish(event.reason)
        return b""

    def _finish(self, reason: str) -> bytes:
        return self._chunk(self._empty, encode(reason))

    def _chunk(self, choice: bytes, finish: bytes = b"null") -> bytes:
        return b'%b{"index":0,%b,"finish_reason":%b}]}\n\n' % (self._head, choice, finish)


class TextStream(ChatStream):
    """Chunks of completions, which know no roles, no reasoning and no tools."""

    _prefix = "cmpl-"
    _object = "text_completion"
    _empty = b'"text":"","logprobs":null'

    def __init__(self, request: Request, identity: Identity, *, passthrough: bool) -> None:
        super().__init__(request, identity, passthrough=passthrough)
        self._offset = 0

    def _begin(self) -> bytes:
        return b""

    def _text(self, event: Text) -> bytes:
        logprobs = None
        if event.logprobs and self._request.logprobs:
            logprobs = text_logprobs(event.logprobs, self._offset)
        self._offset += len(event.text)
        return self._chunk(b'"text":%b,"logprobs":%b' % (encode(event.text), encode(logprobs)))

    def _render(self, event: Event) -> bytes:
        return self._finish(event.reason) if isinstance(event, Finish) else b""


def counts(usage: Usage) -> dict[str, object]:
    """OpenAI's ``usage``, without a null anywhere."""
    told: dict[str, object] = {
        "prompt_tokens": usage.prompt_tokens,
        "completion_tokens": usage.completion_tokens,
        "total_tokens": usage.prompt_tokens + usage.completion_tokens,
    }
    if usage.cached_tokens is not None:
        told["prompt_tokens_details"] = {"cached_tokens": usage.cached_tokens}
    if usage.reasoning_tokens is not None:
        told["completion_tokens_details"] = {"reasoning_tokens": usage.reasoning_tokens}
    return told
