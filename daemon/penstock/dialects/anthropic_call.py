"""Asks Anthropic's Messages API and the servers that copy it.

A client of the same dialect gets its own body through.  Any other client's body is built anew from the neutral fields,
and what cannot be said is named in ``Call.dropped``.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.chat.request import Effort, Image, Message, Operation, Request, Tool
from penstock.config.model import MANNER, Manner
from penstock.dialects import jsontext, passthrough
from penstock.dialects.base import Call
from penstock.dialects.images import media_type
from penstock.errors import BadRequest

Object = dict[str, object]

#: The API wants a number; this one every model since Claude 3.5 accepts.
MAX_TOKENS = 8192
#: What of a request has tokens, or decides how many there are.
_COUNTED = frozenset({"system", "messages", "tools", "tool_choice", "thinking", "output_config"})
#: What a stream's client of the same dialect may say in headers.
CLIENT_HEADERS = ("anthropic-version", "anthropic-beta")


def encode(request: Request, model: str, manner: Manner = MANNER) -> Call:
    """The call for this request.  Raises BadRequest for what no chat can do."""
    if request.dialect == "anthropic" and manner.passthrough:
        body, dropped = passthrough.allowed(request.body)
        body.setdefault("max_tokens", MAX_TOKENS)
    else:
        dropped = [*request.unmapped, *_dropped(request)]
        body = _body(request)
    return Call(
        path="/messages",
        body=jsontext.encode({**body, "model": model, "stream": not manner.whole}),
        headers=_headers(request),
        dropped=tuple(dict.fromkeys(dropped)),
    )


def count_call(request: Request, model: str, manner: Manner = MANNER) -> Call:
    """The call that counts the tokens of a request of the same dialect."""
    if manner.passthrough:
        body, dropped = passthrough.allowed(request.body)
    else:
        body = {key: value for key, value in _body(request).items() if key in _COUNTED}
        dropped = [*request.unmapped, *_dropped(request)]
    return Call(
        path="/messages/count_tokens",
        body=jsontext.encode({**body, "model": model}),
        headers=_headers(request),
        dropped=tuple(dropped),
    )


def _headers(request: Request) -> tuple[tuple[str, str], ...]:
    return tuple((name, request.headers[name]) for name in CLIENT_HEADERS if name in request.headers)


def _body(request: Request) -> Object:
    wanted = request.sampling
    messages = _conversation(request)
    system = "\n\n".join([message.content for message in messages if message.role == "system" and message.content])
    body: Object = {
        "system": system or None,
        "messages": _turns([message for message in messages if message.role != "system"]),
        "max_tokens": wanted.max_tokens or MAX_TOKENS,
        # OpenAI's go up to 2.
        "temperature": None if wanted.temperature is None else min(wanted.temperature, 1),
        "top_p": wanted.top_p,
        "top_k": wanted.top_k,
        "stop_sequences": [stop for stop in wanted.stop if stop.strip()] or None,
        "tools": [_tool(tool) for tool in request.tools] or None,
        "tool_choice": _tool_choice(request) if request.tools else None,
        **_thinking(request.effort),
    }
    config: Object = {}
    if request.effort not in (None, Effort.NONE, Effort.ON):
        config["effort"] = Effort.LOW if request.effort is Effort.MINIMAL else request.effort
    if request.response_format is not None and request.response_format.schema is not None:
        config["format"] = {"type": "json_schema", "schema": request.response_format.schema}
    return {key: value for key, value in (body | {"output_config": config or None}).items() if value is not None}


def _conversation(request: Request) -> tuple[Message, ...]:
    if request.operation is Operation.CHAT:
        return request.messages
    if request.operation is not Operation.COMPLETION or request.raw_prompt or request.suffix:
        raise BadRequest(
            "this backend answers chats and nothing else: ask for a chat, or route the model elsewhere",
            param="suffix" if request.suffix else "prompt",
        )
    system = [Message(role="system", content=request.system)] if request.system else []
    return (*system, Message(role="user", content=request.prompt, images=request.images))


def _turns(messages: Iterable[Message]) -> list[Object]:
    """Turns of the user and the assistant strictly by turns; results of tools stand first in a turn of the user."""
    turns: list[tuple[str, list[Object]]] = []
    open_calls: list[str] = []
    for message in messages:
        role = "assistant" if message.role == "assistant" else "user"
        blocks = _blocks(message, open_calls)
        if turns and turns[-1][0] == role:
            turns[-1][1].extend(blocks)
        else:
            turns.append((role, blocks))
    for _, blocks in turns:
        blocks.sort(key=lambda block: block["type"] != "tool_result")
    return [{"role": role, "content": blocks} for role, blocks in turns if blocks]


def _blocks(message: Message, open_calls: list[str]) -> list[Object]:
    blocks: list[Object] = [{"type": "image", "source": _source(image)} for image in message.images]
    # An empty text is refused.
    if message.content:
        blocks.append({"type": "text", "text": message.content})
    if message.role == "tool":
        identity = message.tool_call_id or (open_calls[0] if open_calls else "call_unknown")
        if identity in open_calls:
            open_calls.remove(identity)
        return [{"type": "tool_result", "tool_use_id": identity, "content": blocks}]
    for call in message.tool_calls:
        open_calls.append(call.id)
        blocks.append({"type": "tool_use", "id": call.id, "name": call.name, "input": _arguments(call.arguments)})
    return blocks


def _arguments(text: str) -> object:
    try:
        value = jsontext.decode(text.encode("utf-8", "replace"))
    except ValueError:
        value = None
    if not isinstance(value, dict):
        raise BadRequest(
            "the arguments of an earlier tool call are no JSON object, and Anthropic's dialect takes nothing else",
            param="messages.tool_calls.function.arguments",
        )
    return value


def _source(image: Image) -> Object:
    if image.url is not None:
        return {"type": "url", "url": image.url}
    return {"type": "base64", "media_type": media_type(image), "data": image.data}


def _tool(tool: Tool) -> Object:
    said: Object = {
        "name": tool.name,
        "description": tool.description,
        "input_schema": tool.parameters or {"type": "object"},
        "strict": tool.strict,
    }
    return {key: value for key, value in said.items() if value is not None}


def _tool_choice(request: Request) -> Object | None:
    choice = request.tool_choice
    single = {"disable_parallel_tool_use": True} if request.parallel_tool_calls is False else {}
    if choice is None or choice == "auto":
        return {"type": "auto", **single} if single or choice else None
    if choice == "none":
        return {"type": "none"}
    if choice == "required":
        return {"type": "any", **single}
    return {"type": "tool", "name": choice.removeprefix("function:"), **single}


def _thinking(effort: Effort | None) -> Object:
    if effort is None:
        return {}
    return {"thinking": {"type": "disabled" if effort is Effort.NONE else "adaptive"}}


def _dropped(request: Request) -> Iterable[str]:
    """What the neutral request says and Anthropic's dialect cannot."""
    wanted = request.sampling
    for name in ("min_p", "seed", "presence_penalty", "frequency_penalty", "repeat_penalty"):
        if getattr(wanted, name) is not None:
            yield f"options.{name}" if request.dialect == "ollama" else name
    if any(not stop.strip() for stop in wanted.stop):
        yield "stop"
    if any(message.name is not None for message in request.messages):
        yield "messages.name"
    # It would have to be signed by Anthropic.
    if any(message.thinking for message in request.messages):
        yield "messages.thinking"
    if request.response_format is not None and request.response_format.schema is None:
        yield "response_format"
    if request.logprobs:
        yield "logprobs"
    if request.keep_alive is not None:
        yield "keep_alive"
