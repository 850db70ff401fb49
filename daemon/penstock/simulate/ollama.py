"""Ollama's native dialect: chat and generate, one JSON object a line (ollama api/types.go, server/routes.go)."""

from __future__ import annotations

import datetime
from typing import Any

import msgspec

from penstock.simulate.voice import Voice, failed


class Ollama(Voice):
    media = "application/x-ndjson"
    framing = (b"", b"\n")
    swapped = (b"data: ", b"\n\n")
    early_head = False

    def opening(self) -> list[bytes]:
        # Ollama has no frame for the role alone
        if not self.script.has("null-content"):
            return []
        return [self.line(self._encode(self._body(None), done=False))]

    def piece(self, content: str, thinking: bool, spent: int) -> bytes:
        body = self._body("", thinking=content) if thinking else self._body(content)
        return self._encode(body, done=False)

    def tool_lines(self) -> list[bytes]:
        if self.script.tools_in == "final":
            return []
        return [self.line(self._encode(self._body("", calls=[call]), done=False)) for call in self._tool_calls()]

    def closing(self, spent: int) -> list[bytes]:
        calls = self._tool_calls() if self.script.tools_in == "final" else []
        return [self.line(self._final(self._body("", calls=calls), spent))]

    def ping(self) -> bytes:
        return self.line(self._encode(self._body(""), done=False))

    def progress(self, part: int, parts: int) -> bytes:
        return b""

    def failure(self, fault: str, spent: int) -> list[bytes]:
        error = {"error": failed(spent)}
        if fault == "error-choices":
            return [self.line(self._encode(self._body("") | error, done=False))]
        if fault == "error-finish":
            # LocalAI's emulation tells a failure by the reason alone
            return [self.line(self._encode(self._body(""), done=True, done_reason="error"))]
        closing = self.closing(spent) if fault == "error-done" else []
        return [self.line(msgspec.json.encode(error)), *closing]

    def misshapen(self) -> bytes:
        return b'{"model":7,"created_at":false,"message":5,"response":5,"done":"no"}'

    def whole(self, spent: int) -> bytes:
        thinking = self.whole_text(True) if self.script.thinking else None
        if self.asked.load:
            return self._encode(self._body(""), done=True, done_reason=self.asked.load)
        return self._final(self._body(self.whole_text(False), thinking=thinking, calls=self._tool_calls()), spent)

    def refusal(self, status: int, message: str) -> bytes:
        return msgspec.json.encode({"error": message})

    def _body(
        self, content: str | None, *, thinking: str | None = None, calls: list[dict[str, Any]] | None = None
    ) -> dict[str, Any]:
        more: dict[str, Any] = {} if thinking is None else {"thinking": thinking}
        if self.asked.kind == "text":
            return {"response": content} | more
        if calls or self.script.has("empty-tools"):
            more["tool_calls"] = calls or []
        return {"message": {"role": "assistant", "content": content} | more}

    def _encode(self, body: dict[str, Any], **rest: Any) -> bytes:
        at = datetime.datetime.fromtimestamp(self.asked.created, datetime.UTC)
        stamp = at.strftime("%Y-%m-%dT%H:%M:%S.%f000Z")
        return msgspec.json.encode({"model": self.asked.model, "created_at": stamp} | body | rest)

    def _final(self, body: dict[str, Any], spent: int) -> bytes:
        end: dict[str, Any] = {} if self.script.has("no-terminator") else {"done": True}
        if not self.script.has("no-finish"):
            end["done_reason"] = self.script.finish or "stop"
        if self.asked.kind == "text":
            end["context"] = [1, 2, 3]
        if self.script.usage != "none":
            end |= self._counts(spent)
        return self._encode(body, **end)

    def _counts(self, spent: int) -> dict[str, int]:
        script = self.script
        prompt = int(script.first * 1e9)
        answer = int(spent / script.rate * 1e9) if script.rate else 1000 * spent
        counts = {
            "total_duration": prompt + answer,
            "load_duration": 0,
            "prompt_eval_count": self.prompt_tokens,
            "prompt_eval_duration": prompt,
            "eval_count": spent,
            "eval_duration": answer,
        }
        # as Go's omitempty does
        return {name: count for name, count in counts.items() if count}

    def _tool_calls(self) -> list[dict[str, Any]]:
        return [
            {"id": call.id, "function": {"index": call.index, "name": call.name, "arguments": call.arguments}}
            for call in self.calls
        ]
