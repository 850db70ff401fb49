"""Anthropic's dialect: messages, as named events or as one JSON text (Anthropic API, "Streaming Messages").

A message is made of numbered blocks, one for the thinking, one for the text, one for each tool call; each is begun and
ended by events of its own.
"""

from __future__ import annotations

from typing import Any

import msgspec

from penstock.simulate.voice import Call, Voice, failed

_ERROR_TYPES = {
    400: "invalid_request_error",
    401: "authentication_error",
    403: "permission_error",
    404: "not_found_error",
    413: "request_too_large",
    429: "rate_limit_error",
    529: "overloaded_error",
}
_FINISHES = {"stop": "end_turn", "length": "max_tokens", "tool_calls": "tool_use"}


class Anthropic(Voice):
    media = "text/event-stream; charset=utf-8"
    framing = (b"data: ", b"\n\n")
    swapped = (b"", b"\n")
    early_head = True

    def line(self, payload: bytes, name: str = "content_block_delta") -> bytes:
        """The name stands before the data, which says it as well."""
        if self.script.has("swapped"):
            return super().line(payload)
        return f"event: {name}".encode() + (b"\r\n" if self.script.has("crlf") else b"\n") + super().line(payload)

    def opening(self) -> list[bytes]:
        message = self._head() | {"content": [], "stop_reason": None, "stop_sequence": None}
        return [self._event("message_start", message=message | self._usage(1))]

    def begin(self, thinking: bool) -> list[bytes]:
        if thinking:
            return [self._start(0, {"type": "thinking", "thinking": "", "signature": ""})]
        return [*self._end_of_thinking(), self._start(self._text_block, {"type": "text", "text": ""})]

    def piece(self, content: str, thinking: bool, spent: int) -> bytes:
        if thinking:
            return self._delta(0, {"type": "thinking_delta", "thinking": content})
        return self._delta(self._text_block, {"type": "text_delta", "text": content})

    def tool_lines(self) -> list[bytes]:
        """The start of a call, and each piece of its arguments; what ends a block goes along with its neighbours."""
        before = b"".join(self._end_of_words())
        lines = []
        for call in self.calls:
            index = self._word_blocks + call.index
            block = {"type": "tool_use", "id": _identity(call), "name": call.name, "input": {}}
            lines.append(before + self._start(index, block))
            lines += [
                self.line(self._delta(index, {"type": "input_json_delta", "partial_json": part}))
                for part in self.arguments(call)
            ]
            before = self._stop(index)
        return lines

    def closing(self, spent: int) -> list[bytes]:
        lines = [self._stop(self._word_blocks + len(self.calls) - 1)] if self.calls else self._end_of_words()
        if not self.script.has("no-finish"):
            lines.append(self._finished(self._finish, spent))
        if not self.script.has("no-terminator"):
            lines.append(self._event("message_stop"))
        return lines

    def ping(self) -> bytes:
        return self._event("ping")

    def progress(self, part: int, parts: int) -> bytes:
        return b""

    def failure(self, fault: str, spent: int) -> list[bytes]:
        if fault == "error-finish":
            return [self._finished("error", spent), self._event("message_stop")]
        error = self._event("error", error={"type": "api_error", "message": failed(spent)})
        return [error, *self.closing(spent)] if fault == "error-done" else [error]

    def misshapen(self) -> bytes:
        return b'{"type":"content_block_delta","index":"first","delta":5}'

    def whole(self, spent: int) -> bytes:
        blocks: list[dict[str, Any]] = []
        if self.script.thinking:
            blocks.append({"type": "thinking", "thinking": self.whole_text(True), "signature": "c2lt"})
        if self.script.tokens:
            blocks.append({"type": "text", "text": self.whole_text(False)})
        blocks += [
            {"type": "tool_use", "id": _identity(call), "name": call.name, "input": call.arguments}
            for call in self.calls
        ]
        finish = None if self.script.has("no-finish") else self._finish
        message = self._head() | {"content": blocks, "stop_reason": finish, "stop_sequence": None}
        return msgspec.json.encode(message | self._usage(spent))

    def refusal(self, status: int, message: str) -> bytes:
        kind = _ERROR_TYPES.get(status, "api_error")
        return msgspec.json.encode({"type": "error", "error": {"type": kind, "message": message}})

    @property
    def _finish(self) -> str:
        word = self.script.finish or ("tool_calls" if self.calls else "stop")
        return _FINISHES.get(word, word)

    @property
    def _text_block(self) -> int:
        return 1 if self.script.thinking else 0

    @property
    def _word_blocks(self) -> int:
        """How many blocks stand before the first tool call."""
        return self._text_block + (1 if self.script.tokens else 0)

    def _head(self) -> dict[str, Any]:
        identity = f"msg_{self.asked.serial:08d}"
        return {"id": identity, "type": "message", "role": "assistant", "model": self.asked.model}

    def _usage(self, spent: int) -> dict[str, Any]:
        if self.script.usage == "none":
            return {}
        return {"usage": {"input_tokens": self.prompt_tokens, "output_tokens": spent}}

    def _end_of_thinking(self) -> list[bytes]:
        if not self.script.thinking:
            return []
        return [self.line(self._delta(0, {"type": "signature_delta", "signature": "c2lt"})), self._stop(0)]

    def _end_of_words(self) -> list[bytes]:
        return [self._stop(self._text_block)] if self.script.tokens else self._end_of_thinking()

    def _start(self, index: int, block: dict[str, Any]) -> bytes:
        return self._event("content_block_start", index=index, content_block=block)

    def _delta(self, index: int, delta: dict[str, Any]) -> bytes:
        return msgspec.json.encode({"type": "content_block_delta", "index": index, "delta": delta})

    def _stop(self, index: int) -> bytes:
        return self._event("content_block_stop", index=index)

    def _finished(self, word: str, spent: int) -> bytes:
        return self._event("message_delta", delta={"stop_reason": word, "stop_sequence": None}, **self._usage(spent))

    def _event(self, name: str, **fields: Any) -> bytes:
        return self.line(msgspec.json.encode({"type": name} | fields), name)


def _identity(call: Call) -> str:
    return call.id.replace("call_", "toolu_")
