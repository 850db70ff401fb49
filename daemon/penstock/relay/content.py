"""What one stream was asked and what it answered, kept for the log of an owner who wants that."""

from __future__ import annotations

from collections.abc import Sequence

import msgspec

from penstock.chat.aggregate import Aggregate
from penstock.chat.events import Event
from penstock.chat.lifecycle import Life
from penstock.chat.request import Message, Request
from penstock.dialects import jsontext


class Content(msgspec.Struct, frozen=True, kw_only=True):
    """Texts, empty where there is nothing; ``prompt`` and ``tool_calls`` are JSON."""

    prompt: str
    completion: str
    thinking: str
    tool_calls: str


class Recorded(Life):
    """A life that remembers what was told; its size is bounded by what the reader lets through (``limits.answer``)."""

    __slots__ = ("_answer",)

    def __init__(self) -> None:
        super().__init__()
        self._answer = Aggregate()

    def follow(self, events: Sequence[Event]) -> Sequence[Event]:
        """See :meth:`Life.follow`."""
        followed = super().follow(events)
        self._answer.add(followed)
        return followed

    def content(self, request: Request) -> Content:
        """What was asked by this request, and the answer as far as it was told."""
        answer = self._answer.completion()
        return Content(
            prompt=prompt_of(request),
            completion=answer.text,
            thinking=answer.thinking,
            tool_calls=text_of(answer.tool_calls),
        )


def prompt_of(request: Request) -> str:
    """The texts of a request by the names of its fields; of images their number."""
    asked = {
        "system": request.system,
        "messages": [turn(message) for message in request.messages],
        "prompt": request.prompt,
        "suffix": request.suffix,
        "inputs": request.inputs,
        "images": len(request.images),
    }
    return text_of({name: value for name, value in asked.items() if value})


def turn(message: Message) -> dict[str, object]:
    """One message without what it does not say."""
    said = msgspec.structs.asdict(message) | {"images": len(message.images)}
    return {name: value for name, value in said.items() if value}


def text_of(value: object) -> str:
    """JSON; nothing of nothing."""
    return jsontext.encode(value).decode() if value else ""
