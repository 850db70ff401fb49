"""The answers of the mock backend, encoded ahead, and the marks by which the load generator checks them.

Each frame carries ``S`` and its number, the last one ``E`` and the count of those before it; paced frames also the time
at which they were sent (CLOCK_MONOTONIC, nanoseconds), which every process of the machine shares.
"""

from __future__ import annotations

import re
from functools import cached_property

#: frames are numbered from 0 to WRAP - 1 and round again; the E mark catches the loss of a whole round
WRAP = 16384

MARK = re.compile(rb'"content": ?"([SE]\d{7})')
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
    """One dialect on the wire."""

    def __init__(self, *, content_type: str, path: str, first: bytes, frame: bytes, last: bytes, whole: bytes) -> None:
        """``frame`` and ``whole`` hold ``%s`` where the content goes."""
        self.path = path
        self.head = (
            f"HTTP/1.1 200 OK\r\nContent-Type: {content_type}\r\nCache-Control: no-cache\r\n"
            "Transfer-Encoding: chunked\r\n\r\n"
        ).encode() + (_chunk(first) if first else b"")
        self.size = len(frame % (mark(b"S", 0) + _PAD))
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


_OPENAI = b'{"id":"chatcmpl-bench","object":"chat.completion%s","created":1700000000,"model":"bench","choices":[%s]%s}'
_OPENAI_DELTA = b"data: " + _OPENAI % (b".chunk", b'{"index":0,"delta":%s,"finish_reason":%s}', b"") + b"\n\n"
_OLLAMA = (
    b'{"model":"bench","created_at":"2026-01-01T00:00:00.000000Z","message":{"role":"assistant","content":"%s"},%s}'
)
_OLLAMA_DONE = (
    b'"done":true,"done_reason":"stop","total_duration":1000000,"load_duration":1000,"prompt_eval_count":8,'
    b'"prompt_eval_duration":1000,"eval_count":64,"eval_duration":1000'
)

OPENAI = Encoding(
    content_type="text/event-stream",
    path="/v1/chat/completions",
    first=_OPENAI_DELTA % (b'{"role":"assistant","content":""}', b"null"),
    frame=_OPENAI_DELTA % (b'{"content":"%s"}', b"null"),
    last=_OPENAI_DELTA % (b"{}", b'"stop"') + b"|data: [DONE]\n\n",
    whole=_OPENAI
    % (
        b"",
        b'{"index":0,"message":{"role":"assistant","content":"%s"},"finish_reason":"stop"}',
        b',"usage":{"prompt_tokens":8,"completion_tokens":64,"total_tokens":72}',
    ),
)
OLLAMA = Encoding(
    content_type="application/x-ndjson",
    path="/api/chat",
    first=b"",
    frame=_OLLAMA % (b"%s", b'"done":false') + b"\n",
    last=_OLLAMA % (b"", _OLLAMA_DONE) + b"\n",
    whole=_OLLAMA % (b"%s", _OLLAMA_DONE),
)
ENCODINGS = {"openai": OPENAI, "ollama": OLLAMA}
#: what tells a complete answer, by the client's dialect
TERMINAL = {"openai": b"data: [DONE]", "ollama": b'"done":true'}
