"""Parses what an Ollama client asks for: the body of chat or generate in, the request out (ollama api/types.go)."""

from __future__ import annotations

import itertools

from penstock.chat.request import (
    Effort,
    Image,
    Message,
    Operation,
    Request,
    ResponseFormat,
    Sampling,
    Tool,
    ToolCall,
)
from penstock.config.model import SHAPE, Shape
from penstock.dialects import fields, jsontext
from penstock.dialects.fields import Object
from penstock.dialects.ollama_wire import OPTIONS
from penstock.errors import BadRequest

_SHARED = {"model", "stream", "format", "keep_alive", "options", "think", "logprobs", "top_logprobs"}
_KNOWN = {
    Operation.CHAT: _SHARED | {"messages", "tools"},
    Operation.COMPLETION: _SHARED | {"prompt", "suffix", "system", "raw", "images"},
}
_EFFORTS = {
    True: Effort.ON,
    False: Effort.NONE,
    "low": Effort.LOW,
    "medium": Effort.MEDIUM,
    "high": Effort.HIGH,
    "max": Effort.MAX,
}


def parse(operation: str, data: bytes, *, shape: Shape = SHAPE) -> Request:
    """The body of ``chat`` or ``completion`` (Ollama's generate) -> the request.  Raises BadRequest."""
    asked = Operation(operation)
    body = jsontext.decode_request(data, shape=shape)
    model = fields.text(body, "model")
    if not model:
        raise BadRequest("the body names no model; set 'model'", param="model")
    options = fields.mapping(body, "options") or {}
    chat = asked is Operation.CHAT
    return Request(
        dialect="ollama",
        operation=asked,
        model=model,
        stream=fields.boolean(body, "stream") is not False,
        body=body,
        messages=_messages(body) if chat else (),
        prompt="" if chat else fields.text(body, "prompt") or "",
        suffix=None if chat else fields.text(body, "suffix") or None,
        system=None if chat else fields.text(body, "system") or None,
        raw_prompt=not chat and fields.boolean(body, "raw") is True,
        images=() if chat else _images(body, ""),
        tools=_tools(body) if chat else (),
        sampling=_sampling(options),
        response_format=_format(body),
        effort=_effort(body),
        logprobs=fields.boolean(body, "logprobs") is True,
        top_logprobs=fields.integer(body, "top_logprobs", low=0, high=20),
        include_usage=True,
        keep_alive=_keep_alive(body),
        unmapped=(
            *(key for key in body if key not in _KNOWN[asked] and body[key] is not None),
            *(f"options.{key}" for key in options if key not in OPTIONS and options[key] is not None),
        ),
    )


def is_load(request: Request) -> bool:
    """Whether this asks only to load the model, or to unload it: no messages, or no prompt."""
    return request.dialect == "ollama" and not request.messages and not request.prompt


def is_unload(request: Request) -> bool:
    """Whether this asks to unload the model: a load request that keeps it alive for no time ("0s", 0)."""
    kept = request.keep_alive
    return is_load(request) and kept is not None and not any(digit in "123456789" for digit in str(kept))


def _messages(body: Object) -> tuple[Message, ...]:
    calls = _Calls()
    return tuple(_message(item, where, calls) for item, where in fields.objects(body, "messages"))


def _message(item: Object, where: str, calls: _Calls) -> Message:
    role = (fields.text(item, "role", where=where) or "").lower()
    if not role:
        raise BadRequest(f"'{where}role' is missing; it is system, user, assistant or tool", param=where + "role")
    call_id = fields.text(item, "tool_call_id", where=where)
    tool_name = fields.text(item, "tool_name", where=where)
    if role == "tool":
        call_id, tool_name = calls.answered(call_id, tool_name)
    return Message(
        role="system" if role == "developer" else role,
        content=fields.text(item, "content", where=where) or "",
        thinking=fields.text(item, "thinking", where=where) or None,
        images=_images(item, where),
        tool_calls=tuple(calls.called(call, path) for call, path in fields.objects(item, "tool_calls", where=where)),
        tool_call_id=call_id,
        tool_name=tool_name,
    )


