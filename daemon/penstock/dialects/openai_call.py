"""Asks OpenAI-compatible backends: the neutral request -> chat/completions or completions.

A client of the same dialect gets its own body through, so that fields we do not know still reach the backend.  Any
other client's body is built anew from the neutral fields, and what cannot be said is named in ``Call.dropped``.

What only some of the compatible servers understand is left out for kind "openai", because api.openai.com refuses a
whole request for one unknown field, and the others disagree on the names.  The kinds of servers that are known get
their own names.  The length goes out as ``max_tokens``, the one name that every local server reads, unless the owner
says otherwise: OpenAI's reasoning models refuse it in chats (platform.openai.com/docs/api-reference/chat/create).
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Literal

import msgspec

from penstock.chat.request import Effort, Image, Message, Operation, Request
from penstock.config.model import MANNER, Manner
from penstock.dialects import jsontext, llamacpp_infill, passthrough
from penstock.dialects.base import Call
from penstock.dialects.images import media_type
from penstock.errors import BadRequest

_PATHS = {Operation.CHAT: "/chat/completions", Operation.COMPLETION: "/completions"}
_FIM_PATH = "/fim/completions"
_SYSTEM_ROLES = ("system", "developer")
#: The names of the length; where a client says both, the first one counts.
_LENGTHS = ("max_completion_tokens", "max_tokens")


class Quirks(msgspec.Struct, frozen=True, kw_only=True):
    """What sets a kind of backend apart from api.openai.com."""

    #: tells the progress of the prompt after ``return_progress``
    progress: bool = False
    #: how it fills in the middle: as the configuration says it, or by llama.cpp's ``/infill``
    fim: Literal["none", "suffix", "fim", "infill"] = "suffix"
    #: its names of the samplers that OpenAI does not have, by the fields of :class:`Sampling`
    samplers: Mapping[str, str] = {}
    #: the field of reasoning in earlier turns; None: it is not told
    reasoning: str | None = None
    #: thinking is switched through the model's chat template, by ``chat_template_kwargs``
    template: bool = False
    #: the one role of system prompts; None: as the client says it
    system_role: str | None = None
    #: has the Responses API as OpenAI has it, with every field of every event
    responses: bool = False

    def adjusted(self, manner: Manner) -> Quirks:
        """With what the owner says of one backend of this kind."""
        return msgspec.structs.replace(
            self,
            fim=self.fim if manner.fim == "auto" else manner.fim,
            reasoning={"auto": self.reasoning, "none": None}.get(manner.reasoning, manner.reasoning),
            system_role=self.system_role if manner.system_role == "auto" else manner.system_role,
            responses=self.responses if manner.responses == "auto" else manner.responses == "native",
        )


def wire_operation(request: Request) -> Operation:
    """Which of the two operations the backend is asked for.

    A prompt that the backend shall put into its chat template is a chat of one turn, as OpenAI's completions know no
    template; but a prompt with a suffix stays one, as a chat cannot fill in the middle.
    """
    if request.operation is Operation.COMPLETION and (request.raw_prompt or request.suffix):
        return Operation.COMPLETION
    return Operation.CHAT


def encode(
    request: Request,
    model: str,
    quirks: Quirks,
    manner: Manner = MANNER,
    more: Mapping[str, object] | None = None,
) -> Call:
    """The call for this request, with everything in ``dropped`` that it does not say.  Raises BadRequest.

    ``quirks`` are adjusted to the manner, ``more`` are fields of a backend's own.
    """
    operation = wire_operation(request)
    path = _PATHS[operation]
    if request.suffix:
        if quirks.fim == "none":
            text = "this backend cannot fill in the middle: send the prompt with the model's own marks"
            raise BadRequest(text, "suffix")
        if quirks.fim == "infill":
            return llamacpp_infill.encode(request, model, manner)
        path = _FIM_PATH if quirks.fim == "fim" else path
    if request.dialect == "openai" and manner.passthrough:
        body, dropped = passthrough.allowed(request.body)
        _rename_system(body, quirks)
    else:
        dropped = list(request.unmapped)
        body = _chat(request, quirks, dropped) if operation is Operation.CHAT else _completion(request, dropped)
        body |= _sampling(request, quirks, dropped)
        if request.keep_alive is not None:
            dropped.append("keep_alive")
    if operation is Operation.CHAT and manner.length != "auto":
        _rename_length(body, manner.length)
    body["model"] = model
    body["stream"] = not manner.whole
    options = body.pop("stream_options", None)
    if not manner.whole:
        if manner.usage:
            body["stream_options"] = {**(options if isinstance(options, dict) else {}), "include_usage": True}
        elif options:
            dropped.append("stream_options")
        if quirks.progress:
            body.setdefault("return_progress", True)
    body |= more or {}
    return Call(path=path, body=jsontext.encode(body), dropped=tuple(dropped))


def shows_progress(request: Request, manner: Manner) -> bool:
    """Whether the client itself asked llama.cpp for the progress of the prompt."""
    return request.dialect == "openai" and manner.passthrough and request.body.get("return_progress") is True


def _rename_system(body: dict[str, object], quirks: Quirks) -> None:
    """A role that the server does not know is refused, or breaks the model's chat template."""
    role, messages = quirks.system_role, body.get("messages")
    if role is not None and isinstance(messages, list):
        body["messages"] = [
            {**turn, "role": role} if isinstance(turn, dict) and turn.get("role") in _SYSTEM_ROLES else turn
            for turn in messages
        ]


