"""Asks an Ollama server: the neutral request in, a call of its native API out (ollama api/types.go, ChatRequest,
GenerateRequest).

The native API and not Ollama's OpenAI layer, which loses errors in mid-stream.  What Ollama cannot be told is named in
``Call.dropped``, as an OpenAI client would have said it.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.chat.request import Effort, Image, Message, Operation, Request, Tool, ToolCall
from penstock.config.model import MANNER, Manner
from penstock.dialects import bare, jsontext, passthrough
from penstock.dialects.base import Call
from penstock.dialects.ollama_wire import OPTIONS
from penstock.errors import BadRequest

Object = dict[str, object]

_PATHS = {Operation.CHAT: "/api/chat", Operation.COMPLETION: "/api/generate"}

_THINK: dict[Effort, bool | str] = {
    Effort.NONE: False,
    Effort.ON: True,
    Effort.MINIMAL: "low",
    Effort.LOW: "low",
    Effort.MEDIUM: "medium",
    Effort.HIGH: "high",
    Effort.XHIGH: "max",
    Effort.MAX: "max",
}


def encode(request: Request, model: str, manner: Manner = MANNER) -> Call:
    """The request -> the call.  Raises BadRequest for what must not be left out."""
    if request.dialect == "ollama" and manner.passthrough:
        body, dropped = passthrough.allowed(request.body)
        body |= {"model": model, "stream": not manner.whole}
    else:
        body = _chat(request) if request.operation is Operation.CHAT else _generate(request)
        body = {"model": model, **body, "stream": not manner.whole, **_shared(request)}
        dropped = [*_dropped(request), *request.unmapped]
    return Call(
        path=_PATHS[request.operation],
        body=jsontext.encode(body),
        dropped=tuple(dict.fromkeys(dropped)),
    )


def _chat(request: Request) -> Object:
    messages = [_message(message) for message in request.messages]
    # Ollama has no tool_choice; a model that is shown no tools calls none.
    tools = [] if request.tool_choice == "none" else [_tool(tool) for tool in request.tools]
    return {"messages": messages, **({"tools": tools} if tools else {})}


def _generate(request: Request) -> Object:
    body: Object = {"prompt": request.prompt}
    if request.suffix:
        # The template of a model that can fill in the middle does so; raw would leave the suffix out.
        body["suffix"] = request.suffix
    elif request.raw_prompt:
        body["raw"] = True
    if request.system and "raw" not in body:
        body["system"] = request.system
    if request.images:
        body["images"] = _images(request.images)
    return body


def _shared(request: Request) -> Object:
    """The fields that chat and generate have in common, as far as they are said."""
    wanted = request.response_format
    body: Object = {
        "options": bare.sampled(request.sampling, OPTIONS) or None,
        "format": None if wanted is None else "json" if wanted.schema is None else wanted.schema,
        "think": None if request.effort is None else _THINK[request.effort],
        "logprobs": request.logprobs or None,
        "top_logprobs": request.top_logprobs,
        "keep_alive": request.keep_alive,
    }
    return {key: value for key, value in body.items() if value is not None}


def _message(message: Message) -> Object:
    body: Object = {"role": message.role, "content": message.content}
    if message.thinking:
        body["thinking"] = message.thinking
    if message.images:
        body["images"] = _images(message.images)
    if message.tool_calls:
        body["tool_calls"] = [_call(call) for call in message.tool_calls]
    if message.tool_call_id is not None:
        body["tool_call_id"] = message.tool_call_id
    if message.tool_name is not None:
        body["tool_name"] = message.tool_name
    return body


def _call(call: ToolCall) -> Object:
    try:
        arguments = jsontext.decode(call.arguments.encode()) if call.arguments else {}
    except ValueError:
        arguments = None
    if not isinstance(arguments, dict):
        raise BadRequest(
            f"the arguments of the call '{call.id}' of '{call.name}' are no JSON object, and Ollama takes nothing else",
            param="messages.tool_calls.function.arguments",
        )
    return {"id": call.id, "function": {"name": call.name, "arguments": arguments}}


def _images(images: Iterable[Image]) -> list[str]:
    found: list[str] = []
    for image in images:
        if image.data is None:
            raise BadRequest(
                "penstock never fetches URLs, and Ollama takes images in base64 only; send the image as a data: URL",
                param="messages.content.image_url",
            )
        found.append(image.data)
    return found


def _tool(tool: Tool) -> Object:
    function: Object = {"name": tool.name, "description": tool.description, "parameters": tool.parameters}
    return {"type": "function", "function": {key: value for key, value in function.items() if value is not None}}


def _dropped(request: Request) -> Iterable[str]:
    """What the neutral request says and Ollama cannot be told."""
    if any(message.name is not None for message in request.messages):
        yield "messages.name"
    if any(image.detail is not None for message in request.messages for image in message.images):
        yield "messages.content.image_url.detail"
    if any(tool.strict is not None for tool in request.tools):
        yield "tools.function.strict"
    if request.tool_choice not in (None, "auto", "none"):
        yield "tool_choice"
    if request.parallel_tool_calls is not None:
        yield "parallel_tool_calls"
    if wanted := request.response_format:
        if wanted.name is not None:
            yield "response_format.json_schema.name"
        if wanted.strict is not None:
            yield "response_format.json_schema.strict"
    if request.system and (request.suffix is None and request.raw_prompt):
        yield "system"
