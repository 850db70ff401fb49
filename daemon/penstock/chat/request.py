"""A client's request in the neutral tongue: what every dialect parses into and every backend is asked from."""

from __future__ import annotations

import enum
from collections.abc import Mapping

import msgspec


class Operation(enum.StrEnum):
    """What is asked for."""

    CHAT = "chat"  #: messages in, an assistant's message out
    COMPLETION = "completion"  #: a prompt in, its continuation out
    EMBEDDING = "embedding"  #: texts in, vectors out
    RERANK = "rerank"  #: a query and texts in, how much each is worth out
    OPAQUE = "opaque"  #: bytes in, bytes out

    @property
    def generates(self) -> bool:
        """Whether the answer is made of tokens."""
        return self in (Operation.CHAT, Operation.COMPLETION)


class Effort(enum.StrEnum):
    """How much the model shall think.  ON asks for thinking without saying how much."""

    NONE = "none"
    ON = "on"
    MINIMAL = "minimal"
    LOW = "low"
    MEDIUM = "medium"
    HIGH = "high"
    XHIGH = "xhigh"
    MAX = "max"


class Image(msgspec.Struct, frozen=True, kw_only=True):
    """One image: ``data`` in base64 with its media type, or a ``url`` that penstock itself never fetches."""

    data: str | None = None
    media_type: str | None = None  #: None where the dialect does not say (Ollama)
    url: str | None = None
    detail: str | None = None


class ToolCall(msgspec.Struct, frozen=True, kw_only=True):
    """A call that the model made in an earlier turn; ``arguments`` is JSON text of an object."""

    id: str
    name: str
    arguments: str


class Message(msgspec.Struct, frozen=True, kw_only=True):
    """One turn.  ``role`` is system, user, assistant or tool (developer is read as system)."""

    role: str
    content: str = ""
    thinking: str | None = None
    images: tuple[Image, ...] = ()
    tool_calls: tuple[ToolCall, ...] = ()
    tool_call_id: str | None = None  #: of a tool's result
    tool_name: str | None = None  #: of a tool's result, where the dialect says it or an earlier call tells it
    name: str | None = None


class Tool(msgspec.Struct, frozen=True, kw_only=True):
    """A function the model may call; ``parameters`` is a JSON Schema."""

    name: str
    description: str | None = None
    parameters: Mapping[str, object] | None = None
    strict: bool | None = None


class ResponseFormat(msgspec.Struct, frozen=True, kw_only=True):
    """JSON wanted: any (``schema`` None) or after a schema."""

    schema: Mapping[str, object] | None = None
    name: str | None = None
    strict: bool | None = None


class Sampling(msgspec.Struct, frozen=True, kw_only=True):
    """What steers the sampler; None leaves it to the backend."""

    max_tokens: int | None = None
    temperature: float | None = None
    top_p: float | None = None
    top_k: int | None = None
    min_p: float | None = None
    seed: int | None = None
    stop: tuple[str, ...] = ()
    presence_penalty: float | None = None
    frequency_penalty: float | None = None
    repeat_penalty: float | None = None


class Request(msgspec.Struct, frozen=True, kw_only=True):
    """One request for an answer.

    ``body`` is the client's own decoded JSON: a backend of the same dialect gets it back with only the model, the
    streaming flag and what is forbidden changed, so that fields we do not know still reach it.
    """

    dialect: str  #: the client's language: "openai", "ollama"
    operation: Operation
    model: str
    stream: bool
    body: Mapping[str, object]
    messages: tuple[Message, ...] = ()
    prompt: str = ""  #: of a completion; the query of a rerank
    suffix: str | None = None
    system: str | None = None  #: of a completion (Ollama's generate)
    raw_prompt: bool = True  #: False: the backend shall put the prompt into its chat template (Ollama's generate)
    images: tuple[Image, ...] = ()  #: of a completion
    inputs: tuple[str, ...] = ()  #: of an embedding, empty where the client sent tokens; the documents of a rerank
    dimensions: int | None = None  #: of an embedding
    tools: tuple[Tool, ...] = ()
    #: "auto", "none", "required", or the name of the one function as "function:NAME"; None: not said
    tool_choice: str | None = None
    parallel_tool_calls: bool | None = None
    sampling: Sampling = Sampling()
    response_format: ResponseFormat | None = None
    effort: Effort | None = None
    logprobs: bool = False
    top_logprobs: int | None = None
    include_usage: bool = False  #: a streaming client asked for the usage chunk (Ollama clients always get counters)
    keep_alive: str | float | None = None  #: Ollama: how long the model stays loaded
    #: what refers to something that a server keeps, by dotted path: only a backend of the same dialect can answer
    stored: tuple[str, ...] = ()
    #: headers by lower-case name that a backend of the same dialect shall see
    headers: Mapping[str, str] = {}
    #: fields of ``body`` that no neutral field above carries, by dotted path: named in x-penstock-dropped when the
    #: backend speaks another dialect
    unmapped: tuple[str, ...] = ()
