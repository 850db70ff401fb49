"""What the targets have in common: bytes in pieces, and an answer told from its reader to its writer."""

from __future__ import annotations

from collections.abc import Callable, Sequence

from penstock.chat.events import MOST_TOLD, Event, Failed
from penstock.chat.lifecycle import Life, Step
from penstock.dialects import base
from penstock.dialects.base import Identity, Northbound, Reader, Timing, Writer
from penstock.errors import BackendGarbled, BackendTruncated, RequestError
from wellformed import units

#: Small, so that a fuzzer finds the way beyond it.
LINE, ANSWER = 400, 2000
LIMITS = base.Limits(line=LINE, answer=ANSWER)
IDENTITY = Identity(stream="7f3k9q2m", created=1789000000.0)

Target = Callable[[bytes], None]


def pieces(data: bytes) -> tuple[bytes, list[bytes]]:
    """The first byte says how long the pieces are that the rest comes in."""
    step, body = (data[0] % 17) + 1 if data else 1, data[1:]
    return body, [body[at : at + step] for at in range(0, len(body), step)]


def tell(reader: Reader, writer: Writer, cut: Sequence[bytes]) -> None:
    """The answer of a backend in these pieces, as the relay tells it; what its client gets is well-formed."""
    life = Life()
    for step in (Step.SLOT, Step.CONNECTED, Step.HEAD):
        life.step(step)
    told: list[bytes] = []

    def took(events: Sequence[Event]) -> None:
        assert not reader.done or not reader.receive(b"more"), "it goes on after its end"
        assert not any(isinstance(event, Failed) for event in events[:-1]), "it goes on after a failure"
        told.append(writer.write(life.follow(events)))

    try:
        for piece in cut:
            took(reader.receive(piece))
            if reader.done or life.failure:
                break
        else:
            took(reader.end())
        if life.failure:
            raise BackendGarbled(life.failure.message, "parse")
        if not (reader.complete and life.finish):
            raise BackendTruncated("the answer ended early")
        told.append(writer.end(Timing()))
    except (BackendGarbled, BackendTruncated) as error:
        told.append(writer.fail(error))
    if life.usage is not None:
        assert 0 <= life.usage.prompt_tokens < MOST_TOLD and 0 <= life.usage.completion_tokens < MOST_TOLD
    body = b"".join(told)
    if writer.content_type in ("application/json", "application/x-ndjson") or "event-stream" in writer.content_type:
        units(writer.content_type, body)
    assert len(body) < 40 * sum(map(len, cut)) + 6000, "far more comes out than went in"


def refused(dialect: Northbound, error: RequestError) -> None:
    """A request that is refused is told so, in its own language, and in few words."""
    assert error.status < 500
    assert len(error.message) < 2000
    units("application/json", dialect.error(error))
