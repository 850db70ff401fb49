"""Arguments of tool calls for dialects that tell them as an object, whole."""

from __future__ import annotations

from penstock.chat.events import FinishReason
from penstock.chat.request import ToolCall
from penstock.dialects import jsontext
from penstock.errors import BackendGarbled


def decoded(call: ToolCall, finish: FinishReason | None) -> dict[str, object] | None:
    """The arguments of a call; None for one that was cut short because the length ran out, which is no call.

    Raises BackendGarbled for any other whose arguments are no JSON object: leaving it out would lie.
    """
    try:
        arguments = jsontext.decode(call.arguments.encode("utf-8", "surrogatepass"))
    except ValueError:
        arguments = None
    if isinstance(arguments, dict):
        return arguments
    if finish is FinishReason.LENGTH:
        return None
    raise BackendGarbled(
        f"the backend called a function with arguments that are no JSON object: {call.name}: {call.arguments[:160]}",
        "schema",
    )
