"""The answers of the mock backend, encoded ahead, and the marks by which the load generator checks them.

Each frame carries ``S`` and its number, the last one ``E`` and the count of those before it; paced frames also the time
at which they were sent (CLOCK_MONOTONIC, nanoseconds), which every process of the machine shares.
"""

from __future__ import annotations

import re
from functools import cached_property

#: frames are numbered from 0 to WRAP - 1 and round again; the E mark catches the loss of a whole round
WRAP = 16384

ANY_MARK = re.compile(rb"([SE]\d{7}) T")
STAMP = re.compile(rb" T(\d{16})")

#: makes an OpenAI frame 240 bytes long
_PAD = b" lorem ipsum dolor sit amet consectetur elit."

SEQUENCE = [b"S%07d" % number for number in range(WRAP)] * 2


def mark(letter: bytes, number: int, sent_ns: int = 0) -> bytes:
    """``S0000042 T0000001234567890``: always 26 bytes, so that every frame has the same length."""
    return b"%s%07d T%016d" % (letter, number, sent_ns)


def _chunk(payload: bytes) -> bytes:
    return b"%x\r\n%s\r\n" % (len(payload), payload)


class Encoding:
    """One dialect on the wire, and how a client asks for it."""

    def __init__(
        self,
        path: str,
        frame: bytes,
        *,
        first: bytes = b"",
        last: bytes,
        terminal: bytes,
        ask: str = "messages",
        whole: bytes = b"",
        content_type: str = "text/event-stream",
    ) -> None:
        """``frame`` and ``whole`` hold ``%s`` where the content goes; ``last`` is cut into HTTP chunks at each ``|``.

        ``terminal`` tells a complete answer; ``ask`` is the field of a request that holds the question.
        """
        self.path = path
        self.ask = ask
        self.terminal = terminal
        field = _FIELD.search(frame)
        assert field is not None
        #: finds the frames of a stream, by the field that holds the content
        self.mark = re.compile(field[1] + rb': ?"([SE]\d{7})')
        self.head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nCache-Control: no-cache\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        ).encode() + (_chunk(first) if first else b"")
        self._before, _, after = _chunk(frame % (mark(b"S", 0) + _PAD)).partition(mark(b"S", 0))
        self._after = after
        self.tail = b"".join(_chunk(part) for part in last.split(b"|")) + b"0\r\n\r\n"
        self._whole = whole

    def frame(self, letter: bytes, number: int, sent_ns: int = 0) -> bytes:
        """One frame as one HTTP chunk."""
        return self._before + mark(letter, number, sent_ns) + self._after

    def end(self, count: int, sent_ns: int = 0) -> bytes:
        """The last content frame, the finish reason and the end of the body."""
        return self.frame(b"E", count, sent_ns) + self.tail

    @cached_property
    def frames(self) -> list[bytes]:
        """Frames 0 to WRAP - 1."""
        return [self.frame(b"S", number) for number in range(WRAP)]

    def whole(self, count: int) -> bytes:
        """The same answer as one JSON object, head included."""
        marks = [mark(b"S", number) for number in range(count)] + [mark(b"E", count)]
        body = self._whole % b"".join(item + _PAD for item in marks)
        return b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)


def _event(name: bytes, data: bytes) -> bytes:
    return b"event: %s\ndata: %s\n\n" % (name, data)


_FIELD = re.compile(rb'("\w+"|data): ?"%s')
_OPENAI = b'{"id":"chatcmpl-bench","object":"%s","created":1700000000,"model":"bench","choices":[%s]%s}'
_DELTA = b"data: " + _OPENAI % (b"chat.completion.chunk", b'{"index":0,"delta":%s,"finish_reason":%s}', b"") + b"\n\n"
_TEXT = b'{"index":0,"text":%s,"logprobs":null,"finish_reason":%s}'
_PART = b"data: " + _OPENAI % (b"text_completion", _TEXT, b"") + b"\n\n"
_DONE = b"data: [DONE]\n\n"
_LINE = b'{"model":"bench","created_at":"2026-01-01T00:00:00.000000Z",%s,%s}'
_ENDED = (
    b'"done":true,"done_reason":"stop","total_duration":1000000,"load_duration":1000,"prompt_eval_count":8,'
    b'"prompt_eval_duration":1000,"eval_count":64,"eval_duration":1000'
)
_MESSAGE = b'"message":{"role":"assistant","content":"%s"}'
_BLOCK = b'{"type":"content_block_%s","index":0%s}'
_RESPONSE = b'{"type":"response.%s","sequence_number":%d,"response":{"id":"resp_bench","status":"%s","output":[]}}'
_OUTPUT = (
    b'{"type":"response.output_text.delta","sequence_number":4,"item_id":"msg_bench","output_index":0,'
    b'"content_index":0,"delta":"%s","logprobs":[]}'
)

