"""The items of a response's output, each telling its own events: its beginning, its pieces, its end.

An event is its name and its fields; type and ``sequence_number`` are the writer's.  That of a piece, which nearly all
events are, is bytes around a number and a text.  ``told`` is the item as it was told last, which is how it stands in
the response.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import ClassVar

from penstock.dialects.jsontext import encode

Object = dict[str, object]
Events = list[tuple[str, Object]]


class Item(ABC):
    """``index`` is its place in the output."""

    prefix: ClassVar[str]
    #: the name of the event of a piece, and what follows the place of the item in it
    delta: ClassVar[tuple[bytes, bytes]]

    def __init__(self, identity: str, index: int) -> None:
        self._id = identity
        self._index = index
        self._pieces: list[str] = []
        self.told: Object = {}
        name, rest = self.delta
        head = b'event: %b\ndata: {"type":"%b","sequence_number":%%d,"item_id":"%b","output_index":%d,'
        self._delta = head % (name, name, identity.encode(), index) + rest

    def begin(self) -> Events:
        """The item is there, and empty."""
        self.told = self.whole("in_progress")
        return [("response.output_item.added", {"output_index": self._index, "item": self.told}), *self._begun()]

    def end(self, status: str) -> Events:
        """The item is complete, or cut short ("incomplete")."""
        self.told = self.whole(status)
        return [*self._ended(), ("response.output_item.done", {"output_index": self._index, "item": self.told})]

    def add(self, number: int, piece: str, logprobs: list[object] | None = None) -> bytes:
        """The event with this number, which tells a piece of the item."""
        self._pieces.append(piece)
        return self._delta % (number, encode(piece))

    @abstractmethod
    def whole(self, status: str) -> Object:
        """The item as far as it is told."""

    @abstractmethod
    def _begun(self) -> Events:
        """What follows its beginning."""

    @abstractmethod
    def _ended(self) -> Events:
        """What goes before its end."""

    @property
    def _text(self) -> str:
        return "".join(self._pieces)

    def _at(self, **more: object) -> Object:
        return {"item_id": self._id, "output_index": self._index, **more}


class Words(Item):
    """A message with one part of text."""

    prefix = "msg"
    delta = (b"response.output_text.delta", b'"content_index":0,"delta":%b,"logprobs":%b}\n\n')

    def __init__(self, identity: str, index: int) -> None:
        super().__init__(identity, index)
        self._logprobs: list[object] = []

    def add(self, number: int, piece: str, logprobs: list[object] | None = None) -> bytes:
        """The event with this number, which tells a piece of the text."""
        self._pieces.append(piece)
        self._logprobs += logprobs or ()
        return self._delta % (number, encode(piece), encode(logprobs) if logprobs else b"[]")

    def whole(self, status: str) -> Object:
        content = [self._part()] if status != "in_progress" else []
        return {"id": self._id, "type": "message", "status": status, "role": "assistant", "content": content}

    def _begun(self) -> Events:
        return [("response.content_part.added", self._at(content_index=0, part=self._part()))]

    def _ended(self) -> Events:
        return [
            ("response.output_text.done", self._at(content_index=0, text=self._text, logprobs=self._logprobs)),
            ("response.content_part.done", self._at(content_index=0, part=self._part())),
        ]

    def _part(self) -> Object:
        return {"type": "output_text", "text": self._text, "annotations": [], "logprobs": self._logprobs}


class Reasoning(Item):
    """What the model thought, as a summary of one part."""

    prefix = "rs"
    delta = (b"response.reasoning_summary_text.delta", b'"summary_index":0,"delta":%b}\n\n')

    def whole(self, status: str) -> Object:
        summary = [self._part()] if status != "in_progress" else []
        return {"id": self._id, "type": "reasoning", "summary": summary, "status": status}

    def _begun(self) -> Events:
        return [("response.reasoning_summary_part.added", self._at(summary_index=0, part=self._part()))]

    def _ended(self) -> Events:
        return [
            ("response.reasoning_summary_text.done", self._at(summary_index=0, text=self._text)),
            ("response.reasoning_summary_part.done", self._at(summary_index=0, part=self._part())),
        ]

    def _part(self) -> Object:
        return {"type": "summary_text", "text": self._text}


class Call(Item):
    """A call of a function; ``call_id`` is what its result is sent back under."""

    prefix = "fc"
    delta = (b"response.function_call_arguments.delta", b'"delta":%b}\n\n')

    def __init__(self, identity: str, index: int, call_id: str, name: str) -> None:
        super().__init__(identity, index)
        self._call_id = call_id
        self._name = name

    def whole(self, status: str) -> Object:
        return {
            "id": self._id,
            "type": "function_call",
            "status": status,
            "arguments": "" if status == "in_progress" else self._arguments,
            "call_id": self._call_id,
            "name": self._name,
        }

    def _begun(self) -> Events:
        return []

    def _ended(self) -> Events:
        done = self._at(arguments=self._arguments, name=self._name)
        return [("response.function_call_arguments.done", done)]

    @property
    def _arguments(self) -> str:
        return self._text or "{}"
