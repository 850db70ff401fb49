"""A client's dialect: how it asks and how it reads, and what several of them share.

Every streamed body goes through the check of its dialect first.  What a dialect has no words for is said in another
one's, as a client would that does not know better.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import Any, ClassVar, Protocol

import trio

from matrix.facts import CALL, PARAMETERS, PNG, RESULT, SCHEMA, TOOLS, Answer
from rawhttp import answered, ask, post

Body = dict[str, Any]

#: What is said of tools, their calls, schemas and images in OpenAI's words, which others share or are sent by mistake.
FUNCTIONS: list[Body] = [{"type": "function", "function": {**tool, "parameters": PARAMETERS}} for tool in TOOLS]
NAME, ARGUMENTS = CALL
TURNS: list[Body] = [
    {"role": "user", "content": "hello"},
    {
        "role": "assistant",
        "content": None,
        "tool_calls": [
            {"id": "call_1", "type": "function", "function": {"name": NAME, "arguments": json.dumps(ARGUMENTS)}}
        ],
    },
    {"role": "tool", "tool_call_id": "call_1", "content": RESULT},
]
SCHEMA_FORMAT = {"type": "json_schema", "json_schema": {"name": "answer", "schema": SCHEMA}}
IMAGE_URL = {"type": "image_url", "image_url": {"url": f"data:image/png;base64,{PNG}"}}

#: A dialect's own word for the end -> OpenAI's.
FINISHES = {
    "end_turn": "stop",
    "max_tokens": "length",
    "tool_use": "tool_calls",
    "max_output_tokens": "length",
}


#: Status, headers, body.
Answered = tuple[int, dict[str, str], bytes]


class Asker(Protocol):
    """An answer on its way; see :class:`rawhttp.Client`."""

    stream: trio.SocketStream

    async def head(self) -> tuple[int, dict[str, str]]: ...

    async def until(self, mark: bytes) -> bytes: ...

    async def body(self, headers: dict[str, str]) -> bytes: ...


class Client(ABC):
    """One way of asking."""

    name: ClassVar[str]
    #: of :data:`penstock.dialects.registry.NORTHBOUND`
    dialect: ClassVar[str]
    #: where a stream is asked for, and where an answer in one piece; None: nowhere
    stream_path: ClassVar[str]
    whole_path: ClassVar[str | None]
    #: a sign of life in a stream, and before an answer in one piece
    beats: ClassVar[tuple[bytes, bytes]] = (b": keep-alive\n", b"\n")
    #: whether a stream tells the counts of tokens
    counts_streams: ClassVar[bool] = True
    #: what is said for each feature of :mod:`matrix.table`
    says: ClassVar[dict[str, Body]]

    @property
    def ways(self) -> tuple[bool, ...]:
        """Streamed or not: what there is of it."""
        return (True,) if self.whole_path is None else (True, False)

    def beat(self, stream: bool) -> bytes:
        """A sign of life."""
        return self.beats[0 if stream else 1]

    def request(self, model: str, *, stream: bool, **said: Any) -> bytes:
        """A whole HTTP request."""
        path = self.stream_path if stream else self.whole_path
        assert path is not None
        return post(path, json.dumps(self.body(model, stream) | said).encode(), "Content-Type: application/json")

    async def answered(self, address: str, model: str, *, stream: bool, **said: Any) -> Answered:
        """The whole answer of a daemon."""
        return await answered(address, self.request(model, stream=stream, **said))

    async def ask(self, address: str, model: str, *, stream: bool) -> Asker:
        """Ask a daemon, and take the answer as it comes."""
        return await ask(address, self.request(model, stream=stream))

    def read(self, body: bytes, *, stream: bool) -> Answer:
        """The body of a good answer, or of one that failed in its middle."""
        return self.streamed(body) if stream else self.whole(json.loads(body))

    @abstractmethod
    def body(self, model: str, stream: bool) -> Body:
        """The smallest request."""

    @abstractmethod
    def streamed(self, body: bytes) -> Answer:
        """A streamed answer."""

    @abstractmethod
    def whole(self, body: Any) -> Answer:
        """An answer in one piece."""

    @abstractmethod
    def refusal(self, body: bytes) -> str:
        """The message in the body of an error status."""


def openai_usage(usage: Any) -> tuple[int, int]:
    assert usage["total_tokens"] == usage["prompt_tokens"] + usage["completion_tokens"]
    return usage["prompt_tokens"], usage["completion_tokens"]


def last_error(body: bytes) -> str | None:
    """The message of the error frame at the end of a body of server-sent events."""
    datas = [line[6:] for line in body.decode().split("\n") if line.startswith("data: {")]
    error = json.loads(datas[-1]).get("error")
    return error and str(error["message"])


def settled(answer: Answer, calls: list[list[str]]) -> Answer:
    """With the calls that are whole, and without a finish reason that only announces an error."""
    if answer.error is not None:
        answer.finish = None
        return answer
    answer.calls = [(name, json.loads(arguments)) for name, arguments in calls]
    return answer
