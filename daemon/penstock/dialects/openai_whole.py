"""Writes a whole answer to an OpenAI client that did not ask for a stream: events in, one JSON text out at the end.

White space before a JSON text is no part of it, so that line ends keep the client waiting.  A failure cuts the body
off: an SDK must see a broken transfer, not a short success.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.chat.aggregate import Aggregate, Completion
from penstock.chat.events import Event, Opened, Usage
from penstock.chat.request import Request
from penstock.dialects import openai_errors
from penstock.dialects.base import Identity, Timing
from penstock.dialects.jsontext import encode
from penstock.dialects.openai_logprobs import text_logprobs
from penstock.dialects.openai_writer import counts
from penstock.errors import PenstockError


class ChatWhole:
    """One ``chat.completion``."""

    content_type = "application/json"
    streaming = False
    clean_failure = False

    _prefix = "chatcmpl-"
    _object = "chat.completion"

    def __init__(self, request: Request, identity: Identity, *, passthrough: bool) -> None:
        self._request = request
        self._identity = identity
        self._passthrough = passthrough
        self._answer = Aggregate()

    def write(self, events: Sequence[Event]) -> bytes:
        """Collect; nothing to send yet."""
        self._answer.add(events)
        return b""

    def heartbeat(self) -> bytes:
        """White space before the JSON text."""
        return b"\n"

    def end(self, timing: Timing) -> bytes:
        """The whole answer; its Finish must have been written."""
        answer = self._answer.completion()
        assert answer.finish is not None
        opened = (answer.opened if self._passthrough else None) or Opened()
        return encode(
            {
                "id": opened.id or self._prefix + self._identity.stream,
                "object": self._object,
                "created": int(self._identity.created) if opened.created is None else opened.created,
                "model": opened.model or self._request.model,
                "choices": [{"index": 0, **self._choice(answer), "finish_reason": answer.finish}],
                "usage": counts(answer.usage or Usage()),
            }
        )

    def fail(self, error: PenstockError) -> bytes:
        """The error as it would have been the answer, for those who read what they got before the cut."""
        return openai_errors.body(error)

    def _choice(self, answer: Completion) -> dict[str, object]:
        message: dict[str, object] = {"role": "assistant", "content": answer.text}
        if answer.thinking:
            message["reasoning_content"] = answer.thinking
        if answer.tool_calls:
            message["content"] = answer.text or None
            message["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in answer.tool_calls
            ]
        return {"message": message, "logprobs": {"content": answer.logprobs} if self._wants(answer) else None}

    def _wants(self, answer: Completion) -> bool:
        return self._request.logprobs and answer.logprobs is not None


class TextWhole(ChatWhole):
    """One ``text_completion``."""

    _prefix = "cmpl-"
    _object = "text_completion"

    def _choice(self, answer: Completion) -> dict[str, object]:
        logprobs = text_logprobs(answer.logprobs or ()) if self._wants(answer) else None
        return {"text": answer.text, "logprobs": logprobs}
