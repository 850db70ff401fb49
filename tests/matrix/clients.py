"""Every client there is."""

from __future__ import annotations

from matrix.client import Client
from matrix.clients_native import Anthropic, KoboldCpp, OllamaChat, OllamaGenerate
from matrix.clients_openai import OpenAIChat, OpenAICompletions, Responses, TypedEvents
from matrix.clients_paths import FillInTheMiddle, LMStudioChat
from matrix.clients_websocket import WebSocketChats

CLIENTS: dict[str, Client] = {
    client.name: client
    for client in (
        OpenAIChat(),
        OpenAICompletions(),
        FillInTheMiddle(),
        Responses(),
        OllamaChat(),
        OllamaGenerate(),
        Anthropic(),
        KoboldCpp(),
        LMStudioChat(),
        TypedEvents(),
        WebSocketChats(),
    )
}
