"""Writes one answer to an Ollama client: events in, lines or one JSON text out (ollama api/types.go).

Every line carries all the fields that some client cannot do without: model, created_at, message or response, done.  The
last one carries the reason and all six counters, and nothing follows it.
"""

from __future__ import annotations

from collections.abc import Sequence

from penstock.chat.aggregate import Aggregate
from penstock.chat.events import Event, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Operation, Request, ToolCall
from penstock.dialects import arguments, jsontext, ndjson
from penstock.dialects.base import Identity, Timing
from penstock.dialects.ollama_request import is_load, is_unload
from penstock.dialects.ollama_wire import timestamp
from penstock.errors import BackendGarbled, PenstockError

Object = dict[str, object]


def error_body(error: PenstockError) -> bytes:
    """``{"error":"text"}``, in just these bytes: there are clients that know an error by how it begins."""
    return jsontext.escape(jsontext.encode({"error": error.message}))


class OllamaStream:
    """An answer as lines; see :class:`penstock.dialects.base.Writer`.

    Tool calls are whole in this dialect, so their pieces are kept until the finish.
    """

    content_type = "application/x-ndjson"
    streaming = True
    clean_failure = True

    def __init__(self, request: Request, identity: Identity, *, passthrough: bool) -> None:
        self._passthrough = passthrough
        self._shape = _Shape(request, identity)
        self._calls = Aggregate()
        self._called = 0
        self._finish: Finish | None = None
        self._usage: Usage | None = None
        self._broken: BackendGarbled | None = None
        self._ended = False
        self._cut()

    def write(self, events: Sequence[Event]) -> bytes:
        """Events -> their lines.  A tool call whose arguments are no object is what cannot be said."""
        if self._broken is not None:
            raise self._broken
        out: list[bytes] = []
        try:
            for event in events:
                if isinstance(event, Text):
                    if self._passthrough and event.raw is not None:
                        out.append(event.raw)
                    elif event.logprobs:
                        out.append(ndjson.line(self._shape.line({"content": event.text}, logprobs=event.logprobs)))
                    else:
                        out.append(self._before_text + jsontext.encode(event.text) + self._after)
                elif isinstance(event, Thinking):
                    if self._passthrough and event.raw is not None:
                        out.append(event.raw)
                    else:
                        out.append(self._before_thinking + jsontext.encode(event.text) + self._after)
                elif isinstance(event, ToolDelta):
                    if self._passthrough and event.raw is not None:
                        out += (self._tool_line(), event.raw)
                        self._called += 1
                    else:
                        self._calls.add((event,))
                elif isinstance(event, Finish):
                    self._finish = event
                    out.append(self._tool_line(event.reason))
                    if self._passthrough and event.raw is not None:
                        out.append(event.raw)
                        self._ended = True
                elif isinstance(event, Usage):
                    self._usage = event
                elif isinstance(event, Opened) and self._passthrough and event.model:
                    self._shape.model = event.model
                    self._cut()
        except BackendGarbled as error:
            self._broken = error
        return jsontext.escape(b"".join(out))

    def heartbeat(self) -> bytes:
        """A space before the line to come: white space to every JSON parser, where an empty line breaks some."""
        return b"" if self._ended else b" "

    def end(self, timing: Timing) -> bytes:
        """The last line, unless the backend's own was sent on."""
        if self._broken is not None:
            raise self._broken
        if self._ended:
            return b""
        assert self._finish is not None, "an answer without its terminal marker ends in fail()"
        self._ended = True
        return ndjson.line(self._shape.last({"content": ""}, self._finish.reason, self._usage, timing))

    def fail(self, error: PenstockError) -> bytes:
        """The error as the last line."""
        if self._ended:
            return b""
        self._ended = True
        return error_body(error) + b"\n"

    def _cut(self) -> None:
        """Prepare the bytes around a piece of text: they are the same on every line."""
        self._before_text, _, self._after = ndjson.line(self._shape.line({"content": "?"})).rpartition(b'"?"')
        thinking = ndjson.line(self._shape.line({"content": "", "thinking": "?"}))
        self._before_thinking, _, _ = thinking.rpartition(b'"?"')

    def _tool_line(self, reason: FinishReason | None = None) -> bytes:
        """The calls kept so far, as one line."""
        calls = _tool_calls(self._calls.completion().tool_calls, self._called, reason)
        self._calls = Aggregate()
        self._called += len(calls)
        return ndjson.line(self._shape.line({"content": "", "tool_calls": calls})) if calls else b""


