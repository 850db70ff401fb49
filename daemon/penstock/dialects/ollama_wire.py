"""What Ollama's frames look like: the typed shape of a line, its times (ollama api/types.go).

The same line serves chat (``message``) and generate (``response``); what a line does not say is None.
"""

from __future__ import annotations

from datetime import UTC, datetime

import msgspec

from penstock.chat.events import MOST_TOLD
from penstock.dialects import bare, jsontext
from penstock.dialects.refusal import excerpt
from penstock.errors import BackendGarbled

#: Ollama's options that the neutral request knows, and what they are called there.
OPTIONS = {"num_predict": "max_tokens", **bare.COMMON}


class Function(msgspec.Struct, gc=False):
    """What is called; ``arguments`` is an object, from some servers its JSON text."""

    name: str
    arguments: object = None


class Call(msgspec.Struct, gc=False):
    """One whole tool call.  The ``index`` that servers send starts anew on each line, so it is not read."""

    function: Function
    id: str | None = None


class Message(msgspec.Struct, gc=False):
    """A piece of the assistant's message."""

    role: str | None = None
    content: str | None = None
    thinking: str | None = None
    tool_calls: list[Call] | None = None


class Line(msgspec.Struct, gc=False):
    """One line of an answer; counters in tokens, durations in nanoseconds."""

    model: str | None = None
    created_at: object = None
    message: Message | None = None
    response: str | None = None
    thinking: str | None = None
    done: bool | None = None
    done_reason: str | None = None
    error: object = None
    logprobs: list[object] | None = None
    total_duration: int | float | None = None
    load_duration: int | float | None = None
    prompt_eval_count: int | float | None = None
    prompt_eval_duration: int | float | None = None
    eval_count: int | float | None = None
    eval_duration: int | float | None = None

    def counters(self) -> list[int | None]:
        """All six, total_duration first."""
        told = (
            self.total_duration,
            self.load_duration,
            self.prompt_eval_count,
            self.prompt_eval_duration,
            self.eval_count,
            self.eval_duration,
        )
        return [_count(number) for number in told]


decode = msgspec.json.Decoder(Line).decode


def decode_odd(data: bytes) -> Line:
    """A line that :func:`decode` refused, read as far as it can be.  Raises BackendGarbled."""
    try:
        value = jsontext.decode(data)
    except ValueError as error:
        raise BackendGarbled(f"the backend sent a line that is not JSON: {error}: {excerpt(data)}", "parse") from None
    # An error counts whatever else the line says.
    if isinstance(value, dict) and value.get("error"):
        return Line(error=value["error"])
    try:
        return msgspec.convert(value, Line)
    except (msgspec.ValidationError, RecursionError) as error:
        raise odd_shape(str(error), data) from None


def odd_shape(why: str, data: bytes) -> BackendGarbled:
    """The error for a line that is JSON and not Ollama's."""
    return BackendGarbled(f"the backend sent a line that is not Ollama's: {why}: {excerpt(data)}", "schema")


def _count(number: float | None) -> int | None:
    return None if number is None or not 0 <= number < MOST_TOLD else int(number)


def timestamp(seconds: float) -> str:
    """Seconds since 1970 -> RFC 3339 in UTC with nine places, as Go writes it."""
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y-%m-%dT%H:%M:%S.%f000Z")


def seconds(text: object) -> int | None:
    """A timestamp -> seconds since 1970; None for anything that is none."""
    if not isinstance(text, str):
        return None
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError):
        return None
