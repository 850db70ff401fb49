"""Reads the conversation of a Responses client: ``instructions``, and ``input`` as text or as a list of items.

What the model did in one turn is a row of items here, reasoning, text and calls, and one message in the neutral tongue.
"""

from __future__ import annotations

from penstock.chat.request import Image, Message, ToolCall
from penstock.dialects import fields, images
from penstock.dialects.fields import Object, refuse, required
from penstock.errors import BadRequest

_ROLES = {"user": "user", "assistant": "assistant", "system": "system", "developer": "system"}


def messages(body: Object, unmapped: list[str], stored: list[str]) -> tuple[Message, ...]:
    """The turns; items and parts that no neutral field carries are added to ``unmapped``, references to ``stored``.

    Without any reference there must be an input.  Raises BadRequest.
    """
    asked = body.get("input")
    turns = _Turns(unmapped, stored)
    instructions = fields.text(body, "instructions")
    if instructions:
        turns.found.append(Message(role="system", content=instructions))
    if isinstance(asked, str):
        turns.found.append(Message(role="user", content=asked))
    elif isinstance(asked, list):
        for item, where in fields.objects(body, "input"):
            turns.read(item, where)
        turns.close()
    elif asked is not None or not stored:
        refuse("input", "a string or a list of items", asked)
    if not (turns.found or stored):
        raise BadRequest("'input' must hold at least one item", param="input")
    return tuple(turns.found)


class _Turns:
    """Puts the items of the model together, until one of somebody else comes."""

    def __init__(self, unmapped: list[str], stored: list[str]) -> None:
        self.found: list[Message] = []
        self._unmapped = unmapped
        self._stored = stored
        self._thinking: list[str] = []
        self._texts: list[str] = []
        self._calls: list[ToolCall] = []
        self._called: dict[str, str] = {}  # id of a call -> name of its function

    def read(self, item: Object, where: str) -> None:
        match item.get("type") or "message":
            case "message":
                self._message(item, where)
            case "reasoning":
                for key in ("summary", "content"):
                    parts = fields.objects(item, key, where=where)
                    self._thinking += [required(part, "text", path, empty=True) for part, path in parts]
            case "function_call":
                call = ToolCall(
                    id=required(item, "call_id", where),
                    name=required(item, "name", where),
                    arguments=fields.text(item, "arguments", where=where) or "{}",
                )
                self._called[call.id] = call.name
                self._calls.append(call)
            case "function_call_output":
                self.close()
                self._result(item, where)
            case "item_reference":
                self._stored.append(where + "id")
            case _:
                self._unmapped.append(where.rstrip("."))

    def close(self) -> None:
        """The model's turn is over."""
        if self._texts or self._calls or self._thinking:
            self.found.append(
                Message(
                    role="assistant",
                    content="\n".join(self._texts),
                    thinking="".join(self._thinking) or None,
                    tool_calls=tuple(self._calls),
                )
            )
        self._thinking, self._texts, self._calls = [], [], []

    def _message(self, item: Object, where: str) -> None:
        said = fields.text(item, "role", where=where)
        role = _ROLES.get(said or "")
        if role is None:
            refuse(where + "role", "one of " + ", ".join(_ROLES), said)
        text, pictures = self._content(item, "content", where)
        if role == "assistant":
            if self._calls:
                self.close()
            self._texts.append(text)
        else:
            self.close()
            self.found.append(Message(role=role, content=text, images=pictures))

    def _result(self, item: Object, where: str) -> None:
        identity = required(item, "call_id", where)
        text, pictures = self._content(item, "output", where)
        self.found.append(
            Message(
                role="tool",
                content=text,
                images=pictures,
                tool_call_id=identity,
                tool_name=self._called.get(identity),
            )
        )

    def _content(self, item: Object, key: str, where: str) -> tuple[str, tuple[Image, ...]]:
        content = item.get(key)
        if content is None or isinstance(content, str):
            return content or "", ()
        if not isinstance(content, list):
            refuse(where + key, "a string or a list of parts", content)
        texts: list[str] = []
        pictures: list[Image] = []
        for part, path in fields.objects(item, key, where=where):
            match required(part, "type", path):
                case "input_text" | "output_text" | "text":
                    texts.append(required(part, "text", path, empty=True))
                case "refusal":
                    texts.append(required(part, "refusal", path, empty=True))
                case "input_image" if part.get("image_url") is not None:
                    link = required(part, "image_url", path)
                    detail = fields.text(part, "detail", where=path)
                    pictures.append(images.of_url(link, path + "image_url", detail))
                case _:
                    self._unmapped.append(path.rstrip("."))
        return "\n".join(texts), tuple(pictures)
