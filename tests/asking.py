"""The smallest request for an answer in each client's language, with room for what a test adds."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

import msgspec

from penstock.dialects.registry import NORTHBOUND

_SAID = {"role": "user", "content": "hi"}
_CHAT: dict[str, Any] = {"messages": [_SAID]}


class Language(msgspec.Struct, frozen=True):
    """Where one language's requests go, and how they say what others say too."""

    path: str  #: empty where none is asked by a POST
    body: Mapping[str, Any]
    #: how many messages, tools or images -> the fields that say so; absent what the language does not know
    many: Mapping[str, Any] = {}

    def asked(self, more: Mapping[str, Any] | None = None) -> bytes:
        """A whole body."""
        return json.dumps({"model": "sim:tokens=1", **self.body, **(more or {})}).encode()


def _chat(count: int) -> dict[str, Any]:
    return {"messages": [_SAID] * count}


def _image_parts(part: dict[str, Any]) -> Any:
    return lambda count: {"messages": [{"role": "user", "content": [part] * count or "hi"}]}


_PNG = "iVBORw0KGgo="
_DATA = f"data:image/png;base64,{_PNG}"
_FUNCTION = {"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}
_OPENAI = {
    "messages": _chat,
    "tools": lambda count: {"tools": [_FUNCTION] * count},
    "images": _image_parts({"type": "image_url", "image_url": {"url": _DATA}}),
}

#: By the name of the registry; a new language belongs here.
LANGUAGES: dict[str, Language] = {
    "openai": Language("/v1/chat/completions", _CHAT, _OPENAI),
    "ollama": Language(
        "/api/chat",
        _CHAT,
        {
            "messages": _chat,
            "tools": lambda count: {"tools": [_FUNCTION] * count},
            "images": lambda count: {"messages": [{**_SAID, "images": [_PNG] * count}]},
        },
    ),
    "koboldcpp": Language("/api/v1/generate", {"prompt": "hi"}, {"images": lambda count: {"images": [_PNG] * count}}),
    "responses": Language(
        "/v1/responses",
        {"input": "hi"},
        {
            "messages": lambda count: {"input": [_SAID] * count},
            "tools": lambda count: {"tools": [{"type": "function", "name": "f", "parameters": {}}] * count},
            "images": lambda count: {
                "input": [{"role": "user", "content": [{"type": "input_image", "image_url": _DATA}] * count}]
            },
        },
    ),
    "anthropic": Language(
        "/v1/messages",
        {"max_tokens": 9, **_CHAT},
        {
            "messages": _chat,
            "tools": lambda count: {"tools": [{"name": "f", "input_schema": {"type": "object"}}] * count},
            "images": _image_parts(
                {"type": "image", "source": {"type": "base64", "media_type": "image/png", "data": _PNG}}
            ),
        },
    ),
    "typed_events": Language("/api/chat/stream", _CHAT, _OPENAI),
    "websocket": Language("", _CHAT, _OPENAI),
}
#: Those of routes that take a body.
POSTED = {name: language for name, language in LANGUAGES.items() if language.path}
assert LANGUAGES.keys() == NORTHBOUND.keys(), "a language is missing here"
