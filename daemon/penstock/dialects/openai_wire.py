"""The frames of OpenAI's chat/completions and completions streams, as types.

Each stream has two.  The *clean* type says in full what every client parser accepts unchanged; msgspec checks it in C,
so the hot path asks no further questions, and a frame that fits may be passed on as it came.  The *loose* type says
what servers send that call themselves compatible: nearly everything may be missing, null or of a second form.

What clean means was tried against the parsers of the openai and AI SDKs, Continue and Copilot Chat: all top-level
fields, one choice with index 0, a delta object, a finish reason of the standard set; ``tool_calls`` never empty
(Copilot drops the text beside it), one call per frame with string arguments; usage only alone (Continue holds back
every frame that has one).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.chat.events import MOST_TOLD
from penstock.dialects import tolerant

# The Python client's own accumulator and several others keep it in 32 bits.
_Created = Annotated[int, Meta(ge=0, lt=2**31)]
_Count = Annotated[int, Meta(ge=0, lt=2**53)]
_Nothing = UnsetType | None
_Finish = Literal["stop", "length", "tool_calls", "content_filter"] | None


class Timings(msgspec.Struct, frozen=True, gc=False):
    """llama.cpp's ``timings``: tokens, and milliseconds."""

    prompt_n: int | None = None
    prompt_ms: float | None = None
    predicted_n: int | None = None
    predicted_ms: float | None = None
    cache_n: int | None = None


class PromptProgress(msgspec.Struct, frozen=True, gc=False):
    """llama.cpp's ``prompt_progress``: tokens of the prompt."""

    total: int = 0
    processed: int = 0


class Logprobs(msgspec.Struct, frozen=True, gc=False):
    """Chat's ``content``, or the parallel lists of completions."""

    content: list[object] | None = None
    tokens: list[str] | None = None
    token_logprobs: list[float | None] | None = None
    top_logprobs: list[dict[str, float] | None] | None = None


# --- clean -----------------------------------------------------------------------------------------------------------


class CleanFunction(msgspec.Struct, frozen=True, gc=False):
    arguments: str
    name: str | None = None


class CleanCall(msgspec.Struct, frozen=True, gc=False):
    index: Annotated[int, Meta(ge=0)]
    function: CleanFunction
    id: str | None = None
    type: str | None = None


class CleanDelta(msgspec.Struct, frozen=True, gc=False):
    content: str | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    role: Literal["assistant"] | None = None
    tool_calls: tuple[CleanCall] | None = None
    function_call: _Nothing = UNSET
    refusal: _Nothing = UNSET


class CleanChoice(msgspec.Struct, frozen=True, gc=False):
    index: Literal[0]
    delta: CleanDelta
    finish_reason: _Finish
    logprobs: Logprobs | None = None


class CleanUsage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: _Count
    completion_tokens: _Count
    total_tokens: _Count
    prompt_tokens_details: dict[str, _Count] | UnsetType = UNSET
    completion_tokens_details: dict[str, _Count] | UnsetType = UNSET


class CleanChunk(msgspec.Struct, frozen=True, gc=False):
    id: str
    object: Literal["chat.completion.chunk"]
    created: _Created
    model: str
    choices: tuple[CleanChoice]
    usage: _Nothing = UNSET
    error: _Nothing = UNSET
    prompt_progress: _Nothing = UNSET


class CleanTextChoice(msgspec.Struct, frozen=True, gc=False):
    index: Literal[0]
    text: str
    finish_reason: Literal["stop", "length", "content_filter"] | None
    logprobs: Logprobs | None = None


class CleanTextChunk(msgspec.Struct, frozen=True, gc=False):
    id: str
    object: Literal["text_completion"]
    created: _Created
    model: str
    choices: tuple[CleanTextChoice]
    usage: _Nothing = UNSET
    error: _Nothing = UNSET
    prompt_progress: _Nothing = UNSET


