"""Reads what OpenAI clients ask: the bodies of chat/completions and completions -> the neutral request.

Strict where a field means something to us (a wrong type or range is refused with the field's name), indifferent to all
others: they are named in ``unmapped`` and reach a backend of the same dialect as they came.
"""

from __future__ import annotations

from penstock.chat.request import Effort, Operation, Request, ResponseFormat, Sampling, Tool
from penstock.config.model import SHAPE, Shape
from penstock.dialects import fields, jsontext
from penstock.dialects.fields import Object, refuse
from penstock.dialects.openai_messages import messages
from penstock.dialects.tools import function_tool
from penstock.errors import BadRequest

# Fields that a neutral one carries, without those that only one of the two operations has.
_COMMON = frozenset(
    {
        "model",
        "stream",
        "stream_options",
        "n",
        "max_tokens",
        "max_completion_tokens",
        "temperature",
        "top_p",
        "top_k",
        "min_p",
        "seed",
        "stop",
        "presence_penalty",
        "frequency_penalty",
        "repeat_penalty",
        "repetition_penalty",
        "logprobs",
        "keep_alive",
    }
)
_CHAT = _COMMON | {
    "messages",
    "tools",
    "tool_choice",
    "parallel_tool_calls",
    "response_format",
    "reasoning_effort",
    "reasoning",
    "top_logprobs",
}
_COMPLETION = _COMMON | {"prompt", "suffix"}


def parse(operation: str, data: bytes, *, shape: Shape = SHAPE) -> Request:
    """``operation`` is "chat" or "completion".  Raises BadRequest."""
    return request(operation, jsontext.decode_request(data, shape=shape))


def request(operation: str, body: Object) -> Request:
    """A decoded body -> the request.  Raises BadRequest."""
    model = fields.text(body, "model")
    if not model:
        raise BadRequest("'model' is missing: say which model shall answer", param="model")
    if operation == Operation.CHAT:
        return chat(body, model)
    return _completion(body, model)


def chat(body: Object, model: str) -> Request:
    """A decoded body of chat/completions -> the request."""
    unmapped = _unknown(body, _CHAT)
    return Request(
        dialect="openai",
        operation=Operation.CHAT,
        model=model,
        stream=bool(fields.boolean(body, "stream")),
        body=body,
        messages=messages(body, unmapped),
        tools=_tools(body, unmapped),
        tool_choice=_tool_choice(body, unmapped),
        parallel_tool_calls=fields.boolean(body, "parallel_tool_calls"),
        sampling=_sampling(body),
        response_format=_response_format(body, unmapped),
        effort=_effort(body, unmapped),
        logprobs=bool(fields.boolean(body, "logprobs")),
        top_logprobs=fields.integer(body, "top_logprobs", low=0, high=20),
        include_usage=_include_usage(body),
        keep_alive=_keep_alive(body),
        unmapped=tuple(unmapped),
    )


def _completion(body: Object, model: str) -> Request:
    # A number here; some clients say true or false as they do for chat.
    switch = body.get("logprobs")
    top = None if isinstance(switch, bool) else fields.integer(body, "logprobs", low=0, high=20)
    return Request(
        dialect="openai",
        operation=Operation.COMPLETION,
        model=model,
        stream=bool(fields.boolean(body, "stream")),
        body=body,
        prompt=_prompt(body),
        suffix=fields.text(body, "suffix"),
        sampling=_sampling(body),
        logprobs=switch is True or top is not None,
        top_logprobs=top,
        include_usage=_include_usage(body),
        keep_alive=_keep_alive(body),
        unmapped=tuple(_unknown(body, _COMPLETION)),
    )


def _unknown(body: Object, known: frozenset[str]) -> list[str]:
    return [key for key, value in body.items() if value is not None and key not in known]


def _prompt(body: Object) -> str:
    match body.get("prompt"):
        case str() as text:
            return text
        case [str() as text]:
            return text
        case None:
            raise BadRequest("'prompt' is missing: say what shall be continued", param="prompt")
        case [str(), *_]:
            raise BadRequest("'prompt' must be one string: send one request for each prompt", param="prompt")
        case list():
            raise BadRequest("'prompt' must be text: lists of tokens are not supported", param="prompt")
        case other:
            return refuse("prompt", "a string", other)


