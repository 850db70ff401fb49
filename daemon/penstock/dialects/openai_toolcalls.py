"""Tool calls out of OpenAI deltas: whole in their identity, strictly one after the other.

Servers number the fragments of parallel calls and may interleave them; Copilot Chat and Continue then give the
arguments of one call to another.  So a call's fragments are passed on as they come only while every call before it
has ended; the rest waits.  A call has ended when its arguments are a whole JSON text and another call began, or with
the answer.
"""

from __future__ import annotations

import secrets

from penstock.chat.events import ToolDelta
from penstock.dialects import jsontext
from penstock.dialects.openai_wire import Call, Function
from penstock.errors import BackendGarbled


class ToolCalls:
    """The calls of one answer.  What it holds is bounded by the reader's ``limits.answer``."""

    def __init__(self) -> None:
        self._calls: list[_Call] = []
        self._known: dict[int | str, _Call] = {}  # the newest call under an index, and every call under its id
        self._live = 0  # the call whose fragments are passed on

    def __bool__(self) -> bool:
        return bool(self._calls)

    def add(self, part: Call) -> list[ToolDelta]:
        """Take one fragment; what may be passed on now."""
        function = part.function or Function()
        call = self._find(part, function.name or "")
        call.add(part.id or "", function.name or "", _text(function.arguments))
        if call.index < self._live and call.fresh.strip():
            raise BackendGarbled(f"the backend went on with tool call {call.index} after it was whole", "schema")
        deltas = self._release(final=False)
        live = self._calls[self._live]
        if not deltas and live.announced:
            # What waits is progress all the same: an empty piece of the call before it says so to both sides.
            deltas.append(ToolDelta(live.index))
        return deltas

    def finish(self) -> list[ToolDelta]:
        """The answer is complete: all that waited."""
        deltas = self._release(final=True)
        for call in self._calls:
            if not call.name:
                raise BackendGarbled(f"the backend sent tool call {call.index} without a name", "schema")
        return deltas

    def _find(self, part: Call, name: str) -> _Call:
        """The call that a fragment belongs to: by index, else by id, else the last one.

        Some servers give every call index 0 or no index at all: then a new name with a new id begins a call, or a name
        after a call that is whole.
        """
        last = self._calls[-1] if self._calls else None
        if part.index is not None:
            call = self._known.get(part.index)
            if call and not (name and part.id and call.id and part.id != call.id):
                return call
        elif part.id and part.id in self._known:
            return self._known[part.id]
        elif last and not (name and (part.id or last.whole())):
            return last
        call = _Call(len(self._calls))
        self._calls.append(call)
        if part.index is not None:
            self._known[part.index] = call
        if part.id:
            self._known[part.id] = call
        return call

    def _release(self, *, final: bool) -> list[ToolDelta]:
        deltas: list[ToolDelta] = []
        while self._live < len(self._calls):
            call = self._calls[self._live]
            if (delta := call.news()) is not None:
                deltas.append(delta)
            if not final and (call is self._calls[-1] or not call.whole()):
                break
            self._live += 1
        return deltas


class _Call:
    def __init__(self, index: int) -> None:
        self.index = index
        self.id = ""
        self.name = ""
        self.fresh = ""  # arguments not yet passed on
        self._text: list[str] = []
        self.announced = False

    def add(self, identity: str, name: str, arguments: str) -> None:
        if not self.announced:
            self.id = self.id or identity
            self.name = self.name or name
        if arguments:
            self.fresh += arguments
            self._text.append(arguments)

    def news(self) -> ToolDelta | None:
        arguments = self.fresh
        if not self.announced:
            if not self.name:
                return None
            self.announced = True
            self.id = self.id or f"call_{secrets.token_hex(4)}"
            self.fresh = ""
            return ToolDelta(self.index, self.id, self.name, arguments)
        self.fresh = ""
        return ToolDelta(self.index, arguments=arguments) if arguments else None

    def whole(self) -> bool:
        # Looked at again with each fragment while a later call waits: the last character spares most of the parsing.
        if not self._text or not self._text[-1].rstrip().endswith("}"):
            return False
        try:
            jsontext.decode("".join(self._text).encode("utf-8", "replace"))
        except ValueError:
            return False
        return True


def _text(arguments: object) -> str:
    if arguments is None:
        return ""
    return arguments if isinstance(arguments, str) else jsontext.encode(arguments).decode()
