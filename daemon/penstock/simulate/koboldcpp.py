"""KoboldCpp's native dialect: generate, as named events or as one JSON text (koboldcpp.py)."""

from __future__ import annotations

import msgspec

from penstock.simulate.voice import Voice, failed


class KoboldCpp(Voice):
    media = "text/event-stream"
    framing = (b"event: message\ndata: ", b"\n\n")
    swapped = (b"", b"\n")
    early_head = True

    @property
    def thinks(self) -> bool:
        return False

    def opening(self) -> list[bytes]:
        return []

    def piece(self, content: str, thinking: bool, spent: int) -> bytes:
        return self._frame(content)

    def tool_lines(self) -> list[bytes]:
        return []

    def closing(self, spent: int) -> list[bytes]:
        return [] if self.script.has("no-finish") else [self.line(self._frame("", self._finish))]

    def ping(self) -> bytes:
        return self.line(self._frame(""))

    def progress(self, part: int, parts: int) -> bytes:
        return b""

    def failure(self, fault: str, spent: int) -> list[bytes]:
        if fault in ("error-finish", "error-choices"):
            return [self.line(self._frame("", "error"))]
        closing = self.closing(spent) if fault == "error-done" else []
        return [self.line(self.refusal(500, failed(spent))), *closing]

    def misshapen(self) -> bytes:
        return b'{"token":7,"finish_reason":[]}'

    def whole(self, spent: int) -> bytes:
        result = {
            "text": self.whole_text(False),
            "finish_reason": None if self.script.has("no-finish") else self._finish,
            "logprobs": None,
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": spent,
        }
        return msgspec.json.encode({"results": [result]})

    def refusal(self, status: int, message: str) -> bytes:
        return msgspec.json.encode({"detail": {"msg": message, "type": "service_unavailable"}})

    @property
    def _finish(self) -> str:
        return self.script.finish or "stop"

    def _frame(self, token: str, finish: str | None = None) -> bytes:
        return msgspec.json.encode({"token": token, "finish_reason": finish})