def _sampling(body: Object) -> Sampling:
    if fields.integer(body, "n", default=1) != 1:
        raise BadRequest("'n' must be 1: one request gives one answer; ask again for another", param="n")
    most = fields.integer(body, "max_completion_tokens", low=-1, high=fields.MOST)
    if most is None:
        most = fields.integer(body, "max_tokens", low=-1, high=fields.MOST)
    repeat = fields.number(body, "repeat_penalty", low=0, high=100)
    if repeat is None:
        repeat = fields.number(body, "repetition_penalty", low=0, high=100)
    return Sampling(
        # Local servers read -1 as "no limit", which is what saying nothing means everywhere.
        max_tokens=None if most == -1 else most,
        temperature=fields.number(body, "temperature", low=0, high=2),
        top_p=fields.number(body, "top_p", low=0, high=1),
        top_k=fields.integer(body, "top_k", low=-1, high=fields.MOST),
        min_p=fields.number(body, "min_p", low=0, high=1),
        seed=fields.integer(body, "seed"),
        stop=fields.strings(body, "stop"),
        presence_penalty=fields.number(body, "presence_penalty", low=-2, high=2),
        frequency_penalty=fields.number(body, "frequency_penalty", low=-2, high=2),
        repeat_penalty=repeat,
    )


def _include_usage(body: Object) -> bool:
    options = fields.mapping(body, "stream_options") or {}
    return bool(fields.boolean(options, "include_usage", where="stream_options."))


def _keep_alive(body: Object) -> str | float | None:
    value = body.get("keep_alive")
    if value is None or (isinstance(value, str | int | float) and not isinstance(value, bool)):
        return value
    return refuse("keep_alive", "a duration or a number of seconds", value)


def _effort(body: Object, unmapped: list[str]) -> Effort | None:
    reasoning = fields.mapping(body, "reasoning") or {}
    word = fields.text(body, "reasoning_effort") or fields.text(reasoning, "effort", where="reasoning.")
    if word is None:
        enabled = fields.boolean(reasoning, "enabled", where="reasoning.")
        return None if enabled is None else Effort.ON if enabled else Effort.NONE
    try:
        return Effort(word)
    except ValueError:
        unmapped.append("reasoning_effort")
        return None


def _response_format(body: Object, unmapped: list[str]) -> ResponseFormat | None:
    wanted = fields.mapping(body, "response_format")
    where = "response_format."
    match None if wanted is None else fields.text(wanted, "type", where=where):
        case None | "text":
            return None
        case "json_object":
            return ResponseFormat(schema=fields.mapping(wanted or {}, "schema", where=where))
        case "json_schema":
            inner = fields.mapping(wanted or {}, "json_schema", where=where) or {}
            where += "json_schema."
            return ResponseFormat(
                schema=fields.mapping(inner, "schema", where=where) or {},
                name=fields.text(inner, "name", where=where),
                strict=fields.boolean(inner, "strict", where=where),
            )
        case _:
            unmapped.append("response_format")
            return None


def _tools(body: Object, unmapped: list[str]) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for item, where in fields.objects(body, "tools"):
        if item.get("type", "function") != "function":
            unmapped.append(where.rstrip("."))
            continue
        function = fields.mapping(item, "function", where=where) or {}
        where += "function."
        tools.append(function_tool(function, where))
    return tuple(tools)


def _tool_choice(body: Object, unmapped: list[str]) -> str | None:
    match body.get("tool_choice"):
        case None:
            return None
        case "auto" | "none" | "required" as word:
            return str(word)
        case {"type": "function", "function": {"name": str() as name}}:
            return f"function:{name}"
        case {"type": str()}:
            unmapped.append("tool_choice")
            return None
        case other:
            return refuse("tool_choice", '"auto", "none", "required" or a function', other)
