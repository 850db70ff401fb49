"""Writes an answer to a KoboldCpp client: named events with one token each, or one JSON text with ``results``."""

from __future__ import annotations

from collections.abc import Sequence

from penstock.chat.aggregate import Aggregate
from penstock.chat.events import Event, Finish, Text, Usage
from penstock.dialects.base import Timing
from penstock.dialects.jsontext import encode, escape
from penstock.errors import PenstockError

#: The words of koboldcpp.py for its own failures, by status.
_TYPES = {400: "bad_input", 401: "unauthorized", 503: "service_unavailable"}


def error_body(error: PenstockError) -> bytes:
    """``{"detail": {"msg", "type"}}``."""
    return encode({"detail": {"msg": error.message, "type": _TYPES.get(error.status, error.code)}})


class GenerateStream:
    """See :class:`penstock.dialects.base.Writer`.  ``told`` is what a ``check`` of this generation answers."""

    content_type = "text/event-stream; charset=utf-8"
    streaming = True
    clean_failure = True

    def __init__(self) -> None:
        self._texts: list[str] = []
        self._finish: Finish | None = None

    @property
    def told(self) -> str:
        """The text so far."""
        return "".join(self._texts)

    def write(self, events: Sequence[Event]) -> bytes:
        """A frame for each text; the finish waits for the end, as nothing may follow it."""
        frames: list[bytes] = []
        for event in events:
            if isinstance(event, Text):
                self._texts.append(event.text)
                frames.append(b'event: message\ndata: {"token":%b,"finish_reason":null}\n\n' % encode(event.text))
            elif isinstance(event, Finish):
                self._finish = event
        return escape(b"".join(frames))

    def heartbeat(self) -> bytes:
        """A comment."""
        return b": keep-alive\n"

    def end(self, timing: Timing) -> bytes:
        """The finish reason, in a frame of its own."""
        assert self._finish is not None, "an answer without its terminal marker ends in fail()"
        return _frame(token="", finish_reason=self._finish.reason)

    def fail(self, error: PenstockError) -> bytes:
        """The finish reason that newer versions have for it; ``error`` says it in words to those who look."""
        return _frame(token="", finish_reason="error", error=error.message)


class GenerateWhole:
    """See :class:`penstock.dialects.base.Writer`.  ``told`` is what a ``check`` of this generation answers."""

    content_type = "application/json"
    streaming = False
    clean_failure = False

    def __init__(self) -> None:
        self._answer = Aggregate()

    @property
    def told(self) -> str:
        """The text so far."""
        return self._answer.completion().text

    def write(self, events: Sequence[Event]) -> bytes:
        """Collect; nothing to send yet."""
        self._answer.add(events)
        return b""

    def heartbeat(self) -> bytes:
        """White space before the JSON text."""
        return b"\n"

    def end(self, timing: Timing) -> bytes:
        """The whole answer."""
        answer = self._answer.completion()
        assert answer.finish is not None, "an answer without its terminal marker ends in fail()"
        usage = answer.usage or Usage()
        result: dict[str, object] = {
            "text": answer.text,
            "finish_reason": answer.finish,
            "logprobs": None,
            "prompt_tokens": usage.prompt_tokens,
            "completion_tokens": usage.completion_tokens,
            "tool_calls": [],
        }
        return encode({"results": [result]})

    def fail(self, error: PenstockError) -> bytes:
        """The error as it would have been the answer, for those who read what they got before the cut."""
        return error_body(error)


def _frame(**said: str | None) -> bytes:
    return b"event: message\ndata: %b\n\n" % escape(encode(said))
