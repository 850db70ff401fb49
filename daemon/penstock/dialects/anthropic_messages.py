"""Reads the turns of an Anthropic conversation: text, images, thinking, tool calls and their results.

A turn of the user may hold results of tools and words of their own: the results become turns of their own before it.
"""

from __future__ import annotations

from penstock.chat.request import Image, Message, ToolCall
from penstock.dialects import fields, jsontext
from penstock.dialects.fields import Object, refuse, required
from penstock.errors import BadRequest


def messages(body: Object, unmapped: list[str]) -> tuple[Message, ...]:
    """``system`` and ``messages``; blocks that no neutral field carries are added to ``unmapped``.

    Raises BadRequest.
    """
    items = fields.objects(body, "messages")
    if not items:
        raise BadRequest("'messages' must hold at least one message", param="messages")
    found: list[Message] = []
    if body.get("system") is not None:
        system = _Turn({}, unmapped)
        system.read(body, "system", "")
        found.append(Message(role="system", content=system.content()))
    called: dict[str, str] = {}  # id of a call -> name of its function
    for item, where in items:
        role = fields.text(item, "role", where=where)
        if role not in ("user", "assistant", "system"):
            refuse(where + "role", '"user" or "assistant"', role)
        turn = _Turn(called, unmapped)
        turn.read(item, "content", where)
        found += turn.results
        if turn.texts or turn.images or turn.calls or turn.thinking or not turn.results:
            found.append(
                Message(
                    role=role,
                    content=turn.content(),
                    thinking="".join(turn.thinking) or None,
                    images=tuple(turn.images),
                    tool_calls=tuple(turn.calls),
                )
            )
    return tuple(found)


class _Turn:
    """The blocks of one turn, sorted."""

    def __init__(self, called: dict[str, str], unmapped: list[str]) -> None:
        self.texts: list[str] = []
        self.images: list[Image] = []
        self.thinking: list[str] = []
        self.calls: list[ToolCall] = []
        self.results: list[Message] = []
        self._called = called
        self._unmapped = unmapped

    def content(self) -> str:
        return "\n".join(self.texts)

    def read(self, body: Object, key: str, where: str) -> None:
        """Text or a list of blocks."""
        content = body.get(key)
        if isinstance(content, str):
            self.texts += [content] if content else []
            return
        if not isinstance(content, list):
            refuse(where + key, "a string or a list of blocks", content)
        for block, path in fields.objects(body, key, where=where):
            self._block(block, path)

    def _block(self, block: Object, where: str) -> None:
        match required(block, "type", where):
            case "text":
                self.texts.append(required(block, "text", where, empty=True))
            case "image":
                self.images.append(_image(block, where))
            case "thinking":
                self.thinking.append(required(block, "thinking", where, empty=True))
            case "tool_use":
                self._call(block, where)
            case "tool_result":
                self._result(block, where)
            case "document" if (source := _text_source(block)) is not None:
                self.texts.append(source)
            case _:
                self._unmapped.append(where.rstrip("."))

    def _call(self, block: Object, where: str) -> None:
        call = ToolCall(
            id=required(block, "id", where),
            name=required(block, "name", where),
            arguments=jsontext.encode(fields.mapping(block, "input", where=where) or {}).decode(),
        )
        self._called[call.id] = call.name
        self.calls.append(call)

    def _result(self, block: Object, where: str) -> None:
        identity = required(block, "tool_use_id", where)
        inner = _Turn({}, self._unmapped)
        if block.get("content") is not None:
            inner.read(block, "content", where)
        if fields.boolean(block, "is_error", where=where):
            self._unmapped.append(where + "is_error")
        self.results.append(
            Message(
                role="tool",
                content=inner.content(),
                images=tuple(inner.images),
                tool_call_id=identity,
                tool_name=self._called.get(identity),
            )
        )


def _image(block: Object, where: str) -> Image:
    source = fields.mapping(block, "source", where=where) or {}
    where += "source."
    match source.get("type"):
        case "base64":
            data = required(source, "data", where)
            return Image(data=data, media_type=fields.text(source, "media_type", where=where))
        case "url":
            url = required(source, "url", where)
            if not url.lower().startswith(("https:", "http:")):
                refuse(where + "url", "an http(s) URL", url)
            return Image(url=url)
        case other:
            return refuse(where + "type", '"base64" or "url"', other)


def _text_source(block: Object) -> str | None:
    match block.get("source"):
        case {"type": "text", "data": str() as text}:
            return text
    return None
