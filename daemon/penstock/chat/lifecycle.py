"""The life cycle of one stream: every phase, and every step from one to the next.

All transitions live in ``TABLE``; a step that is not in it cannot happen.  The diagram in docs/streams.md is made from
this table.  Budgets are counted by phase (docs/timeouts.md), so the phase is also what the clocks know.
"""

from __future__ import annotations

import enum
from collections.abc import Mapping, Sequence

from penstock.chat.events import (
    Embedding,
    Event,
    Failed,
    Finish,
    FinishReason,
    Opaque,
    Opened,
    Progress,
    Pulse,
    Score,
    Text,
    Thinking,
    ToolDelta,
    Usage,
)
from penstock.errors import BackendGarbled


class Phase(enum.StrEnum):
    """Where a stream is in its life."""

    QUEUED = "queued"  #: waiting for a slot of the backend
    CONNECTING = "connecting"  #: the slot is ours, the connection not yet
    HEADERS = "headers"  #: the request is out, no answer has begun
    PREFILL = "prefill"  #: the answer has begun, no token yet
    STREAMING = "streaming"  #: tokens flow
    FINISHING = "finishing"  #: the terminal marker was seen; usage and the end of the body may follow
    ENDED = "ended"  #: nothing of it is left


class Step(enum.StrEnum):
    """What moves a stream on."""

    SLOT = "slot"
    CONNECTED = "connected"
    HEAD = "head"
    PULSE = "pulse"
    PROGRESS = "progress"
    CONTENT = "content"
    USAGE = "usage"
    FINISH = "finish"
    RETRY = "retry"
    END = "end"


TABLE: Mapping[Phase, Mapping[Step, Phase]] = {
    Phase.QUEUED: {Step.SLOT: Phase.CONNECTING, Step.RETRY: Phase.QUEUED, Step.END: Phase.ENDED},
    Phase.CONNECTING: {Step.CONNECTED: Phase.HEADERS, Step.RETRY: Phase.QUEUED, Step.END: Phase.ENDED},
    Phase.HEADERS: {Step.HEAD: Phase.PREFILL, Step.RETRY: Phase.QUEUED, Step.END: Phase.ENDED},
    Phase.PREFILL: {
        Step.PULSE: Phase.PREFILL,
        Step.PROGRESS: Phase.PREFILL,
        Step.USAGE: Phase.PREFILL,
        Step.CONTENT: Phase.STREAMING,
        # an answer without a token: a load request, a stop at once
        Step.FINISH: Phase.FINISHING,
        Step.RETRY: Phase.QUEUED,
        Step.END: Phase.ENDED,
    },
    Phase.STREAMING: {
        Step.PULSE: Phase.STREAMING,
        Step.PROGRESS: Phase.STREAMING,
        Step.USAGE: Phase.STREAMING,
        Step.CONTENT: Phase.STREAMING,
        Step.FINISH: Phase.FINISHING,
        Step.END: Phase.ENDED,
    },
    Phase.FINISHING: {
        Step.PULSE: Phase.FINISHING,
        Step.PROGRESS: Phase.FINISHING,
        Step.USAGE: Phase.FINISHING,
        Step.END: Phase.ENDED,
    },
    Phase.ENDED: {},
}

_STEP_OF: Mapping[type[Event], Step] = {
    Opened: Step.PULSE,
    Pulse: Step.PULSE,
    Progress: Step.PROGRESS,
    Text: Step.CONTENT,
    Thinking: Step.CONTENT,
    ToolDelta: Step.CONTENT,
    Embedding: Step.CONTENT,
    Score: Step.CONTENT,
    Opaque: Step.CONTENT,
    Usage: Step.USAGE,
    Finish: Step.FINISH,
}


#: To look up a member of an enumeration takes a third as long as all else that a token takes here.
_STREAMING = Phase.STREAMING


class Life:
    """One stream's place in the table, and what its answer has amounted to so far.

    ``tokens`` counts content events: what a backend streams is one token a frame, and where it is not, its usage says.
    """

    __slots__ = ("failure", "finish", "phase", "progress", "tokens", "usage")

    def __init__(self) -> None:
        self.phase = Phase.QUEUED
        self.tokens = 0
        self.progress = 0  #: grows with every step that is more than a sign of life
        self.usage: Usage | None = None
        self.finish: FinishReason | None = None
        self.failure: Failed | None = None

    def step(self, step: Step) -> None:
        """Take one step.  Raises BackendGarbled where the table has none, for only a backend can cause that."""
        to = TABLE[self.phase].get(step)
        if to is None:
            raise BackendGarbled(f"the backend sent {step} in phase {self.phase}", "schema")
        self.phase = to

    def follow(self, events: Sequence[Event]) -> Sequence[Event]:
        """Take the steps of these events and return those that are for the client.

        Stops at :class:`Failed` (kept as ``failure``), so that what came before it is still sent.
        """
        for i, event in enumerate(events):
            kind = type(event)
            if kind is Text and self.phase is _STREAMING:
                self.tokens += 1
                continue
            if kind is Failed:
                assert isinstance(event, Failed)
                self.failure = event
                return events[:i]
            step = _STEP_OF[kind]
            try:
                self.step(step)
            except BackendGarbled as error:
                self.failure = Failed(error.message, garbled=error.layer)
                return events[:i]
            if step is Step.CONTENT:
                self.tokens += 1
            elif step is Step.PROGRESS:
                self.progress += 1
            elif kind is Finish:
                assert isinstance(event, Finish)
                self.finish = event.reason
                self.progress += 1
            elif kind is Usage:
                assert isinstance(event, Usage)
                self.usage = event
        return events

    @property
    def advanced(self) -> int:
        """A number that changes with every token, prefill progress and finish, and with nothing else."""
        return self.tokens + self.progress
