"""The clients that speak in OpenAI's words under other paths: LM Studio's, and Mistral's to fill in the middle."""

from __future__ import annotations

from typing import Any, ClassVar

from matrix.client import FUNCTIONS, SCHEMA_FORMAT, TURNS, Body
from matrix.clients_openai import OpenAIChat
from matrix.facts import PNG


class LMStudioChat(OpenAIChat):
    name = "LM Studio chat"
    stream_path = whole_path = "/api/v0/chat/completions"


class FillInTheMiddle(OpenAIChat):
    """Asked as a completion, and answered as a chat."""

    name = "fill in the middle"
    stream_path = whole_path = "/v1/fim/completions"
    says: ClassVar[dict[str, Body]] = {
        "tools": {"tools": FUNCTIONS},
        "results": {"messages": TURNS},
        "image": {"images": [PNG]},
        "schema": {"response_format": SCHEMA_FORMAT},
        "sampling": {"max_tokens": 9, "temperature": 0.5, "stop": ["END"]},
    }

    def body(self, model: str, stream: bool) -> Body:
        usage: dict[str, Any] = {"stream_options": {"include_usage": True}} if stream else {}
        return {"model": model, "stream": stream, "prompt": f"{model}\nhello", "suffix": "bye", **usage}