#: By the name of the dialect; the mock answers in that of the path.
ENCODINGS = {
    "openai": Encoding(
        "/v1/chat/completions",
        _DELTA % (b'{"content":"%s"}', b"null"),
        first=_DELTA % (b'{"role":"assistant","content":""}', b"null"),
        last=_DELTA % (b"{}", b'"stop"') + b"|" + _DONE,
        terminal=_DONE.strip(),
        whole=_OPENAI
        % (
            b"chat.completion",
            b'{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}',
            b',"usage":{"prompt_tokens":8,"completion_tokens":64,"total_tokens":72}',
        ),
    ),
    "completions": Encoding(
        "/v1/completions",
        _PART % (b'"%s"', b"null"),
        last=_PART % (b'""', b'"stop"') + b"|" + _DONE,
        terminal=_DONE.strip(),
        ask="prompt",
    ),
    "responses": Encoding(
        "/v1/responses",
        _event(b"response.output_text.delta", _OUTPUT),
        first=_event(b"response.created", _RESPONSE % (b"created", 0, b"in_progress")),
        last=_event(b"response.completed", _RESPONSE % (b"completed", 5, b"completed")),
        terminal=b"event: response.completed",
        ask="input",
    ),
    "anthropic": Encoding(
        "/v1/messages",
        _event(b"content_block_delta", _BLOCK % (b"delta", b',"delta":{"type":"text_delta","text":"%s"}')),
        first=_event(
            b"message_start",
            b'{"type":"message_start","message":{"id":"msg_bench","type":"message","role":"assistant","model":"bench",'
            b'"content":[],"stop_reason":null,"stop_sequence":null,"usage":{"input_tokens":8,"output_tokens":1}}}',
        )
        + _event(b"content_block_start", _BLOCK % (b"start", b',"content_block":{"type":"text","text":""}')),
        last=_event(b"content_block_stop", _BLOCK % (b"stop", b""))
        + _event(
            b"message_delta",
            b'{"type":"message_delta","delta":{"stop_reason":"end_turn","stop_sequence":null},'
            b'"usage":{"output_tokens":64}}',
        )
        + b"|"
        + _event(b"message_stop", b'{"type":"message_stop"}'),
        terminal=b"event: message_stop",
    ),
    "ollama": Encoding(
        "/api/chat",
        _LINE % (_MESSAGE, b'"done":false') + b"\n",
        last=_LINE % (_MESSAGE % b"", _ENDED) + b"\n",
        terminal=b'"done":true',
        whole=_LINE % (_MESSAGE, _ENDED),
        content_type="application/x-ndjson",
    ),
    "generate": Encoding(
        "/api/generate",
        _LINE % (b'"response":"%s"', b'"done":false') + b"\n",
        last=_LINE % (b'"response":""', _ENDED) + b"\n",
        terminal=b'"done":true',
        ask="prompt",
        content_type="application/x-ndjson",
    ),
    "koboldcpp": Encoding(
        "/api/extra/generate/stream",
        _event(b"message", b'{"token": "%s", "finish_reason": null}'),
        last=_event(b"message", b'{"token": "", "finish_reason": "stop"}'),
        terminal=b'"stop"',
        ask="prompt",
    ),
    "events": Encoding(
        "/api/chat/stream",
        _event(b"token", b'"%s"'),
        last=_event(b"done", b'{"reason":"stop","usage":{}}'),
        terminal=b"event: done",
    ),
    # Of clients alone: no backend speaks it.
    "websocket": Encoding(
        "/api/ws/chat",
        b'{"type":"token","id":"bench","text":"%s"}',
        last=b'{"type":"done","id":"bench","reason":"stop"}',
        terminal=b'"type":"done"',
    ),
    "llamacpp": Encoding(
        "/completion",
        b'data: {"index":0,"content":"%s","tokens":[42],"stop":false,"id_slot":-1,"tokens_predicted":1,'
        b'"tokens_evaluated":8}\n\n',
        last=b'data: {"index":0,"content":"","tokens":[],"stop":true,"tokens_predicted":64,"stop_type":"eos"}\n\n',
        terminal=b'"stop":true',
        ask="prompt",
    ),
}
BY_PATH = {encoding.path.encode(): encoding for encoding in ENCODINGS.values()}
