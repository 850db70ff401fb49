"""What a dialect is: the two roles, as protocols.

A client's language (*northbound*) is parsed into a :class:`~penstock.chat.request.Request` and written from events by
a :class:`Writer`.  A backend's language (*southbound*) is encoded from a request into a :class:`Call` and read into
events by a :class:`Reader`.  All of it is plain data and functions: no clock, no socket, no task.  Time is passed in.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Protocol

import msgspec

from penstock.chat.events import Event, Usage
from penstock.chat.models import Model
from penstock.chat.request import Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.errors import BackendRefused, PenstockError

#: Headers of every streamed answer (clients.md 13.17: nothing in between may buffer, compress or transform it).
STREAM_HEADERS: tuple[tuple[str, str], ...] = (
    ("Cache-Control", "no-cache, no-transform"),
    ("X-Accel-Buffering", "no"),
)


class Limits(msgspec.Struct, frozen=True, kw_only=True):
    """How much of a backend's answer a reader holds before it gives up; bytes."""

    line: int = 8 * 1024 * 1024  #: one SSE event or one NDJSON line
    answer: int = 64 * 1024 * 1024  #: all of one answer


class Call(msgspec.Struct, frozen=True, kw_only=True):
    """A request to a backend, ready to send under the backend's base URL."""

    method: str = "POST"
    path: str  #: below the backend's base, for example "/chat/completions"
    body: bytes = b""
    #: of this request alone; they replace those of every request to the backend
    headers: tuple[tuple[str, str], ...] = ()
    #: dotted names of what the client asked for and this backend cannot be told
    dropped: tuple[str, ...] = ()
    #: what is sent besides the close when the answer is left before its end, to a backend that misses a mere close
    farewell: Call | None = None
    #: what is asked after a good answer that told no counts
    tally: Tally | None = None


class Tally(msgspec.Struct, frozen=True, kw_only=True):
    """How to learn the counts of the answer that ended last, where it did not tell them."""

    call: Call
    read: Callable[[bytes], Usage | None]  #: the body of the answer to it -> the counts, if it has some


def bearer(key: str | None) -> list[tuple[str, str]]:
    """What most backends want: the key as a bearer token (RFC 6750)."""
    return [("Authorization", f"Bearer {key}")] if key else []


class Identity(msgspec.Struct, kw_only=True):
    """What names an answer to its client, the same for all of it but for what the relay changes with each target."""

    stream: str  #: our id of the stream, for example "7f3k9q2m"
    created: float  #: seconds since 1970
    target: str = ""  #: "backend/model" that is being asked
    #: what it cannot be told of the request; see :class:`Call`
    dropped: tuple[str, ...] = ()


class Timing(msgspec.Struct, frozen=True, kw_only=True):
    """Durations of an answer as the relay measured them, in nanoseconds; the fall-back where a backend tells none."""

    total_ns: int = 0
    load_ns: int = 0  #: until the backend answered at all
    prompt_ns: int = 0  #: until the first token
    completion_ns: int = 0  #: from the first token to the last


class Reader(Protocol):
    """Reads one answer of a backend: bytes in, events out.

    ``complete`` turns true with the terminal marker: from then on an end of the body is a good end.  ``done`` turns
    true when nothing more can follow, so that the relay stops reading.
    """

    @property
    def complete(self) -> bool: ...

    @property
    def done(self) -> bool: ...

    def receive(self, data: bytes) -> list[Event]:
        """Take the next bytes of the body, cut anywhere.  What is not the dialect ends the events with Failed."""

    def end(self) -> list[Event]:
        """The body ended; events of what was left in the buffer."""


class Writer(Protocol):
    """Writes one answer to a client: events in, bytes out.

    One kind streams (each ``write`` returns frames), the other collects and returns one JSON text at ``end``.
    """

    content_type: str
    streaming: bool
    #: whether the body may end well-formed after ``fail``; if not, it is cut so that the client sees a transport error
    clean_failure: bool

    def write(self, events: Sequence[Event]) -> bytes:
        """Frames for these events; empty when there is nothing to say yet.

        What cannot be said in this dialect is raised, as BackendGarbled, by the next call: the frames before it go out.
        """

    def heartbeat(self) -> bytes:
        """A sign of life that every client of this dialect tolerates, for a body that is sure to go on."""

    def end(self, timing: Timing) -> bytes:
        """The rest of a complete answer, terminator included.  Raises BackendGarbled."""

    def fail(self, error: PenstockError) -> bytes:
        """The rest of an answer that ends badly after its status went out."""


class Northbound(Protocol):
    """A client's language."""

    name: str

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """A request's body, whose JSON may be of this ``shape`` -> the neutral request.  Raises BadRequest."""

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer; ``passthrough``: the backend speaks the same dialect, ``raw`` may be sent on."""

    def error(self, error: PenstockError) -> bytes:
        """The JSON body of an answer with ``error.status``."""


class Southbound(Protocol):
    """A backend's language."""

    name: str  #: the same word as the northbound dialect of which ``raw`` frames are
    root: str  #: what is appended to a configured URL that has no path of its own ("/v1" for OpenAI, "" for Ollama)

    def auth(self, key: str | None) -> list[tuple[str, str]]:
        """The headers of every request to a backend with this key, or without one."""

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The neutral request -> a call for a stream, or for a whole answer.  Raises BadRequest for what cannot be."""

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer with this ``Content-Type``, to a call that was made in this manner."""

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's own words."""

    def models_call(self) -> Call:
        """The call that lists the backend's models."""

    def models(self, body: bytes) -> list[Model]:
        """The answer to :meth:`models_call`.  Raises BackendGarbled."""