class PlainDelta(msgspec.Struct, frozen=True, gc=False):
    content: Annotated[str, Meta(min_length=1)]
    role: _Nothing = UNSET
    reasoning_content: _Nothing = UNSET
    reasoning: _Nothing = UNSET
    tool_calls: _Nothing = UNSET
    function_call: _Nothing = UNSET
    refusal: _Nothing = UNSET


class PlainChoice(msgspec.Struct, frozen=True, gc=False):
    index: Literal[0]
    delta: PlainDelta
    finish_reason: None
    logprobs: _Nothing = UNSET


class PlainChunk(msgspec.Struct, frozen=True, gc=False):
    """A clean chat chunk that says a piece of text and nothing else: nearly all of every answer."""

    id: str
    object: Literal["chat.completion.chunk"]
    created: _Created
    model: str
    choices: tuple[PlainChoice]
    usage: _Nothing = UNSET
    error: _Nothing = UNSET
    prompt_progress: _Nothing = UNSET


class CleanUsageChunk(msgspec.Struct, frozen=True, gc=False):
    """The last chunk of a stream that was asked to count."""

    id: str
    object: Literal["chat.completion.chunk", "text_completion"]
    created: _Created
    model: str
    choices: tuple[()]
    usage: CleanUsage
    error: _Nothing = UNSET


# --- loose -----------------------------------------------------------------------------------------------------------


class Function(msgspec.Struct, frozen=True, gc=False):
    name: str | None = None
    arguments: object = None  #: text, or the object itself


class Call(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    id: str | None = None
    function: Function | None = None


class Part(msgspec.Struct, frozen=True, gc=False):
    """Mistral's form of content: ``text``, or ``thinking`` with texts in it."""

    type: str | None = None
    text: str | None = None
    thinking: str | list[Part] | None = None


class Delta(msgspec.Struct, frozen=True, gc=False):
    """A streamed ``delta`` and a whole ``message`` alike."""

    content: str | list[Part] | None = None
    reasoning_content: str | None = None
    reasoning: str | None = None
    tool_calls: list[Call] | None = None
    function_call: Function | None = None
    refusal: str | None = None


class Choice(msgspec.Struct, frozen=True, gc=False):
    index: int | None = None
    delta: Delta | None = None
    message: Delta | None = None
    text: str | None = None
    finish_reason: str | None = None
    logprobs: Logprobs | None = None


class Details(msgspec.Struct, frozen=True, gc=False):
    cached_tokens: int | None = None
    reasoning_tokens: int | None = None


class Usage(msgspec.Struct, frozen=True, gc=False):
    prompt_tokens: int | None = None
    completion_tokens: int | None = None
    prompt_tokens_details: Details | None = None
    completion_tokens_details: Details | None = None


class Chunk(msgspec.Struct, frozen=True, gc=False):
    error: object = None
    id: object = None
    created: object = None
    model: object = None
    choices: list[Choice] | None = None
    usage: Usage | None = None
    timings: object = None
    prompt_progress: PromptProgress | None = None


_loose = msgspec.json.Decoder(Chunk).decode


def chunk(data: bytes) -> Chunk:
    """Any frame -> its loose type.  Raises BackendGarbled."""
    try:
        return _loose(data)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
        pass
    value = tolerant.parsed(data)
    if isinstance(value, dict) and value.get("error"):
        return Chunk(error=value["error"])
    return tolerant.shaped(value, Chunk, data)


def parts(content: str | list[Part] | None) -> tuple[str, str]:
    """The text in content of either form, and the thinking."""
    if not isinstance(content, list):
        return content or "", ""
    text = "".join([part.text for part in content if part.text])
    return text, "".join(["".join(parts(part.thinking)) for part in content if part.thinking])


def timings(value: object) -> Timings:
    """llama.cpp's timings, empty where something else stands in their place."""
    try:
        return msgspec.convert(value, Timings)
    except msgspec.ValidationError:
        return Timings()


def nanoseconds(milliseconds: float | None) -> int | None:
    """A time as llama.cpp tells it; None for what is none."""
    return None if milliseconds is None or not 0 <= milliseconds < MOST_TOLD / 1e6 else round(milliseconds * 1e6)
