"""Reads what clients of OpenAI's Responses API ask: the body of responses -> the neutral request.

Nothing is stored here, so that whatever refers to something stored is for a backend that has the API itself
(``Request.stored``): a client that sends the whole conversation, as Codex does, needs none of it.
"""

from __future__ import annotations

from penstock.chat.request import Effort, Operation, Request, ResponseFormat, Sampling, Tool
from penstock.config.model import SHAPE, Shape
from penstock.dialects import fields, jsontext
from penstock.dialects.fields import Object, refuse
from penstock.dialects.responses_input import messages
from penstock.dialects.tools import function_tool
from penstock.errors import BadRequest

#: What refers to something that a server keeps.
_STORED = ("previous_response_id", "conversation", "prompt")
_KNOWN = frozenset(
    {
        "model",
        "input",
        "instructions",
        "stream",
        "store",
        "max_output_tokens",
        "temperature",
        "top_p",
        "top_logprobs",
        "tools",
        "tool_choice",
        "parallel_tool_calls",
        "reasoning",
        "text",
        "include",
        "background",
        *_STORED,
    }
)
#: Asks for log probabilities beside the text.
_LOGPROBS = "message.output_text.logprobs"


def parse(data: bytes, *, shape: Shape = SHAPE) -> Request:
    """The body of a request -> the request.  Raises BadRequest."""
    body = jsontext.decode_request(data, shape=shape)
    model = fields.text(body, "model")
    if not model:
        raise BadRequest("'model' is missing: say which model shall answer", param="model")
    if body.get("background"):
        raise BadRequest("'background' makes a server work on without its client: ask for a stream", "background")
    stored = [key for key in _STORED if body.get(key)]
    unmapped = [key for key, value in body.items() if value is not None and key not in _KNOWN]
    if fields.boolean(body, "store"):
        unmapped.append("store")
    include = fields.strings(body, "include")
    unmapped += [f"include.{name}" for name in include if name != _LOGPROBS]
    return Request(
        dialect="responses",
        operation=Operation.CHAT,
        model=model,
        stream=bool(fields.boolean(body, "stream")),
        body=body,
        messages=messages(body, unmapped, stored),
        stored=tuple(stored),
        tools=_tools(body, unmapped),
        tool_choice=_tool_choice(body, unmapped),
        parallel_tool_calls=fields.boolean(body, "parallel_tool_calls"),
        sampling=Sampling(
            max_tokens=fields.integer(body, "max_output_tokens", low=1, high=fields.MOST),
            temperature=fields.number(body, "temperature", low=0, high=2),
            top_p=fields.number(body, "top_p", low=0, high=1),
        ),
        response_format=_response_format(body, unmapped),
        effort=_effort(body, unmapped),
        logprobs=_LOGPROBS in include,
        top_logprobs=fields.integer(body, "top_logprobs", low=0, high=20),
        include_usage=True,
        unmapped=tuple(dict.fromkeys(unmapped)),
    )


def _tools(body: Object, unmapped: list[str]) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for item, where in fields.objects(body, "tools"):
        # Every other type is run by OpenAI's own servers, or is told in words that are no JSON.
        if item.get("type") != "function":
            unmapped.append(where.rstrip("."))
            continue
        tools.append(function_tool(item, where))
    return tuple(tools)


def _tool_choice(body: Object, unmapped: list[str]) -> str | None:
    match body.get("tool_choice"):
        case None:
            return None
        case "auto" | "none" | "required" as word:
            return str(word)
        case {"type": "function", "name": str() as name}:
            return f"function:{name}"
        case {"type": str()}:
            unmapped.append("tool_choice")
            return None
        case other:
            return refuse("tool_choice", '"auto", "none", "required" or a function', other)


def _response_format(body: Object, unmapped: list[str]) -> ResponseFormat | None:
    text = fields.mapping(body, "text") or {}
    unmapped += [f"text.{key}" for key, value in text.items() if value is not None and key != "format"]
    wanted = fields.mapping(text, "format", where="text.") or {}
    where = "text.format."
    match wanted.get("type"):
        case None | "text":
            return None
        case "json_object":
            return ResponseFormat()
        case "json_schema":
            return ResponseFormat(
                schema=fields.mapping(wanted, "schema", where=where) or {},
                name=fields.text(wanted, "name", where=where),
                strict=fields.boolean(wanted, "strict", where=where),
            )
        case other:
            return refuse(where + "type", '"text", "json_object" or "json_schema"', other)


def _effort(body: Object, unmapped: list[str]) -> Effort | None:
    reasoning = fields.mapping(body, "reasoning") or {}
    word = fields.text(reasoning, "effort", where="reasoning.")
    if word is None:
        return None
    if word not in set(Effort):
        unmapped.append("reasoning.effort")
        return None
    return Effort(word)
