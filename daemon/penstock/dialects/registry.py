"""All dialects by name: the one place where a new one is listed."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.dialects.anthropic import anthropic_north, anthropic_south
from penstock.dialects.base import Northbound, Southbound
from penstock.dialects.koboldcpp import koboldcpp_north, koboldcpp_south
from penstock.dialects.ollama import ollama_north, ollama_south
from penstock.dialects.openai import llamacpp_south, lmstudio_south, openai_north, openai_south, vllm_south
from penstock.dialects.responses import responses_north
from penstock.dialects.typed_events import typed_events_north
from penstock.dialects.websocket import websocket_north

#: What clients speak.
NORTHBOUND: Mapping[str, Northbound] = {
    "openai": openai_north,
    "ollama": ollama_north,
    "koboldcpp": koboldcpp_north,
    "responses": responses_north,
    "anthropic": anthropic_north,
    "typed_events": typed_events_north,
    "websocket": websocket_north,
}

#: What backends speak, by ``kind`` in the configuration.
SOUTHBOUND: Mapping[str, Southbound] = {
    "openai": openai_south,
    "llamacpp": llamacpp_south,
    "lmstudio": lmstudio_south,
    "vllm": vllm_south,
    "ollama": ollama_south,
    "koboldcpp": koboldcpp_south,
    "anthropic": anthropic_south,
    "simulate": openai_south,
}
