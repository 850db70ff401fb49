"""How a backend's dialect writes an answer: what every voice can say, and what a request asked for.

A voice knows no time and no socket.  Everything it returns is complete lines of the body, framed as SSE events or JSON
lines; when each goes out, and what is left out on purpose, is decided by :mod:`penstock.simulate.plan`.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar, Literal

import msgspec

from penstock.simulate import text
from penstock.simulate.script import Script

#: Stands for a token's text while a frame is encoded; then the frame is cut there.
_HOLE = "@@text@@"


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """What of a request decides how the answer is written."""

    kind: Literal["chat", "text"]
    model: str
    stream: bool
    usage: bool = False  #: the client asked for usage at the end of a stream
    prompt: int = 0  #: characters of prompt text
    functions: tuple[str, ...] = ()  #: names of the tools offered
    #: an Ollama request without prompt or messages: load the model, or unload it
    load: Literal["", "load", "unload"] = ""
    serial: int = 0  #: number of the request, for ids
    created: float = 0.0  #: seconds since 1970


class Call(msgspec.Struct, frozen=True):
    """A tool call of the answer; the arguments count as the content does."""

    index: int
    id: str
    name: str
    arguments: dict[str, object]


class Voice(ABC):
    """One answer in one dialect."""

    media: ClassVar[str]
    #: what stands around one JSON text on the wire, and in the other family of dialects
    framing: ClassVar[tuple[bytes, bytes]]
    swapped: ClassVar[tuple[bytes, bytes]]
    #: whether the head goes out as soon as work begins, or only with the first token
    early_head: ClassVar[bool]

    def __init__(self, script: Script, asked: Asked) -> None:
        self.script = script
        self.asked = asked
        before, after = self.swapped if script.has("swapped") else self.framing
        self._before, self._after = before, after.replace(b"\n", b"\r\n") if script.has("crlf") else after
        self.prompt_tokens = asked.prompt if script.prompt < 0 else script.prompt
        self.calls = [self._call(index) for index in range(script.tools)] if asked.kind == "chat" else []

    def line(self, payload: bytes) -> bytes:
        return self._before + payload + self._after

    def token(self, thinking: bool, spent: int) -> list[bytes]:
        """The frame of a token in parts, its text goes between them; ``spent`` tokens were sent before it."""
        return self.line(self.piece(_HOLE, thinking, spent)).split(_HOLE.encode())

    def whole_text(self, thinking: bool) -> str:
        return text.whole(self.script, thinking, self.script.thinking if thinking else self.script.tokens)

    def arguments(self, call: Call) -> list[str]:
        """The JSON text of a call's arguments, cut into ``fragments`` parts."""
        text = msgspec.json.encode(call.arguments).decode()
        size = -(-len(text) // self.script.fragments)
        return [text[size * part : size * (part + 1)] for part in range(self.script.fragments)]

    def begin(self, thinking: bool) -> list[bytes]:
        """Lines before the first token of the thinking or of the content; most dialects have none."""
        return []

    @property
    def per_token_frames(self) -> bool:
        """Whether frames differ in more than the text."""
        return False

    @property
    def thinks(self) -> bool:
        """Whether thinking tokens have a place in this answer."""
        return True

    @abstractmethod
    def opening(self) -> list[bytes]:
        """Lines before the first token."""

    @abstractmethod
    def piece(self, content: str, thinking: bool, spent: int) -> bytes:
        """The JSON text of one token."""

    @abstractmethod
    def tool_lines(self) -> list[bytes]:
        """The tool calls, one line a token."""

    @abstractmethod
    def closing(self, spent: int) -> list[bytes]:
        """Finish reason, usage and terminator, as far as the script has them."""

    @abstractmethod
    def ping(self) -> bytes:
        """A sign of life that says nothing."""

    @abstractmethod
    def progress(self, part: int, parts: int) -> bytes:
        """Prefill progress, or nothing where the dialect has none."""

    @abstractmethod
    def failure(self, fault: str, spent: int) -> list[bytes]:
        """The lines of one of the ``error`` faults."""

    @abstractmethod
    def misshapen(self) -> bytes:
        """Valid JSON with wrong types."""

    @abstractmethod
    def whole(self, spent: int) -> bytes:
        """The whole answer as one JSON text."""

    @abstractmethod
    def refusal(self, status: int, message: str) -> bytes:
        """The JSON body of an error status."""

    def _call(self, index: int) -> Call:
        offered = self.asked.functions or ("get_weather",)
        arguments: dict[str, object] = {"call": index, "text": text.whole(Script(), False, 8)}
        return Call(index, f"call_{self.asked.serial:04d}{index:04d}", offered[index % len(offered)], arguments)


def failed(spent: int) -> str:
    """The message of every simulated failure."""
    return f"simulated failure after {spent} tokens"
