"""Reads the messages of an OpenAI chat: roles, content parts, images, tool calls and their results."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.chat.request import Image, Message, ToolCall
from penstock.dialects import fields, images, jsontext
from penstock.dialects.fields import Object, refuse, required
from penstock.errors import BadRequest

_ROLES = {
    "system": "system",
    "developer": "system",
    "user": "user",
    "assistant": "assistant",
    "tool": "tool",
    "function": "tool",
}


def messages(body: Object, unmapped: list[str]) -> tuple[Message, ...]:
    """The turns of ``body``; parts that no neutral field carries are added to ``unmapped``.  Raises BadRequest."""
    items = fields.objects(body, "messages")
    if not items:
        raise BadRequest("'messages' must hold at least one message", param="messages")
    called: dict[str, str] = {}  # id of a call -> name of its function
    return tuple([_message(item, where, called, unmapped) for item, where in items])


def _message(item: Object, where: str, called: dict[str, str], unmapped: list[str]) -> Message:
    role = required(item, "role", where)
    if role not in _ROLES:
        refuse(where + "role", "one of " + ", ".join(_ROLES), role)
    text, pictures = _content(item, where, unmapped)
    calls = _calls(item, where, called, unmapped)
    call_id = fields.text(item, "tool_call_id", where=where)
    name = fields.text(item, "name", where=where)
    is_tool = _ROLES[role] == "tool"
    return Message(
        role=_ROLES[role],
        content=text,
        thinking=_thinking(item),
        images=pictures,
        tool_calls=calls,
        tool_call_id=call_id,
        tool_name=(name or called.get(call_id or "")) if is_tool else None,
        name=None if is_tool else name,
    )


def _thinking(item: Object) -> str | None:
    # A client that sends it back only repeats what it was told, so that another shape is no reason to refuse.
    for key in ("reasoning_content", "reasoning"):
        value = item.get(key)
        if isinstance(value, str) and value:
            return value
    return None


def _content(item: Object, where: str, unmapped: list[str]) -> tuple[str, tuple[Image, ...]]:
    content = item.get("content")
    if content is None or isinstance(content, str):
        return content or "", ()
    if not isinstance(content, list):
        refuse(where + "content", "a string or a list of parts", content)
    texts: list[str] = []
    pictures: list[Image] = []
    for part, path in fields.objects(item, "content", where=where):
        match required(part, "type", path):
            case "text" | "input_text" | "output_text":
                texts.append(required(part, "text", path, empty=True))
            case "refusal":
                texts.append(required(part, "refusal", path, empty=True))
            case "image_url" | "input_image":
                pictures.append(_image(part, path))
            case kind:
                images.refuse_frames(part.get(kind), path + kind)
                unmapped.append(path.rstrip("."))
    return "\n".join(texts), tuple(pictures)


def _image(part: Object, where: str) -> Image:
    link = part.get("image_url")
    detail = None
    where += "image_url"
    if isinstance(link, dict):
        detail = fields.text(link, "detail", where=where + ".")
        link = link.get("url")
        where += ".url"
    if not isinstance(link, str):
        refuse(where, "a URL", link)
    return images.of_url(link, where, detail)


def _calls(item: Object, where: str, called: dict[str, str], unmapped: list[str]) -> tuple[ToolCall, ...]:
    calls: list[ToolCall] = []
    for call, path in fields.objects(item, "tool_calls", where=where):
        if call.get("type", "function") != "function":
            unmapped.append(path.rstrip("."))
            continue
        function = fields.mapping(call, "function", where=path) or {}
        name = required(function, "name", path + "function.")
        identity = fields.text(call, "id", where=path) or f"call_{len(called)}"
        called[identity] = name
        calls.append(ToolCall(id=identity, name=name, arguments=_arguments(function, path + "function.")))
    return tuple(calls)


def _arguments(function: Object, where: str) -> str:
    match function.get("arguments"):
        case None:
            return "{}"
        case str() as text:
            return text if text.strip() else "{}"
        case Mapping() as value:
            return jsontext.encode(value).decode()
        case other:
            return refuse(where + "arguments", "JSON text", other)
