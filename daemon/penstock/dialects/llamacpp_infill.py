"""llama.cpp's own way to fill in the middle, ``/infill``: its completions ignore a suffix without a word, and go on.

What is asked and answered is in llama.cpp's native words (llama.cpp tools/server README, "POST /infill"): frames of
``{"content": text, "stop": false}``, the last one with ``"stop": true`` and the counts, and no ``[DONE]``.
"""

from __future__ import annotations

import msgspec

from penstock.chat.events import PULSE, Event, Finish, FinishReason, Opened, Progress, Text, Usage
from penstock.chat.request import Request
from penstock.config.model import MANNER, Manner
from penstock.dialects import jsontext, passthrough, refusal
from penstock.dialects.base import Call, Limits
from penstock.dialects.openai_wire import nanoseconds
from penstock.dialects.reader import AnswerReader
from penstock.dialects.sse import Decoder, Frame
from penstock.errors import BackendGarbled

PATH = "/infill"

#: Its name -> the field of :class:`penstock.chat.request.Sampling`.
_NAMES = {
    "n_predict": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty",
}


def encode(request: Request, model: str, manner: Manner = MANNER) -> Call:
    """A prompt with a suffix -> the call; what penstock does not know of an OpenAI client's body is llama.cpp's own."""
    body: dict[str, object] = {}
    dropped: list[str] = list(request.unmapped)
    if request.dialect == "openai" and manner.passthrough:
        body, dropped = passthrough.allowed({name: request.body[name] for name in request.unmapped})
    said = {name: getattr(request.sampling, field) for name, field in _NAMES.items()}
    body |= {name: value for name, value in said.items() if value is not None and value != ()}
    for name, value in (
        ("system", request.system),
        ("images", request.images),
        ("format", request.response_format),
        ("think", request.effort),
        ("logprobs", request.logprobs),
        ("keep_alive", request.keep_alive),
    ):
        if value:
            dropped.append(name)
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


class InfillReader(AnswerReader):
    """See :class:`penstock.dialects.base.Reader`; ``document``: the answer is one JSON text."""

    def __init__(self, limits: Limits, *, document: bool) -> None:
        super().__init__(limits)
        self._sse = Decoder(limits.line)
        self._document = [b""] if document else None
        self._opened = False

    def _read(self, data: bytes, events: list[Event]) -> None:
        if self._document is not None:
            self._document.append(data)
            return
        for frame in self._sse.receive(data):
            if self.done:
                break
            if isinstance(frame, Frame):
                self._take(frame.data, frame.name, events)
            else:
                events.append(PULSE)

    def _rest(self, events: list[Event]) -> None:
        if self._document is not None:
            body = b"".join(self._document)
            if body.strip():
                self._take(body, "", events)
            return
        try:
            for frame in self._sse.end():
                if isinstance(frame, Frame):
                    self._take(frame.data, frame.name, events)
        except BackendGarbled as error:
            # A last frame that was cut in two makes the answer incomplete, not garbled.
            if error.layer != "parse":
                raise

    def _take(self, data: bytes, name: str, events: list[Event]) -> None:
        try:
            frame = msgspec.convert(jsontext.decode(data), _Frame)
        except msgspec.ValidationError as error:
            text = f"the backend sent a frame of another shape: {error}: {refusal.excerpt(data)}"
            raise BackendGarbled(text, "schema") from None
        except ValueError:
            text = f"the backend sent a frame that is not JSON: {refusal.excerpt(data)}"
            raise BackendGarbled(text, "parse") from None
        if name == "error" or frame.error:
            self.done = True
            events.append(refusal.failed(frame.error or refusal.anything(data)))
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
