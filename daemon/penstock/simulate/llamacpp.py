"""llama.cpp's native completions, of which ``/infill`` is one: frames with ``content`` and ``stop``, and no ``[DONE]``.

Shapes: llama.cpp tools/server README, "POST /completion".
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.simulate.openai import OpenAI
from penstock.simulate.voice import failed


class LlamaCpp(OpenAI):
    @property
    def thinks(self) -> bool:
        return False

    @property
    def per_token_frames(self) -> bool:
        return False

    def opening(self) -> list[bytes]:
        return []

    def piece(self, content: str, thinking: bool, spent: int) -> bytes:
        return msgspec.json.encode({"index": 0, "content": content, "tokens": [spent], "stop": False})

    def tool_lines(self) -> list[bytes]:
        return []

    def closing(self, spent: int) -> list[bytes]:
        return [] if self.script.has("no-finish") else [self.line(msgspec.json.encode(self._last("", spent)))]

    def progress(self, part: int, parts: int) -> bytes:
        prompt = {"total": parts, "cache": 0, "processed": part, "time_ms": part}
        return self.line(msgspec.json.encode({"content": "", "stop": False, "prompt_progress": prompt}))

    def failure(self, fault: str, spent: int) -> list[bytes]:
        return [self.line(self.refusal(500, failed(spent)))]

    def misshapen(self) -> bytes:
        return b'{"content":7,"stop":"no"}'

    def whole(self, spent: int) -> bytes:
        return msgspec.json.encode(self._last(self.whole_text(False), spent))

    def _last(self, content: str, spent: int) -> dict[str, Any]:
        return {
            "index": 0,
            "content": content,
            "stop": True,
            "model": self.asked.model,
            "tokens_predicted": spent,
            "tokens_evaluated": self.prompt_tokens,
            "stop_type": "limit" if self.script.finish == "length" else "eos",
            "stopping_word": "",
            "truncated": False,
            "timings": {"prompt_ms": 1.5, "predicted_ms": 2.5},
        }
