"""What can go wrong on demand: the closed list of faults, each with the one line that stands in docs/simulate.md.

A *placed* fault happens after N tokens of the answer (``NAME@N``; without ``@N`` before the first one, and with an N
beyond the last one before the finish reason).  The others concern the answer as a whole.
"""

from __future__ import annotations

import msgspec


class Kind(msgspec.Struct, frozen=True):
    """One entry of the list: what it does and whether ``@N`` means something."""

    line: str
    placed: bool = False


KINDS: dict[str, Kind] = {
    # before the status line
    "mute": Kind("reads the request and never answers"),
    "deaf": Kind("reads the head of the request but not its body, and never answers"),
    "hangup": Kind("closes without a byte of an answer"),
    "loading": Kind("answers 503 `Loading model` for the first `times` requests, then answers well"),
    "redirect": Kind("answers 302 to `/elsewhere`"),
    "no-stream": Kind("refuses a request for a stream with 400, and answers others well"),
    # the head
    "bad-status": Kind("sends a status line that is not HTTP"),
    "huge-head": Kind("sends a header of `size` bytes"),
    "interim": Kind("sends `103 Early Hints` before the real head"),
    "mistyped": Kind("declares the body as `text/html`"),
    "swapped": Kind("declares the right type but sends bare JSON lines for SSE, SSE for JSON lines"),
    "gzip": Kind("compresses the body with gzip though nobody asked"),
    # the rest of the answer does not come
    "silence": Kind("says nothing more and keeps the connection open", placed=True),
    "pings": Kind("sends only signs of life for ever, every `ping` (default 1s)", placed=True),
    "truncate": Kind("ends the body cleanly without any terminal marker", placed=True),
    "cut": Kind("closes (FIN) in the middle of a chunk", placed=True),
    "rst": Kind("resets the connection (RST)", placed=True),
    "bad-chunk": Kind("sends a chunk size that is not a number, then closes", placed=True),
    # the backend says that it failed
    "error": Kind("sends an error frame and ends the body", placed=True),
    "error-done": Kind("sends an error frame and then the ordinary terminator", placed=True),
    "error-event": Kind("sends the error as a named SSE event, `event: error`", placed=True),
    "error-field": Kind("sends the error in an SSE field of its own, `error: {…}`, then `[DONE]`", placed=True),
    "error-choices": Kind("sends an error frame that has valid choices too", placed=True),
    "error-finish": Kind("finishes with reason `error` and no error object", placed=True),
    # a frame is not what it should be, and the answer goes on
    "garbage": Kind("sends a frame that is not JSON", placed=True),
    "schema": Kind("sends a frame whose parts have the wrong types (`choices: 5`)", placed=True),
    "huge": Kind("sends one well-formed frame with a text of `size` bytes", placed=True),
    "split": Kind("cuts a frame in two inside a UTF-8 character, `gap` apart, each half a chunk", placed=True),
    "dribble": Kind("from here on sends one byte at a time, `gap` apart", placed=True),
    # well-meant oddities
    "crlf": Kind("ends lines with CR LF"),
    "null-content": Kind("opens with a delta whose content is null"),
    "empty-tools": Kind("puts `tool_calls: []` into every delta"),
    "interleave": Kind("mixes the fragments of parallel tool calls"),
    "no-index": Kind("leaves out `index` in tool call fragments"),
    "empty-name": Kind("repeats `name` as an empty string in later tool call fragments"),
    # the end
    "no-finish": Kind("sends the terminator without a finish reason before it"),
    "no-terminator": Kind("sends the finish reason but no terminator after it"),
    "never-close": Kind("sends finish reason and terminator but leaves the body open"),
    "surplus": Kind("sends bytes that nobody asked for after a complete answer"),
    "drop-idle": Kind("closes the idle connection right after a complete keep-alive answer"),
    "runaway": Kind("goes on generating, slot held, after the client has closed"),
}


class Fault(msgspec.Struct, frozen=True):
    """A fault in a script: its name and the number of tokens before it."""

    name: str
    at: int = 0