def _rename_length(body: dict[str, object], name: str) -> None:
    """The one name of the length that the server takes."""
    said = [value for length in _LENGTHS if (value := body.pop(length, None)) is not None]
    if said:
        body[name] = said[0]


def _chat(request: Request, quirks: Quirks, dropped: list[str]) -> dict[str, object]:
    messages = request.messages
    if request.operation is Operation.COMPLETION:
        system = [Message(role="system", content=request.system)] if request.system else []
        messages = (*system, Message(role="user", content=request.prompt, images=request.images))
    if quirks.reasoning is None and any(message.thinking for message in messages):
        dropped.append("messages.thinking")
    body: dict[str, object] = {"messages": _messages(messages, quirks)}
    if request.tools:
        body["tools"] = [
            {
                "type": "function",
                "function": _said(
                    name=tool.name, description=tool.description, parameters=tool.parameters, strict=tool.strict
                ),
            }
            for tool in request.tools
        ]
        choice = request.tool_choice
        if choice is not None and choice.startswith("function:"):
            body["tool_choice"] = {"type": "function", "function": {"name": choice.removeprefix("function:")}}
        elif choice is not None:
            body["tool_choice"] = choice
        if request.parallel_tool_calls is not None:
            body["parallel_tool_calls"] = request.parallel_tool_calls
    if request.response_format is not None:
        body["response_format"] = _response_format(request)
    if request.logprobs:
        body |= _said(logprobs=True, top_logprobs=request.top_logprobs)
    return body | _effort(request.effort, quirks)


def _completion(request: Request, dropped: list[str]) -> dict[str, object]:
    body: dict[str, object] = {"prompt": request.prompt}
    if request.suffix:
        body["suffix"] = request.suffix
    if request.logprobs:
        body["logprobs"] = request.top_logprobs or 0
    for name, value in (
        ("system", request.system),
        ("images", request.images),
        ("format", request.response_format),
        ("think", request.effort),
    ):
        if value:
            dropped.append(name)
    return body


def _sampling(request: Request, quirks: Quirks, dropped: list[str]) -> dict[str, object]:
    wanted = request.sampling
    body = _said(
        max_tokens=wanted.max_tokens,
        temperature=wanted.temperature,
        top_p=wanted.top_p,
        seed=wanted.seed,
        stop=list(wanted.stop) or None,
        presence_penalty=wanted.presence_penalty,
        frequency_penalty=wanted.frequency_penalty,
    )
    for field, value in _said(top_k=wanted.top_k, min_p=wanted.min_p, repeat_penalty=wanted.repeat_penalty).items():
        if field in quirks.samplers:
            body[quirks.samplers[field]] = value
        else:
            dropped.append(f"options.{field}" if request.dialect == "ollama" else field)
    return body


def _response_format(request: Request) -> object:
    wanted = request.response_format
    if wanted is None or wanted.schema is None:
        return {"type": "json_object"}
    # OpenAI wants a name; other dialects have none.
    schema = _said(name=wanted.name or "answer", schema=wanted.schema, strict=wanted.strict)
    return {"type": "json_schema", "json_schema": schema}


def _effort(effort: Effort | None, quirks: Quirks) -> dict[str, object]:
    if effort is None:
        return {}
    word = {Effort.ON: Effort.MEDIUM, Effort.MAX: Effort.XHIGH}.get(effort, effort)
    if not quirks.template:
        return {"reasoning_effort": word}
    body: dict[str, object] = {"chat_template_kwargs": {"enable_thinking": effort is not Effort.NONE}}
    if effort not in (Effort.NONE, Effort.ON):
        body["reasoning_effort"] = word
    return body


# --- messages --------------------------------------------------------------------------------------------------------


def _messages(messages: tuple[Message, ...], quirks: Quirks) -> list[dict[str, object]]:
    pending: list[tuple[str, str]] = []  # id and name of calls without a result yet
    made: list[dict[str, object]] = []
    for message in messages:
        role = (quirks.system_role or "system") if message.role == "system" else message.role
        item = _said(role=role, content=_content(message), name=message.name)
        if message.tool_calls:
            if not message.content:
                item["content"] = None
            item["tool_calls"] = [
                {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.arguments}}
                for call in message.tool_calls
            ]
            pending += [(call.id, call.name) for call in message.tool_calls]
        if message.thinking and quirks.reasoning is not None:
            item[quirks.reasoning] = message.thinking
        if message.role == "tool":
            item["tool_call_id"] = _answered(message, pending)
        made.append(item)
    return made


def _answered(message: Message, pending: list[tuple[str, str]]) -> str:
    """The id of the call that a result belongs to: its own, else the next open call of that name, else the next."""
    for call in pending:
        if message.tool_call_id == call[0] or (message.tool_call_id is None and message.tool_name in (None, call[1])):
            pending.remove(call)
            return call[0]
    if message.tool_call_id is None and pending:
        return pending.pop(0)[0]
    return message.tool_call_id or "call_unknown"


def _content(message: Message) -> object:
    if not message.images:
        return message.content
    parts: list[object] = [{"type": "text", "text": message.content}] if message.content else []
    return parts + [{"type": "image_url", "image_url": _said(url=_url(i), detail=i.detail)} for i in message.images]


def _url(image: Image) -> str:
    if image.url is not None:
        return image.url
    return f"data:{media_type(image)};base64,{image.data or ''}"


def _said(**fields: object | Mapping[str, object]) -> dict[str, object]:
    """The fields that have a value."""
    return {name: value for name, value in fields.items() if value is not None}
