"""The OpenAI dialect as llama.cpp, vLLM and others write it: chat completions and completions, over SSE.

Shapes: OpenAI's chat completion chunk object; error objects with a numeric ``code`` as in llama.cpp's tools/server.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.simulate.voice import Voice, failed

DONE = b"[DONE]"

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    429: "rate_limit_error",
    501: "not_supported_error",
    503: "unavailable_error",
}


class OpenAI(Voice):
    media = "text/event-stream"
    framing = (b"data: ", b"\n\n")
    swapped = (b"", b"\n")
    early_head = True

    @property
    def thinks(self) -> bool:
        return self.asked.kind == "chat"

    @property
    def per_token_frames(self) -> bool:
        return self.script.usage == "every"

    def opening(self) -> list[bytes]:
        if self.asked.kind == "text":
            return []
        content = None if self.script.has("null-content") else ""
        return [self.line(self._chunk({"role": "assistant", "content": content}, spent=0))]

    def piece(self, content: str, thinking: bool, spent: int) -> bytes:
        return self._chunk(dict.fromkeys(self._fields(thinking), content), spent=spent + 1)

    def tool_lines(self) -> list[bytes]:
        calls = [self._fragments(call.index) for call in self.calls]
        if self.script.has("interleave"):
            fragments = [fragment for step in zip(*calls, strict=True) for fragment in step]
        else:
            fragments = [fragment for call in calls for fragment in call]
        spent = self.script.tokens + self.script.thinking
        return [
            self.line(self._chunk({"tool_calls": [fragment]}, spent=spent + number))
            for number, fragment in enumerate(fragments, 1)
        ]

    def closing(self, spent: int) -> list[bytes]:
        payloads = []
        if not self.script.has("no-finish"):
            payloads.append(self._chunk({}, finish=self._finish, spent=spent))
        if self._usage_wanted != "none":
            choices = [self._choice({}, self._finish)] if self._usage_wanted == "choices" else []
            payloads.append(msgspec.json.encode(self._frame(choices) | {"usage": self._usage(spent)}))
        if not self.script.has("no-terminator"):
            payloads.append(DONE)
        return [self.line(payload) for payload in payloads]

    def ping(self) -> bytes:
        after = b"\r\n\r\n" if self.script.has("crlf") else b"\n\n"
        return b":" + (f" {self.script.comment}" if self.script.comment else "").encode() + after

    def progress(self, part: int, parts: int) -> bytes:
        prompt = {"total": parts, "cache": 0, "processed": part, "time_ms": part}
        frame = self._frame([self._choice({"role": "assistant", "content": None}, None)])
        return self.line(msgspec.json.encode(frame | {"prompt_progress": prompt}))

    def failure(self, fault: str, spent: int) -> list[bytes]:
        error = {"error": {"message": failed(spent), "type": "server_error", "code": 500}}
        payload = msgspec.json.encode(error)
        if fault == "error-event":
            return [b"event: error\n" + self.line(payload)]
        if fault == "error-field":
            return [b"error: " + msgspec.json.encode(error["error"]) + b"\n\n", self.line(DONE)]
        if fault == "error-choices":
            return [self.line(msgspec.json.encode(self._frame([self._choice({"content": ""}, "error")]) | error))]
        if fault == "error-finish":
            return [self.line(self._chunk({}, finish="error", spent=spent)), self.line(DONE)]
        return [self.line(payload), self.line(DONE)] if fault == "error-done" else [self.line(payload)]

    def misshapen(self) -> bytes:
        return b'{"id":7,"object":"chat.completion.chunk","created":"now","model":null,"choices":5}'

    def whole(self, spent: int) -> bytes:
        frame = self._frame([]) | {"object": "chat.completion" if self.asked.kind == "chat" else "text_completion"}
        finish = None if self.script.has("no-finish") else self._finish
        choice: dict[str, Any] = {"index": 0, "finish_reason": finish, "logprobs": None}
        if self.asked.kind == "text":
            choice["text"] = self.whole_text(False)
        else:
            choice["message"] = self._message()
        usage = {} if self.script.usage == "none" else {"usage": self._usage(spent)}
        return msgspec.json.encode(frame | {"choices": [choice]} | usage)

    def refusal(self, status: int, message: str) -> bytes:
        kind = _ERROR_TYPES.get(status, "server_error")
        return msgspec.json.encode({"error": {"code": status, "message": message, "type": kind}})

    @property
    def _finish(self) -> str:
        return self.script.finish or ("tool_calls" if self.calls else "stop")

    @property
    def _usage_wanted(self) -> str:
        if self.script.usage == "auto":
            return "end" if self.asked.usage else "none"
        return self.script.usage

    def _fields(self, thinking: bool) -> list[str]:
        if not thinking:
            return ["content"]
        return ["reasoning_content", "reasoning"] if self.script.reasoning == "both" else [self.script.reasoning]

    def _frame(self, choices: list[dict[str, Any]]) -> dict[str, Any]:
        chat = self.asked.kind == "chat"
        return {
            "id": f"{'chatcmpl' if chat else 'cmpl'}-{self.asked.serial:08d}",
            "object": "chat.completion.chunk" if chat else "text_completion",
            "created": int(self.asked.created),
            "model": self.asked.model,
            "choices": choices,
        }

    def _choice(self, delta: dict[str, Any], finish: str | None) -> dict[str, Any]:
        if self.asked.kind == "text":
            return {"index": 0, "text": delta.get("content") or "", "finish_reason": finish, "logprobs": None}
        if self.script.has("empty-tools"):
            delta = {"tool_calls": []} | delta
        return {"index": 0, "delta": delta, "finish_reason": finish}

    def _chunk(self, delta: dict[str, Any], *, finish: str | None = None, spent: int) -> bytes:
        frame = self._frame([self._choice(delta, finish)])
        if self.script.usage == "every":
            frame["usage"] = self._usage(spent)
        elif self.script.usage == "null":
            frame["usage"] = None
        return msgspec.json.encode(frame)

    def _usage(self, spent: int) -> dict[str, int]:
        return {
            "prompt_tokens": self.prompt_tokens,
            "completion_tokens": spent,
            "total_tokens": self.prompt_tokens + spent,
        }

    def _fragments(self, number: int) -> list[dict[str, Any]]:
        """One call in pieces: id and name first, then its arguments."""
        call = self.calls[number]
        index: dict[str, Any] = {} if self.script.has("no-index") else {"index": call.index}
        name = {"name": ""} if self.script.has("empty-name") else {}
        first = index | {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": ""}}
        return [first, *(index | {"function": name | {"arguments": part}} for part in self.arguments(call))]

    def _message(self) -> dict[str, Any]:
        only_calls = self.calls and not self.script.tokens
        message: dict[str, Any] = {"role": "assistant", "content": None if only_calls else self.whole_text(False)}
        if self.script.thinking:
            message |= dict.fromkeys(self._fields(True), self.whole_text(True))
        if self.calls or self.script.has("empty-tools"):
            message["tool_calls"] = [
                {
                    "id": call.id,
                    "type": "function",
                    "function": {"name": call.name, "arguments": msgspec.json.encode(call.arguments).decode()},
                }
                for call in self.calls
            ]
        return message
