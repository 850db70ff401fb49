"""Reads what Anthropic clients ask: the body of messages -> the neutral request (Anthropic API, "Create a Message").

``max_tokens`` may be missing, as the count of tokens is asked without it.  ``output_config.effort`` is read only where
thinking is enabled: it governs an answer with and without thinking, and a model that cannot think refuses the word.
"""

from __future__ import annotations

from penstock.chat.request import Effort, Operation, Request, ResponseFormat, Sampling, Tool
from penstock.config.model import SHAPE, Shape
from penstock.dialects import fields, jsontext
from penstock.dialects.anthropic_messages import messages
from penstock.dialects.fields import Object, refuse, required
from penstock.dialects.tools import function_tool
from penstock.errors import BadRequest

_KNOWN = frozenset(
    {
        "model",
        "messages",
        "system",
        "stream",
        "max_tokens",
        "temperature",
        "top_p",
        "top_k",
        "stop_sequences",
        "tools",
        "tool_choice",
        "thinking",
        "output_config",
    }
)


def parse(data: bytes, *, shape: Shape = SHAPE) -> Request:
    """The body of a request -> the request.  Raises BadRequest."""
    body = jsontext.decode_request(data, shape=shape)
    model = fields.text(body, "model")
    if not model:
        raise BadRequest("'model' is missing: say which model shall answer", param="model")
    unmapped = [key for key, value in body.items() if value is not None and key not in _KNOWN]
    choice, parallel = _tool_choice(body)
    return Request(
        dialect="anthropic",
        operation=Operation.CHAT,
        model=model,
        stream=bool(fields.boolean(body, "stream")),
        body=body,
        messages=messages(body, unmapped),
        tools=_tools(body, unmapped),
        tool_choice=choice,
        parallel_tool_calls=parallel,
        sampling=Sampling(
            max_tokens=fields.integer(body, "max_tokens", low=0, high=fields.MOST),
            temperature=fields.number(body, "temperature", low=0, high=2),
            top_p=fields.number(body, "top_p", low=0, high=1),
            top_k=fields.integer(body, "top_k", low=0, high=fields.MOST),
            stop=fields.strings(body, "stop_sequences"),
        ),
        response_format=_response_format(body, unmapped),
        effort=_effort(body, unmapped),
        include_usage=True,
        unmapped=tuple(dict.fromkeys(unmapped)),
    )


def _tools(body: Object, unmapped: list[str]) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for item, where in fields.objects(body, "tools"):
        # Every other type is a tool that Anthropic's own servers run.
        if item.get("type") not in (None, "custom"):
            unmapped.append(where.rstrip("."))
            continue
        tools.append(function_tool(item, where, schema="input_schema"))
    return tuple(tools)


def _tool_choice(body: Object) -> tuple[str | None, bool | None]:
    """The neutral choice, and whether several calls at a time are allowed."""
    choice = fields.mapping(body, "tool_choice")
    if choice is None:
        return None, None
    single = fields.boolean(choice, "disable_parallel_tool_use", where="tool_choice.")
    parallel = None if single is None else not single
    match choice.get("type"):
        case "auto" | "none" as word:
            return str(word), parallel
        case "any":
            return "required", parallel
        case "tool":
            return f"function:{required(choice, 'name', 'tool_choice.')}", parallel
        case other:
            return refuse("tool_choice.type", '"auto", "any", "tool" or "none"', other)


def _response_format(body: Object, unmapped: list[str]) -> ResponseFormat | None:
    config = fields.mapping(body, "output_config") or {}
    unmapped += [f"output_config.{key}" for key in config if key not in ("format", "effort")]
    wanted = fields.mapping(config, "format", where="output_config.")
    if wanted is None:
        return None
    if wanted.get("type") != "json_schema":
        unmapped.append("output_config.format")
        return None
    return ResponseFormat(schema=fields.mapping(wanted, "schema", where="output_config.format.") or {})


def _effort(body: Object, unmapped: list[str]) -> Effort | None:
    thinking = fields.mapping(body, "thinking") or {}
    config = fields.mapping(body, "output_config") or {}
    word = fields.text(config, "effort", where="output_config.")
    match thinking.get("type"):
        case "disabled":
            return Effort.NONE
        case "enabled":
            fields.integer(thinking, "budget_tokens", low=0, high=fields.MOST, where="thinking.")
            unmapped += ["thinking.budget_tokens"] if "budget_tokens" in thinking else []
            if word in set(Effort):
                return Effort(word)
            unmapped += ["output_config.effort"] if word else []
            return Effort.ON
        case None | "adaptive" | "between_tools":
            # The model decides, as it does when nobody says anything.
            unmapped += ["output_config.effort"] if word else []
            return None
        case other:
            return refuse("thinking.type", '"enabled", "disabled" or "adaptive"', other)
