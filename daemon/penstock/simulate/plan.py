"""What happens when: a script and a voice become a lazy sequence of timed writes.

Pure: it neither sleeps nor sends.  Whoever performs a plan waits until ``at`` (seconds after work on the request
began), sends ``data`` and does what ``end`` says.  A step that is never due (``at`` infinite) holds the connection.
"""

from __future__ import annotations

import enum
import math
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from typing import NamedTuple

from penstock.simulate import text
from penstock.simulate.faults import Fault
from penstock.simulate.script import WHOLE_TOKENS, BadScript, Script
from penstock.simulate.voice import Voice, failed
from penstock.simulate.wire import Headers, Wire, message

#: At rate 0 this much leaves in one write.
_WRITE = 128 * 1024

#: The text of a frame cut by ``split``, and where in it: inside the last character, which has four bytes.
_SPLIT_TEXT = "é€🚰".encode()
_SPLIT_AT = len(_SPLIT_TEXT) - 2


class End(enum.Enum):
    """What becomes of the connection after the last step."""

    REUSE = "reuse"
    CLOSE = "close"
    RESET = "reset"


class Step(NamedTuple):
    at: float
    data: bytes = b""
    tokens: int = 0
    end: End | None = None

    @property
    def last(self) -> bool:
        return self.end is not None or self.at == math.inf


_NEVER = Step(math.inf)


def answer(script: Script, voice: Voice, *, loading: bool, http10: bool) -> Iterator[Step]:
    """All of one answer.

    ``loading``: this is one of the requests that the fault ``loading`` refuses.  ``http10``: the client speaks no
    better.  Raises BadScript for an answer too large to be sent whole.
    """
    if script.has("mute") or script.has("deaf"):
        return iter([_NEVER])
    if script.has("hangup"):
        return iter([Step(script.first, end=End.CLOSE)])
    if script.has("redirect"):
        return iter([Step(script.first, message(302, [("Location", "/elsewhere")], b""), end=End.REUSE)])
    if loading or script.status:
        status, why = (503, "Loading model") if loading else (script.status or 500, failed(0))
        return iter([Step(script.first, refusal(script, voice, status, why), end=End.REUSE)])
    if script.has("no-stream") and voice.asked.stream:
        return iter([Step(script.first, refusal(script, voice, 400, "this server does not stream"), end=End.REUSE)])
    wire = Wire(http10=http10 or script.http10, gzip=script.has("gzip"))
    if voice.asked.stream and not voice.asked.load:
        return _Stream(script, voice, wire).paced()
    if max(script.tokens, script.thinking) > WHOLE_TOKENS:
        raise BadScript(f"more than {WHOLE_TOKENS} tokens go out as a stream only; ask with stream: true")
    return _Whole(script, voice, wire).paced()


def refusal(script: Script, voice: Voice, status: int, why: str) -> bytes:
    """The bytes of an error answer in the voice's dialect."""
    headers = [("Content-Type", "application/json")]
    if script.retry_after is not None:
        headers.append(("Retry-After", f"{script.retry_after:g}"))
    return message(status, headers, voice.refusal(status, why))


