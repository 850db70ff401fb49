"""The events of one answer, in the order in which a backend tells it.

Every reader starts with :class:`Opened`, then sends content (:class:`Text`, :class:`Thinking`, :class:`ToolDelta`), one
:class:`Finish`, and :class:`Usage` before or after it.  :class:`Pulse` and :class:`Progress` may come anywhere before
the end, :class:`Failed` instead of any of them.

``raw`` carries the backend's own frame, ready for the wire and complete with its framing, when this one event says all
that the frame says and the frame breaks no client (docs/streams.md).  A writer of the same dialect sends it on
unchanged, so that fields we do not know survive.  ``raw`` is None when the frame must be rendered anew.
"""

from __future__ import annotations

import enum

import msgspec


class FinishReason(enum.StrEnum):
    """Why the model stopped: the standard set, anything else drives clients into loops (real.md 1.6)."""

    STOP = "stop"
    LENGTH = "length"
    TOOL_CALLS = "tool_calls"
    CONTENT_FILTER = "content_filter"


class Opened(msgspec.Struct, frozen=True, gc=False):
    """The answer has begun: a role-only frame, or the head of the first frame of any kind."""

    id: str | None = None  #: the backend's id of the answer, kept on every frame of a same-dialect stream
    created: int | None = None  #: seconds since 1970
    model: str | None = None  #: the backend's name of the model
    raw: bytes | None = None


class Text(msgspec.Struct, frozen=True, gc=False):
    """A piece of the answer; never empty."""

    text: str
    raw: bytes | None = None
    #: OpenAI chat shape, one item per token: ``{"token", "logprob", "bytes", "top_logprobs": [...]}``
    logprobs: list[object] | None = None


class Thinking(msgspec.Struct, frozen=True, gc=False):
    """A piece of the model's reasoning; never empty."""

    text: str
    raw: bytes | None = None


class ToolDelta(msgspec.Struct, frozen=True, gc=False):
    """A piece of one tool call.

    The first piece of a call carries ``id`` and ``name`` (ids are made up where a backend sends none); the others
    leave both None.  ``arguments`` is the next piece of a JSON text.  ``index`` counts the calls of the answer from 0.
    """

    index: int
    id: str | None = None
    name: str | None = None
    arguments: str = ""
    raw: bytes | None = None


class Embedding(msgspec.Struct, frozen=True, gc=False):
    """The vector of one input, in place of a text."""

    index: int
    vector: list[float]
    raw: bytes | None = None


class Score(msgspec.Struct, frozen=True, gc=False):
    """How much one document is worth, in place of a text; the higher the better, on the model's own scale."""

    index: int
    value: float
    raw: bytes | None = None


class Opaque(msgspec.Struct, frozen=True, gc=False):
    """A piece of a body into which nobody looks."""

    raw: bytes
    content_type: str  #: of the whole body


class Finish(msgspec.Struct, frozen=True, gc=False):
    """The terminal marker.  TOOL_CALLS whenever the answer called a tool and did not run out of length."""

    reason: FinishReason
    raw: bytes | None = None


#: Beyond this a number of JSON is no longer exact for every client (RFC 8259 6).
MOST_TOLD = 2**53


class Usage(msgspec.Struct, frozen=True, gc=False):
    """Counts in tokens, durations in nanoseconds; None where the backend did not say, or said what is no count."""

    prompt_tokens: int = 0
    completion_tokens: int = 0
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None
    load_ns: int | None = None
    prompt_ns: int | None = None
    completion_ns: int | None = None
    total_ns: int | None = None
    raw: bytes | None = None

    def __post_init__(self) -> None:
        for name, unsaid in _COUNTS.items():
            value = getattr(self, name)
            if value is not None and not 0 <= value < MOST_TOLD:
                msgspec.structs.force_setattr(self, name, unsaid)


#: The name of each count -> what stands for none.
_COUNTS = {
    field.name: field.default for field in msgspec.structs.fields(Usage) if field.name.endswith(("_tokens", "_ns"))
}


class Pulse(msgspec.Struct, frozen=True, gc=False):
    """A sign of life without progress: a comment, a ping, an empty delta.  Never sent on."""


class Progress(msgspec.Struct, frozen=True, gc=False):
    """Prefill moves: it resets the first-token budget.  Tokens done and tokens in all."""

    processed: int
    total: int
    raw: bytes | None = None  #: only where the client itself asked to see it


class Failed(msgspec.Struct, frozen=True, gc=False):
    """The answer ends badly: the backend says so inside its stream, or what it sends is not its dialect.

    An event and not an exception, so that what came before it in the same read is not lost.
    """

    message: str
    code: str | None = None  #: the backend's own code, as text
    type: str | None = None
    status: int | None = None  #: the HTTP status that the backend's code stands for
    garbled: str | None = None  #: of what is not its dialect, the layer: "parse" or "schema"


Event = Opened | Text | Thinking | ToolDelta | Embedding | Score | Opaque | Finish | Usage | Pulse | Progress | Failed

PULSE = Pulse()
