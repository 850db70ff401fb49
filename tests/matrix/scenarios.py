"""What happens in each cell: what the client says, what the backend plays, and what the client must be told."""

from __future__ import annotations

import msgspec

from matrix.facts import CALL, PNG, RESULT, SCHEMA, Answer, Asked


class Scenario(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that comes to its good end."""

    script: str
    #: what is said besides the smallest request, or told besides text; of :data:`matrix.table.FEATURES`
    feature: str = "text"
    answer: Answer
    #: what the backend must have been asked, and what of it is left of what is told partly
    asked: Asked = msgspec.field(default_factory=Asked)
    partly: Asked | None = None


PLAIN = Answer(text=" t0 t1 t2", finish="stop")
_COUNTED = " t0 t1 t2 t3 t4 t5 t6 t7"
_CALLS: list[tuple[str, object]] = [
    ("look", {"call": 0, "text": _COUNTED}),
    ("find", {"call": 1, "text": _COUNTED}),
]

GOOD = {
    "text": Scenario(script="tokens=3", answer=PLAIN),
    "awkward text": Scenario(
        script="tokens=2,text=awkward",
        answer=Answer(text="".join(f' t{n}\n\ndata: "\\é€🚰\u2028' for n in range(2)), finish="stop"),
    ),
    "nothing": Scenario(script="tokens=0", answer=Answer(finish="stop")),
    "length": Scenario(script="tokens=3,finish=length", answer=Answer(text=" t0 t1 t2", finish="length")),
    "counts": Scenario(
        script="tokens=3,prompt=7", feature="usage", answer=Answer(text=" t0 t1 t2", finish="stop", usage=(7, 3))
    ),
    "thinking": Scenario(
        script="tokens=1,thinking=2",
        feature="thinking",
        answer=Answer(text=" t0", thinking=" r0 r1", finish="stop"),
    ),
    "one call": Scenario(
        script="tokens=1,tools=1",
        feature="tools",
        answer=Answer(text=" t0", calls=_CALLS[:1], finish="tool_calls"),
        asked=Asked(tools=["look", "find"]),
    ),
    # the stand-in mixes the fragments where its dialect can; the client must get one call after the other
    "two calls": Scenario(
        script="tokens=1,thinking=1,tools=2,fault=interleave",
        feature="tools",
        answer=Answer(text=" t0", thinking=" r0", calls=_CALLS, finish="tool_calls"),
        asked=Asked(tools=["look", "find"]),
    ),
    "results": Scenario(
        script="tokens=3", feature="results", answer=PLAIN, asked=Asked(calls=[CALL], results=[RESULT])
    ),
    "image": Scenario(script="tokens=3", feature="image", answer=PLAIN, asked=Asked(images=[PNG])),
    "schema": Scenario(
        script="tokens=3",
        feature="schema",
        answer=PLAIN,
        asked=Asked(schema=SCHEMA),
        partly=Asked(schema=SCHEMA),
    ),
    "sampling": Scenario(
        script="tokens=3",
        feature="sampling",
        answer=PLAIN,
        asked=Asked(sampling=(9, 0.5, ["END"])),
        partly=Asked(sampling=(9, 0.5, None)),
    ),
}


class Failure(msgspec.Struct, frozen=True, kw_only=True):
    """An answer that ends badly after two tokens: in the stream, or with a status where nothing was told yet."""

    fault: str
    statuses: tuple[int, ...] = (502,)
    message: str


BAD = {
    # the backend's own status where its dialect tells one in a stream
    "an error": Failure(fault="error", statuses=(500, 502), message="simulated failure after 2 tokens"),
    "a cut": Failure(fault="cut", message="in mid-answer"),
    "a reset": Failure(fault="rst", message="in mid-answer"),
    "an end without a marker": Failure(fault="truncate", message="terminal marker"),
}