class _Answer(ABC):
    """What streamed and whole answers share: the clock, the head and the end."""

    def __init__(self, script: Script, voice: Voice, wire: Wire) -> None:
        self.script = script
        self.voice = voice
        self.wire = wire
        self.head_at = script.headers if script.headers >= 0 else (0.0 if voice.early_head else script.first)
        self.first_at = max(self.head_at, script.first)
        self.ping = script.ping
        self.dribbling = False

    @abstractmethod
    def steps(self) -> Iterator[Step]:
        """The answer without signs of life."""

    @abstractmethod
    def alive(self) -> bytes:
        """A sign of life."""

    def paced(self) -> Iterator[Step]:
        """The steps, with pings where they leave a silence, cut into bytes where they dribble."""
        last = math.inf
        for step in self.steps():
            # a request whose head is not out yet has no place for pings
            while self.ping and last + self.ping < step.at:
                last += self.ping
                yield Step(last, self.alive())
            if self.dribbling:
                for number, byte in enumerate(step.data):
                    yield Step(step.at + number * self.script.gap, bytes([byte]))
                step = step._replace(at=step.at + len(step.data) * self.script.gap, data=b"")
            last = step.at
            yield step
            if step.last:
                return

    def due(self, spent: int) -> float:
        """When the token after ``spent`` others goes out."""
        return self.first_at + (spent / self.script.rate if self.script.rate else 0.0)

    def head(self, media: str, headers: Headers = ()) -> bytes:
        script = self.script
        media = "text/html" if script.has("mistyped") else media
        headers = [("Content-Type", media), ("Cache-Control", "no-cache"), *headers]
        if script.has("huge-head"):
            headers.append(("X-Simulated", "x" * script.size))
        before = b"HTTP/1.1 103 Early Hints\r\nLink: </simulate>\r\n\r\n" if script.has("interim") else b""
        if script.has("bad-status"):
            before = b"HTTP/one 2OO Fine\r\n\r\n"
        return before + self.wire.head(200, headers)

    def end(self, at: float) -> Step:
        """The clean end of a body."""
        data = self.wire.end()
        if self.script.has("surplus"):
            data += message(200, [("Content-Type", "text/plain")], b"nobody asked")
        closes = self.wire.http10 or self.script.has("drop-idle")
        return Step(at, data, end=End.CLOSE if closes else End.REUSE)


class _Segment(NamedTuple):
    """A part of a streamed answer: lines before it, how many tokens, (index, count, tokens spent before) -> bytes."""

    before: list[bytes]
    tokens: int
    write: Callable[[int, int, int], bytes]


