"""What a request to an inference path asks for, read without trusting it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec

from penstock.simulate.anthropic import Anthropic
from penstock.simulate.koboldcpp import KoboldCpp
from penstock.simulate.llamacpp import LlamaCpp
from penstock.simulate.ollama import Ollama
from penstock.simulate.openai import OpenAI
from penstock.simulate.responses import Responses
from penstock.simulate.script import PREFIX
from penstock.simulate.voice import Asked, Voice


class Route(msgspec.Struct, frozen=True):
    """A path that generates: the voice that answers, whether it is a chat, and whether it streams unasked."""

    voice: type[Voice]
    kind: Literal["chat", "text"]
    streams: bool


ROUTES = {
    "/chat/completions": Route(OpenAI, "chat", False),
    "/completions": Route(OpenAI, "text", False),
    "/api/chat": Route(Ollama, "chat", True),
    "/api/generate": Route(Ollama, "text", True),
    "/messages": Route(Anthropic, "chat", False),
    "/responses": Route(Responses, "chat", False),
    "/completion": Route(LlamaCpp, "text", False),
    "/infill": Route(LlamaCpp, "text", False),
    "/fim/completions": Route(OpenAI, "chat", False),
    "/api/extra/generate/stream": Route(KoboldCpp, "text", True),
    "/api/v1/generate": Route(KoboldCpp, "text", False),
}


def read(route: Route, body: bytes, *, serial: int, created: float) -> tuple[Asked, str]:
    """The body of a request -> what it asks for, and its ``user``.  Raises ValueError with a readable sentence."""
    try:
        fields = msgspec.json.decode(body)
    except (ValueError, RecursionError) as error:
        raise ValueError(f"the body is not JSON: {error}") from None
    if not isinstance(fields, dict):
        raise ValueError("the body is not a JSON object")
    asked_by = ("messages", "input", "prompt") if route.kind == "chat" else ("prompt",)
    prompt = next((fields[name] for name in asked_by if name in fields), None)
    options = fields.get("stream_options")
    asked = Asked(
        kind=route.kind,
        model=str(fields.get("model") or _script(prompt)),
        stream=bool(fields.get("stream", route.streams)),
        usage=isinstance(options, dict) and bool(options.get("include_usage")),
        prompt=characters(prompt),
        functions=tuple(_functions(fields.get("tools"))),
        load=_load(fields) if route.voice is Ollama and not prompt else "",
        serial=serial,
        created=created,
    )
    return asked, str(fields.get("user") or "")


def _script(prompt: Any) -> str:
    """The script that a prompt begins with; KoboldCpp's requests have no other place for one."""
    return prompt.split(maxsplit=1)[0] if isinstance(prompt, str) and prompt.startswith(PREFIX) else ""


def characters(prompt: Any) -> int:
    """Characters of text in a prompt or a list of messages; roles, images and the like do not count."""
    if isinstance(prompt, str):
        return len(prompt)
    if isinstance(prompt, list):
        return sum(map(characters, prompt))
    if isinstance(prompt, Mapping):
        return characters(prompt.get("content", prompt.get("text")))
    return 0


def _functions(tools: Any) -> list[str]:
    """The names of the tools, which Anthropic has in the open and the others in ``function``."""
    if not isinstance(tools, list):
        return []
    offered = [tool.get("function", tool) for tool in tools if isinstance(tool, dict)]
    return [str(function["name"]) for function in offered if isinstance(function, dict) and "name" in function]


def _load(fields: dict[str, Any]) -> Literal["load", "unload"]:
    return "unload" if fields.get("keep_alive") in (0, "0") else "load"
