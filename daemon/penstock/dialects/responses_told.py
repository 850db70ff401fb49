"""What a server's own events have told of a response's output: where its stream was cut, penstock tells the last event,
and in it the items that are done, and those that are not, as far as they came (OpenAI API reference, "Streaming
events").
"""

from __future__ import annotations

from collections.abc import Iterator

from penstock.dialects import jsontext

Object = dict[str, object]

_ITEM = b"event: response.output_item."
_ADDED = _ITEM + b"added\n"
_DONE = _ITEM + b"done\n"
#: Event of a piece -> the list of parts that it is for, the name of its place there, and an empty part.
_PARTS: dict[str, tuple[str, str, Object]] = {
    "response.output_text.delta": ("content", "content_index", {"type": "output_text", "text": "", "annotations": []}),
    "response.refusal.delta": ("content", "content_index", {"type": "refusal", "refusal": ""}),
    "response.reasoning_text.delta": ("content", "content_index", {"type": "reasoning_text", "text": ""}),
    "response.reasoning_summary_text.delta": ("summary", "summary_index", {"type": "summary_text", "text": ""}),
}
#: Event of a piece -> the field of the item that it is for.
_FIELDS = {
    "response.function_call_arguments.delta": "arguments",
    "response.mcp_call_arguments.delta": "arguments",
    "response.custom_tool_call_input.delta": "input",
    "response.code_interpreter_call_code.delta": "code",
}


class Told:
    """Keeps the frames of items that are open, and of those that are done the last one."""

    def __init__(self) -> None:
        self._done: list[bytes] = []
        self._frames: list[bytes] = []
        self._open = 0

    def take(self, raw: bytes) -> None:
        """One or more frames, as they went out: an ``event:`` line, a ``data:`` line and an empty one each."""
        if _ITEM in raw:
            self._open = max(0, self._open + raw.count(_ADDED) - raw.count(_DONE))
            if self._open == 0:
                self._done += [frame for frame in _split([*self._frames, raw]) if frame.startswith(_DONE)]
                self._frames.clear()
        if self._open:
            self._frames.append(raw)

    def output(self) -> list[object]:
        """The items in the order of their beginnings."""
        items: dict[str, _Item] = {}
        for frame in _split([*self._done, *self._frames]):
            name, _, data = frame.partition(b"\ndata: ")
            said = jsontext.decode(data)
            if isinstance(said, dict):
                items.setdefault(_place(said), _Item()).take(name.removeprefix(b"event: ").decode(), said)
        return [item.whole() for item in items.values() if item.began]


class _Item:
    def __init__(self) -> None:
        self.began: Object | None = None
        self._complete = False
        self._fields: dict[str, list[str]] = {}
        self._parts: dict[str, dict[str, tuple[Object, list[str]]]] = {}

    def take(self, kind: str, said: Object) -> None:
        item, delta = said.get("item"), said.get("delta")
        if isinstance(item, dict):
            self.began, self._complete = item, kind == "response.output_item.done"
        elif isinstance(delta, str) and kind in _FIELDS:
            self._fields.setdefault(_FIELDS[kind], []).append(delta)
        elif isinstance(delta, str) and kind in _PARTS:
            name, place, empty = _PARTS[kind]
            self._parts.setdefault(name, {}).setdefault(str(said.get(place)), (empty, []))[1].append(delta)

    def whole(self) -> Object:
        item = dict(self.began or {})
        if self._complete:
            return item
        item |= {name: "".join(pieces) for name, pieces in self._fields.items()}
        for name, parts in self._parts.items():
            item[name] = [
                {**empty, "refusal" if "refusal" in empty else "text": "".join(pieces)}
                for empty, pieces in parts.values()
            ]
        return item | {"status": "incomplete"}


def _place(said: Object) -> str:
    """What tells the item of one event from others; not every server numbers them."""
    match said:
        case {"output_index": int() as index}:
            return str(index)
        case {"item_id": str() as identity} | {"item": {"id": str() as identity}}:
            return identity
    return ""


def _split(raws: list[bytes]) -> Iterator[bytes]:
    return (frame for raw in raws for frame in raw.split(b"\n\n") if frame)