class _Stream(_Answer):
    """A streamed answer."""

    def __init__(self, script: Script, voice: Voice, wire: Wire) -> None:
        super().__init__(script, voice, wire)
        self._parts = {thinking: voice.token(thinking, 0) for thinking in (False, True)}
        frame = len(b"".join(self._parts[False])) + max(script.width, 16)
        self._burst = script.burst or (1 if script.rate else max(1, _WRITE // frame))
        self._faults = script.placed
        self._tools = [wire.frame(line) for line in voice.tool_lines()]

    def steps(self) -> Iterator[Step]:
        yield Step(self.head_at, self.head(self.voice.media))
        yield from self._prefill()
        spent = 0
        for segment in self._segments():
            index = 0
            while index < segment.tokens:
                yield from self._happens(spent)
                if spent == 0:
                    yield Step(self.due(0), self._lines(self.voice.opening()))
                if index == 0:
                    yield Step(self.due(spent), self._lines(segment.before))
                count = min(self._burst, segment.tokens - index, *(fault.at - spent for fault in self._faults[:1]))
                if self.script.text == "clock":
                    # the text is made with the step, and that must be when it is due
                    yield Step(self.due(spent))
                yield Step(self.due(spent), segment.write(index, count, spent), count)
                index += count
                spent += count
        if spent == 0:
            yield Step(self.due(0), self._lines(self.voice.opening()))
        yield from self._happens(spent, beyond=True)
        yield Step(self.due(spent), self._lines(self.voice.closing(spent)))
        yield _NEVER if self.script.has("never-close") else self.end(self.due(spent))

    def alive(self) -> bytes:
        return self.wire.frame(self.voice.ping())

    def _prefill(self) -> Iterator[Step]:
        parts = self.script.progress
        for part in range(1, parts + 1):
            at = self.head_at + (self.first_at - self.head_at) * part / (parts + 1)
            line = self.voice.progress(part, parts)
            yield Step(at, self.wire.frame(line) if line else b"")

    def _segments(self) -> list[_Segment]:
        script, voice = self.script, self.voice
        thinking = script.thinking if voice.thinks else 0
        return [
            _Segment(voice.begin(True), thinking, lambda index, count, spent: self._tokens(True, index, count, spent)),
            _Segment(
                voice.begin(False), script.tokens, lambda index, count, spent: self._tokens(False, index, count, spent)
            ),
            _Segment([], len(self._tools), lambda index, count, spent: b"".join(self._tools[index : index + count])),
        ]

    def _tokens(self, thinking: bool, index: int, count: int, spent: int) -> bytes:
        texts = text.pieces(self.script, thinking, index, count)
        if self.voice.per_token_frames:
            frames = [piece.join(self.voice.token(thinking, before)) for before, piece in enumerate(texts, spent)]
            return b"".join([self.wire.frame(frame) for frame in frames])
        return self.wire.run(self._parts[thinking], texts)

    def _lines(self, lines: list[bytes]) -> bytes:
        return b"".join([self.wire.frame(line) for line in lines])

    def _happens(self, spent: int, *, beyond: bool = False) -> Iterator[Step]:
        """The faults that are placed here; ``beyond``: no token follows, so all that are left."""
        while self._faults and (beyond or self._faults[0].at <= spent):
            yield from self._fault(self._faults.pop(0), self.due(spent), spent)

    def _fault(self, fault: Fault, at: float, spent: int) -> Iterator[Step]:
        wire, voice, script = self.wire, self.voice, self.script
        parts = self._parts[False]
        match fault.name:
            case "silence":
                yield _NEVER
            case "pings":
                self.ping = script.ping or 1.0
                yield _NEVER
            case "truncate":
                yield self.end(at)
            case "cut":
                frame = wire.frame(b" cut".join(parts))
                yield Step(at, frame[: len(frame) // 2], end=End.CLOSE)
            case "rst":
                yield Step(at, end=End.RESET)
            case "bad-chunk":
                yield Step(at, b"not a size\r\n%b\r\n" % b"".join(parts), end=End.CLOSE)
            case "garbage":
                yield Step(at, wire.frame(voice.line(b'{"broken": tru')))
            case "schema":
                yield Step(at, wire.frame(voice.line(voice.misshapen())))
            case "huge":
                yield Step(at, wire.frame((b"x" * script.size).join(parts)))
            case "split":
                frame, cut = _SPLIT_TEXT.join(parts), len(parts[0]) + _SPLIT_AT
                yield Step(at, wire.frame(frame[:cut]))
                yield Step(at + script.gap, wire.frame(frame[cut:]))
            case "dribble":
                self.dribbling = True
            case failure:
                yield Step(at, self._lines(voice.failure(failure, spent)))
                yield self.end(at)


class _Whole(_Answer):
    """An answer that is one JSON text, with a length unless something must go out before it."""

    def steps(self) -> Iterator[Step]:
        script, voice, wire = self.script, self.voice, self.wire
        spent = script.tokens + (script.thinking if voice.thinks else 0)
        body = voice.whole(spent)
        fault = next(iter(script.placed), None)
        if fault and fault.name.startswith("error"):
            yield Step(self.due(min(fault.at, spent)), refusal(script, voice, 500, failed(fault.at)), end=End.REUSE)
        if fault and fault.name == "garbage":
            body = b'{"broken": tru'
        if fault and fault.name == "schema":
            body = voice.misshapen()
        self.dribbling = bool(fault and fault.name == "dribble")
        if not (script.ping or script.has("gzip")):
            wire.length = len(body)
        if script.ping:
            # blank space before a JSON text is legal, and the only sign of life there is
            yield Step(self.head_at, self.head("application/json"))
        at = self.due(spent)
        data = (b"" if script.ping else self.head("application/json")) + wire.frame(body)
        if fault and fault.name in _BREAKS:
            kept = data[: len(data) - len(body) + len(body) * min(fault.at, spent) // max(spent, 1)]
            yield Step(self.due(min(fault.at, spent)), kept, end=_BREAKS[fault.name])
            yield _NEVER
        yield Step(at, data)
        yield _NEVER if script.has("never-close") else self.end(at)

    def alive(self) -> bytes:
        return self.wire.frame(b"\n")


#: Faults that break off a whole answer after the share of its bytes that the tokens before them are.
_BREAKS: dict[str, End | None] = {
    "silence": None,
    "pings": None,
    "truncate": End.CLOSE,
    "cut": End.CLOSE,
    "rst": End.RESET,
    "bad-chunk": End.CLOSE,
}
