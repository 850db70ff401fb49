"""Why a stream ended: one closed list, the same word in the log, the metric, the error frame and the docs."""

from __future__ import annotations

import enum


class Reason(enum.StrEnum):
    """Exactly one of these ends every stream."""

    COMPLETED = "completed"  #: the backend's terminal marker was seen and the client got it
    CLIENT_GONE = "client_gone"  #: the client closed, reset or half-closed its connection
    CLIENT_STALLED = "client_stalled"  #: the client stopped reading for longer than the write budget
    QUEUE_FULL = "queue_full"  #: no slot, and no place in the queue
    QUEUE_TIMEOUT = "queue_timeout"  #: no slot within the queue budget
    EXHAUSTED = "exhausted"  #: penstock has no file descriptor left for a connection to the backend
    CONNECT_FAILED = "connect_failed"  #: no connection to the backend, or lost before its answer began
    CONNECT_TIMEOUT = "connect_timeout"  #: no connection within the connect budget
    BACKEND_REFUSED = "backend_refused"  #: the backend answered with an error, as a status or in the stream
    BACKEND_GARBLED = "backend_garbled"  #: the backend sent what its dialect does not allow
    BACKEND_TRUNCATED = "backend_truncated"  #: the backend's answer ended without its terminal marker
    FIRST_TOKEN_TIMEOUT = "first_token_timeout"  #: nothing but silence and pings for the first_token budget
    SILENCE = "silence"  #: the backend fell silent in mid-answer
    DEADLINE = "deadline"  #: the total budget was spent
    PREEMPTED = "preempted"  #: a more urgent stream took the slot
    SUPERSEDED = "superseded"  #: the same client asked anew
    KILLED = "killed"  #: the owner ended it
    SHUTDOWN = "shutdown"  #: the daemon stopped before the stream did
    INTERNAL = "internal"  #: a bug in penstock; the log has the traceback

    @property
    def blames_backend(self) -> bool:
        """Whether this end counts against the backend's health.  A client's leaving never does."""
        return self in _BACKEND


_BACKEND = frozenset(
    {
        Reason.CONNECT_FAILED,
        Reason.CONNECT_TIMEOUT,
        Reason.BACKEND_GARBLED,
        Reason.BACKEND_TRUNCATED,
        Reason.FIRST_TOKEN_TIMEOUT,
        Reason.SILENCE,
    }
)
