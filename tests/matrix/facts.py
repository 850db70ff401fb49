"""What is said in a request and in an answer, whatever language it is said in."""

from __future__ import annotations

import msgspec

PNG = "iVBORw0KGgo="
SCHEMA = {"type": "object", "properties": {"weather": {"type": "string"}}, "required": ["weather"]}
TOOLS = ({"name": "look", "description": "Look at it"}, {"name": "find", "description": "Find it"})
PARAMETERS = {"type": "object", "properties": {"place": {"type": "string"}}}
#: An earlier call, and what the tool answered.
CALL = ("look", {"place": "here"})
RESULT = "sunny"


class Answer(msgspec.Struct, kw_only=True):
    """What a client was told; ``error`` is the message of an answer that ended badly."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, object]] = []
    finish: str | None = None
    usage: tuple[int, int] | None = None  #: tokens of the prompt and of the answer
    error: str | None = None


class Asked(msgspec.Struct, kw_only=True):
    """What a backend was asked, but for the conversation's words."""

    tools: list[str] = []
    calls: list[tuple[str, object]] = []
    results: list[str] = []
    images: list[str] = []
    schema: object = None
    sampling: tuple[object, object, object] = (None, None, None)  #: tokens at most, temperature, stops