class _Calls:
    """The tool calls of a conversation and what was answered.

    Ollama clients need not send ids.  Made-up ones count up, so that the same conversation gets the same ids each time
    it is sent and a backend's prompt cache still fits.
    """

    def __init__(self) -> None:
        self._open: dict[str, str] = {}
        self._made_up = (f"call_{number:08x}" for number in itertools.count())

    def called(self, item: Object, where: str) -> ToolCall:
        """One item of ``tool_calls``."""
        function = fields.mapping(item, "function", where=where) or {}
        name = fields.text(function, "name", where=where + "function.")
        if not name:
            raise BadRequest(f"'{where}function.name' is missing", param=where + "function.name")
        call = ToolCall(
            id=fields.text(item, "id", where=where) or next(self._made_up),
            name=name,
            arguments=_arguments(function, where + "function."),
        )
        self._open[call.id] = name
        return call

    def answered(self, call_id: str | None, name: str | None) -> tuple[str, str | None]:
        """Id and name of the call that a tool's message answers: by id, else the first open one of this name, else
        the first open one."""
        if not call_id:
            same = (key for key, value in self._open.items() if value == name)
            call_id = next(same, None) or next(iter(self._open), None) or next(self._made_up)
        called = self._open.pop(call_id, None)
        return call_id, name or called


def _arguments(function: Object, where: str) -> str:
    """The JSON text of the arguments, which the client sends as an object, or as the text already."""
    match function.get("arguments"):
        case None | "":
            return "{}"
        case dict() as arguments:
            return jsontext.encode(arguments).decode()
        case str() as text if _is_object(text):
            return text
        case other:
            return fields.refuse(where + "arguments", "an object", other)


def _is_object(text: str) -> bool:
    try:
        return isinstance(jsontext.decode(text.encode()), dict)
    except ValueError:
        return False


def _images(body: Object, where: str) -> tuple[Image, ...]:
    found: list[Image] = []
    for position, data in enumerate(fields.sequence(body, "images", where=where) or ()):
        # Base64 has no colon; data: and http: URLs have.
        if not isinstance(data, str) or not data or ":" in data[:64]:
            fields.refuse(f"{where}images[{position}]", "an image in bare base64", data)
        found.append(Image(data=data))
    return tuple(found)


def _tools(body: Object) -> tuple[Tool, ...]:
    tools: list[Tool] = []
    for item, where in fields.objects(body, "tools"):
        function = fields.mapping(item, "function", where=where) or {}
        where += "function."
        name = fields.text(function, "name", where=where)
        if not name:
            raise BadRequest(f"'{where}name' is missing", param=where + "name")
        tools.append(
            Tool(
                name=name,
                description=fields.text(function, "description", where=where),
                parameters=fields.mapping(function, "parameters", where=where),
            )
        )
    return tuple(tools)


def _sampling(options: Object) -> Sampling:
    where = "options."
    limit = fields.integer(options, "num_predict", low=-fields.MOST, high=fields.MOST, where=where)
    return Sampling(
        # Below zero: as long as it takes.
        max_tokens=None if limit is None or limit < 0 else limit,
        temperature=fields.number(options, "temperature", low=0, high=fields.HOTTEST, where=where),
        top_p=fields.number(options, "top_p", low=0, high=1, where=where),
        top_k=fields.integer(options, "top_k", low=-1, high=fields.MOST, where=where),
        min_p=fields.number(options, "min_p", low=0, high=1, where=where),
        seed=fields.integer(options, "seed", where=where),
        stop=fields.strings(options, "stop", where=where),
        presence_penalty=fields.number(options, "presence_penalty", low=-2, high=2, where=where),
        frequency_penalty=fields.number(options, "frequency_penalty", low=-2, high=2, where=where),
        repeat_penalty=fields.number(options, "repeat_penalty", low=0, high=100, where=where),
    )


def _format(body: Object) -> ResponseFormat | None:
    match body.get("format"):
        case None | "":
            return None
        case "json":
            return ResponseFormat()
        case dict() as schema:
            return ResponseFormat(schema=schema)
        case other:
            return fields.refuse("format", '"json" or a JSON schema', other)


def _effort(body: Object) -> Effort | None:
    think = body.get("think")
    if think is None:
        return None
    # 1 equals True as a key.
    if not isinstance(think, bool | str) or think not in _EFFORTS:
        fields.refuse("think", 'true, false, "low", "medium", "high" or "max"', think)
    return _EFFORTS[think]


def _keep_alive(body: Object) -> str | float | None:
    value = body.get("keep_alive")
    if value is not None and (isinstance(value, bool) or not isinstance(value, str | int | float)):
        fields.refuse("keep_alive", 'a number of seconds or a duration such as "5m"', value)
    return value
