"""Reads KoboldCpp's native answers: ``event: message`` with ``{"token": text, "finish_reason": null or word}`` as data,
or in one JSON text ``{"results": [{"text", "finish_reason", "prompt_tokens", "completion_tokens"}]}``.

The one marker of the end is a finish reason: the body is delimited by the close of the connection, so that a crash and
a good end look alike otherwise.  There are no ids and no model, and in a stream no counts.
"""

from __future__ import annotations

import msgspec
from msgspec import UNSET, UnsetType

from penstock.chat.events import PULSE, Event, Failed, Finish, FinishReason, Opened, Text, Usage
from penstock.dialects import refusal, tolerant
from penstock.dialects.base import Limits
from penstock.dialects.reader import FrameReader
from penstock.dialects.sse import Frame
from penstock.errors import BackendGarbled


class Token(msgspec.Struct, frozen=True, gc=False):
    """What nearly all frames are."""

    token: str
    finish_reason: str | None = None
    error: UnsetType = UNSET
    detail: UnsetType = UNSET


_plain = msgspec.json.Decoder(Token).decode


class GenerateReader(FrameReader):
    """See :class:`penstock.dialects.base.Reader`; ``document``: the answer is one JSON text."""

    def __init__(self, limits: Limits, *, document: bool) -> None:
        super().__init__(limits, document=document)
        self._opened = False

    def _take(self, frame: Frame, events: list[Event]) -> None:
        try:
            said = _plain(frame.data)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            self._other(frame, events)
        else:
            self._token(said.token, said.finish_reason, events)

    def _other(self, frame: Frame, events: list[Event]) -> None:
        """A failure, a whole answer, or a token in a form that only tolerant parsing takes."""
        match tolerant.parsed(frame.data):
            case {"error": error} | {"detail": error} if error:
                self._fail(error, events)
            case {"token": str() as token, **rest} if isinstance(finish := rest.get("finish_reason"), str | None):
                self._token(token, finish, events)
            case {"results": [{"text": str() as text, **rest}, *_]} if self._document is not None:
                finish, prompt, completion = [
                    rest.get(name) for name in ("finish_reason", "prompt_tokens", "completion_tokens")
                ]
                if isinstance(prompt, int) and isinstance(completion, int):
                    events.append(Usage(prompt, completion))
                self._token(text, finish if isinstance(finish, str) else None, events)
            case _:
                raise BackendGarbled(
                    f"the backend sent a frame of another shape: {refusal.excerpt(frame.data)}", "schema"
                )

    def _token(self, token: str, finish: str | None, events: list[Event]) -> None:
        if not self._opened:
            self._opened = True
            events.append(Opened())
        if token:
            events.append(Text(token))
        elif not finish:
            events.append(PULSE)
        if finish == "error":
            self.done = True
            events.append(Failed("the backend's generation failed (finish_reason 'error')"))
        elif finish:
            self.complete = self.done = True
            events.append(Finish(FinishReason.LENGTH if finish == "length" else FinishReason.STOP))
