"""llama.cpp's own way to fill in the middle, ``/infill``: its completions ignore a suffix without a word, and go on.

What is asked and answered is in llama.cpp's native words (llama.cpp tools/server README, "POST /infill"): frames of
``{"content": text, "stop": false}``, the last one with ``"stop": true`` and the counts, and no ``[DONE]``.
"""

from __future__ import annotations

import msgspec

from penstock.chat.events import PULSE, Event, Finish, FinishReason, Opened, Progress, Text, Usage
from penstock.chat.request import Request
from penstock.config.model import MANNER, Manner
from penstock.dialects import bare, jsontext, passthrough, refusal, tolerant
from penstock.dialects.base import Call, Limits
from penstock.dialects.openai_wire import nanoseconds
from penstock.dialects.reader import FrameReader
from penstock.dialects.sse import Frame

PATH = "/infill"

#: Its name -> the field of :class:`penstock.chat.request.Sampling`.
_NAMES = {"n_predict": "max_tokens", **bare.COMMON}


def encode(request: Request, model: str, manner: Manner = MANNER) -> Call:
    """A prompt with a suffix -> the call; what penstock does not know of an OpenAI client's body is llama.cpp's own."""
    body: dict[str, object] = {}
    dropped: list[str] = list(request.unmapped)
    if request.dialect == "openai" and manner.passthrough:
        body, dropped = passthrough.allowed({name: request.body[name] for name in request.unmapped})
    body |= bare.sampled(request.sampling, _NAMES)
    dropped += bare.lost(request)
    body |= {"model": model, "input_prefix": request.prompt, "input_suffix": request.suffix, "prompt": ""}
    body["stream"] = not manner.whole
    if not manner.whole:
        body.setdefault("return_progress", True)
    return Call(path=PATH, body=jsontext.encode(body), dropped=tuple(dropped))


class _Timings(msgspec.Struct, frozen=True):
    prompt_ms: float | None = None
    predicted_ms: float | None = None


class _Progress(msgspec.Struct, frozen=True):
    total: int = 0
    processed: int = 0


class _Frame(msgspec.Struct, frozen=True):
    """A piece of the answer, its end, or all of it."""

    content: str | None = None
    stop: bool | None = None
    stop_type: str | None = None
    model: str | None = None
    tokens_evaluated: int | None = None
    tokens_predicted: int | None = None
    timings: _Timings | None = None
    prompt_progress: _Progress | None = None
    error: object = None


class InfillReader(FrameReader):
    """See :class:`penstock.dialects.base.Reader`; ``document``: the answer is one JSON text."""

    def __init__(self, limits: Limits, *, document: bool) -> None:
        super().__init__(limits, document=document)
        self._opened = False

    def _take(self, event: Frame, events: list[Event]) -> None:
        frame = tolerant.shaped(tolerant.parsed(event.data), _Frame, event.data)
        if event.name == "error" or frame.error:
            self._fail(frame.error or refusal.anything(event.data), events)
            return
        if not self._opened:
            self._opened = True
            events.append(Opened(model=frame.model))
        if frame.prompt_progress is not None:
            events.append(Progress(frame.prompt_progress.processed, frame.prompt_progress.total))
        if frame.content:
            events.append(Text(frame.content))
        elif not frame.stop:
            events.append(PULSE)
        if frame.stop:
            self.complete = self.done = True
            events += [_usage(frame), Finish(_reason(frame))]


def _reason(frame: _Frame) -> FinishReason:
    return FinishReason.LENGTH if frame.stop_type == "limit" else FinishReason.STOP


def _usage(frame: _Frame) -> Usage:
    timings = frame.timings or _Timings()
    return Usage(
        frame.tokens_evaluated or 0,
        frame.tokens_predicted or 0,
        prompt_ns=nanoseconds(timings.prompt_ms),
        completion_ns=nanoseconds(timings.predicted_ms),
    )