class OllamaWhole:
    """An answer as one JSON object; see :class:`penstock.dialects.base.Writer`."""

    content_type = "application/json"
    streaming = False
    clean_failure = False

    def __init__(self, request: Request, identity: Identity, *, passthrough: bool) -> None:
        self._passthrough = passthrough
        self._shape = _Shape(request, identity)
        self._answer = Aggregate()

    def write(self, events: Sequence[Event]) -> bytes:
        """Collects; nothing can be sent before the end."""
        self._answer.add(events)
        return b""

    def heartbeat(self) -> bytes:
        """White space before a JSON text is part of it."""
        return b" "

    def end(self, timing: Timing) -> bytes:
        """The answer.  Raises BackendGarbled for a tool call whose arguments are no object."""
        answer = self._answer.completion()
        assert answer.finish is not None, "an answer without its terminal marker ends in fail()"
        if self._passthrough and answer.opened is not None and answer.opened.model:
            self._shape.model = answer.opened.model
        said: Object = {"content": answer.text}
        if answer.thinking:
            said["thinking"] = answer.thinking
        if calls := _tool_calls(answer.tool_calls, 0, answer.finish):
            said["tool_calls"] = calls
        whole = self._shape.last(said, answer.finish, answer.usage, timing)
        if answer.logprobs:
            whole["logprobs"] = answer.logprobs
        return jsontext.escape(jsontext.encode(whole))

    def fail(self, error: PenstockError) -> bytes:
        """The error in place of the answer."""
        return error_body(error)


class _Shape:
    """What the lines of one answer have in common."""

    def __init__(self, request: Request, identity: Identity) -> None:
        self.model = request.model
        self._created = timestamp(identity.created)
        self._chat = request.operation is Operation.CHAT
        self._reason = "unload" if is_unload(request) else "load" if is_load(request) else None

    def line(self, said: Object, **more: object) -> Object:
        """A line that says ``content`` and perhaps ``thinking`` or ``tool_calls``."""
        head: Object = {"model": self.model, "created_at": self._created}
        if self._chat:
            return {**head, "message": {"role": "assistant", **said}, "done": False, **more}
        # A completion calls no tools.
        body = {"response": said["content"], **{key: said[key] for key in said if key == "thinking"}}
        return {**head, **body, "done": False, **more}

    def last(self, said: Object, reason: FinishReason, usage: Usage | None, timing: Timing) -> Object:
        """The last line: the backend's durations, or ours where it told none."""
        told = usage or Usage()
        return self.line(said) | {
            "done": True,
            "done_reason": self._reason or ("length" if reason is FinishReason.LENGTH else "stop"),
            "total_duration": _either(told.total_ns, timing.total_ns),
            "load_duration": _either(told.load_ns, timing.load_ns),
            "prompt_eval_count": told.prompt_tokens,
            "prompt_eval_duration": _either(told.prompt_ns, timing.prompt_ns),
            "eval_count": told.completion_tokens,
            # Clients divide by it.
            "eval_duration": max(1, _either(told.completion_ns, timing.completion_ns)),
        }


def _either(told: int | None, measured: int) -> int:
    return measured if told is None else told


def _tool_calls(calls: Sequence[ToolCall], first: int, reason: FinishReason | None) -> list[Object]:
    """Whole calls in Ollama's shape, arguments as objects, numbered from ``first``."""
    found: list[Object] = []
    for call in calls:
        if (told := arguments.decoded(call, reason)) is not None:
            function = {"index": first + len(found), "name": call.name, "arguments": told}
            found.append({"id": call.id, "function": function})
    return found
