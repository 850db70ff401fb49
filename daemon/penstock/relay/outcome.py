"""What is left of a stream when it is over: one frozen value, from which log, metrics and health live."""

from __future__ import annotations

from bisect import bisect_left

import msgspec

from penstock.chat.lifecycle import Phase
from penstock.chat.reasons import Reason
from penstock.relay.content import Content

#: Upper edges of the histogram of gaps between tokens, in seconds; the last bucket is open.
GAP_EDGES = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 30.0, 60.0)


class Gaps:
    """Times between reads that brought tokens: counts by bucket, and their sum in seconds."""

    __slots__ = ("counts", "total")

    def __init__(self) -> None:
        self.counts = [0] * (len(GAP_EDGES) + 1)
        self.total = 0.0

    def note(self, gap: float) -> None:
        self.counts[bisect_left(GAP_EDGES, gap)] += 1
        self.total += gap


class Outcome(msgspec.Struct, frozen=True, kw_only=True):
    """The end of one stream; times in seconds, sizes in bytes."""

    stream: str  #: our id, as in x-penstock-stream
    dialect: str
    operation: str
    key: str | None  #: the name of the client's key, where keys are in use
    model: str  #: as the client said it
    backend: str | None  #: None: no target was ever chosen
    target: str | None  #: "backend/model"
    label: str | None  #: the target by a name that only the configuration can choose
    route: str | None
    streamed: bool
    reason: Reason
    phase: Phase  #: in which the end came
    message: str | None  #: of the error, where the end was one, as it may be logged
    layer: str | None = None  #: of what a backend garbled: "http", "parse" or "schema"
    attempts: int
    #: seconds spent in each phase, of all attempts
    phases: dict[Phase, float]
    total: float
    first_token: float | None  #: from the request read to the first token
    tokens: int
    prompt_tokens: int | None
    tokens_per_second: float | None
    bytes_in: int  #: payload from the backend
    bytes_out: int  #: payload to the client
    heartbeats: int
    dropped: tuple[str, ...]
    #: how long the backend's connection outlived the reason for it: the client's leaving, a budget, a shutdown
    teardown: float | None
    #: how long the backend's connection outlived its client; None: the client stayed
    orphaned: float | None
    gaps: Gaps
    content: Content | None = None  #: where server.log_content wants it
