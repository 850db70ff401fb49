"""OpenAI's Responses API, as numbered and named events or as one JSON text (OpenAI API reference, "Streaming events").

A response is made of items, one for the thinking, one for the text, one for each tool call; each is begun and ended by
events of its own.
"""

from __future__ import annotations

import re
from typing import Any

import msgspec

from penstock.simulate.openai import OpenAI
from penstock.simulate.voice import failed

#: Beside its pieces: item and part begin, text, part and item end.
_WORDS = 5
#: The same of a call, which has no parts.
_CALL = 3
#: The number of an event that nobody expected.
_OUT_OF_TURN = 10**9

#: Every event begins with it.
_TYPE = re.compile(rb'\{"type":"([a-z_.]+)"')

Object = dict[str, Any]


class Responses(OpenAI):
    def line(self, payload: bytes) -> bytes:
        """The name stands before the data, which says it as well."""
        if self.script.has("swapped"):
            return super().line(payload)
        name = _TYPE.match(payload)
        if name is None:
            return super().line(payload)
        return b"event: " + name[1] + (b"\r\n" if self.script.has("crlf") else b"\n") + super().line(payload)

    @property
    def thinks(self) -> bool:
        return True

    @property
    def per_token_frames(self) -> bool:
        return True

    def opening(self) -> list[bytes]:
        response = self._response("in_progress")
        return [
            self._event(0, "response.created", response=response),
            self._event(1, "response.in_progress", response=response),
        ]

    def begin(self, thinking: bool) -> list[bytes]:
        if not (self.script.thinking if thinking else self.script.tokens):
            return []
        index = 0 if thinking else self._text_index
        number = self._first(index)
        item = self._item(index) | {"status": "in_progress"} | ({"summary": []} if thinking else {"content": []})
        part: Object = {"type": "summary_text" if thinking else "output_text", "text": "", "annotations": []}
        return [
            *(self._end_of_words(0) if index else []),
            self._event(number, "response.output_item.added", output_index=index, item=item),
            self._event(number + 1, f"response.{self._part(index)}_part.added", **self._at(index), part=part),
        ]

    def piece(self, content: str, thinking: bool, spent: int) -> bytes:
        index = 0 if thinking else self._text_index
        number = self._first(index) + 2 + spent - (0 if thinking else self.script.thinking)
        return self._payload(number, f"response.{self._text(index)}.delta", **self._at(index), delta=content)

    def tool_lines(self) -> list[bytes]:
        """The start of a call, and each piece of its arguments; what ends an item goes along with what follows it."""
        lines = []
        before = self._end_of_words(self._call_index - 1) if self._call_index else []
        for call in self.calls:
            index = self._call_index + call.index
            number = self._first(index)
            item = self._item(index) | {"status": "in_progress", "arguments": ""}
            added = self._event(number, "response.output_item.added", output_index=index, item=item)
            lines.append(b"".join([*before, added]))
            name = "response.function_call_arguments.delta"
            for place, part in enumerate(self.arguments(call), start=1):
                lines.append(self._event(number + place, name, **self._at(index), delta=part))
            before = self._end_of_call(index)
        return lines

    def closing(self, spent: int) -> list[bytes]:
        count = self._call_index + len(self.calls)
        ends = self._end_of_call if self.calls else self._end_of_words
        lines = ends(count - 1) if count else []
        if not self.script.has("no-finish"):
            response = self._finished(spent)
            lines.append(self._event(self._first(count), f"response.{response['status']}", response=response))
        return lines

    def progress(self, part: int, parts: int) -> bytes:
        return b""

    def failure(self, fault: str, spent: int) -> list[bytes]:
        error = {"code": "server_error", "message": failed(spent)}
        if fault in ("error-event", "error-field"):
            return [self._event(_OUT_OF_TURN, "error", **error, param=None)]
        response = self._response("failed") | {"error": error}
        return [self._event(_OUT_OF_TURN, "response.failed", response=response)]

    def misshapen(self) -> bytes:
        return b'{"type":"response.output_text.delta","item_id":7,"response":5}'

    def whole(self, spent: int) -> bytes:
        return msgspec.json.encode(self._finished(spent))

    @property
    def _text_index(self) -> int:
        return 1 if self.script.thinking else 0

    @property
    def _call_index(self) -> int:
        return self._text_index + (1 if self.script.tokens else 0)

    def _first(self, index: int) -> int:
        """The number of the first event of an item."""
        words = [count + _WORDS for count in (self.script.thinking, self.script.tokens) if count]
        calls = [self.script.fragments + _CALL] * len(self.calls)
        return 2 + sum([*words, *calls][:index])

    def _part(self, index: int) -> str:
        return "reasoning_summary" if index < self._text_index else "content"

    def _text(self, index: int) -> str:
        return "reasoning_summary_text" if index < self._text_index else "output_text"

    def _end_of_words(self, index: int) -> list[bytes]:
        number = self._first(index + 1) - 3
        item = self._item(index)
        (part,) = item["summary"] if index < self._text_index else item["content"]
        at = self._at(index)
        return [
            self._event(number, f"response.{self._text(index)}.done", **at, text=part["text"]),
            self._event(number + 1, f"response.{self._part(index)}_part.done", **at, part=part),
            self._event(number + 2, "response.output_item.done", output_index=index, item=item),
        ]

    def _end_of_call(self, index: int) -> list[bytes]:
        number = self._first(index + 1) - 2
        item = self._item(index)
        name = "response.function_call_arguments.done"
        return [
            self._event(number, name, **self._at(index), arguments=item["arguments"]),
            self._event(number + 1, "response.output_item.done", output_index=index, item=item),
        ]

    def _payload(self, number: int, name: str, **more: object) -> bytes:
        return msgspec.json.encode({"type": name, "sequence_number": number, **more})

    def _event(self, number: int, name: str, **more: object) -> bytes:
        return self.line(self._payload(number, name, **more))

    def _at(self, index: int) -> Object:
        part = {"summary_index": 0} if index < self._text_index else {"content_index": 0}
        return {"item_id": f"item_{self.asked.serial}_{index}", "output_index": index, **part}

    def _item(self, index: int) -> Object:
        """The whole item."""
        item: Object = {"id": f"item_{self.asked.serial}_{index}", "status": "completed"}
        if index < self._text_index:
            return item | {"type": "reasoning", "summary": [{"type": "summary_text", "text": self.whole_text(True)}]}
        if index < self._call_index:
            content = [{"type": "output_text", "text": self.whole_text(False), "annotations": []}]
            return item | {"type": "message", "role": "assistant", "content": content}
        call = self.calls[index - self._call_index]
        arguments = msgspec.json.encode(call.arguments).decode()
        return item | {"type": "function_call", "call_id": call.id, "name": call.name, "arguments": arguments}

    def _response(self, status: str) -> Object:
        return {
            "id": f"resp_{self.asked.serial:08d}",
            "object": "response",
            "created_at": int(self.asked.created),
            "status": status,
            "model": self.asked.model,
            "output": [],
            "error": None,
            "incomplete_details": None,
            "parallel_tool_calls": True,
            "tool_choice": "auto",
            "tools": [],
            "usage": None,
        }

    def _finished(self, spent: int) -> Object:
        cut = self.script.finish == "length"
        usage = {"input_tokens": self.prompt_tokens, "output_tokens": spent, "total_tokens": self.prompt_tokens + spent}
        details = {"input_tokens_details": {"cached_tokens": 0}, "output_tokens_details": {"reasoning_tokens": 0}}
        return self._response("incomplete" if cut else "completed") | {
            "output": [self._item(index) for index in range(self._call_index + len(self.calls))],
            "incomplete_details": {"reason": "max_output_tokens"} if cut else None,
            "usage": usage | details,
        }
