"""Every fault of a backend, at many places of an answer, for every client over every kind of backend.

Whatever happens, the client's parser finds what it can read, and either the whole answer or an error.
"""

from __future__ import annotations

import pytest
import trio

from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.estate import Estate, named
from matrix.facts import Answer
from matrix.table import KINDS, VARIANTS, rule_of
from penstock.simulate import faults

pytestmark = pytest.mark.heavy

#: Thinking at 0 and 1, text from 2 to 4, then the calls.
SCRIPT = "tokens=3,thinking=2,tools=2,fragments=2"
PLACES = (0, 2, 3, 6, 7, 99)
#: Requests at a time.
TOGETHER = 8

HARMLESS = {
    "interim",
    "mistyped",
    "swapped",
    "split",
    "dribble",
    "crlf",
    "null-content",
    "empty-tools",
    "interleave",
    "no-index",
    "empty-name",
    "no-terminator",
    "surplus",
    "drop-idle",
}
FATAL = {
    "hangup",
    "redirect",
    "bad-status",
    "gzip",
    "truncate",
    "cut",
    "rst",
    "bad-chunk",
    "error",
    "error-done",
    "error-event",
    "error-field",
    "error-choices",
    "error-finish",
    "garbage",
    "schema",
    "no-finish",
}
#: What only time, size or another question ends; they have tests of their own.
SLOW = {"mute", "deaf", "loading", "huge-head", "silence", "pings", "huge", "never-close", "runaway", "no-stream"}

CELLS = [
    pytest.param(client, kind, id=f"{client.name}-{kind}")
    for client in CLIENTS.values()
    for kind in KINDS
    if rule_of(client.name, kind, "text") is None
]


def test_every_fault_is_swept() -> None:
    assert {*HARMLESS, *FATAL, *SLOW} == set(faults.KINDS)
    assert len(HARMLESS) + len(FATAL) + len(SLOW) == len(faults.KINDS)


def harmless(fault: str, kind: str) -> bool:
    """Whether the answer is whole in spite of it."""
    if kind == "ollama" and fault in ("no-finish", "swapped"):
        # "done" without a reason is an end as well; lines that look like events are no lines.
        return fault == "no-finish"
    return fault in HARMLESS


def places(fault: str, kind: str) -> list[str]:
    """The fault at each of its places."""
    if not faults.KINDS[fault].placed:
        return [fault]
    if fault == "split" and kind == "anthropic":
        # Elsewhere its piece of text is in no open block.
        return [f"{fault}@3"]
    return [f"{fault}@{place}" for place in PLACES]


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_every_fault(estate: Estate, client: Client, kind: str) -> None:
    room = trio.CapacityLimiter(TOGETHER)
    whole = await told(estate, client, kind, "interim", stream=True)

    async def check(fault: str, stream: bool) -> None:
        async with room:
            answer = await told(estate, client, kind, fault, stream=stream)
        name = fault.partition("@")[0]
        if not harmless(name, kind):
            assert answer.error, fault
            assert answer.finish is None, fault
            assert whole.text.startswith(answer.text) and whole.thinking.startswith(answer.thinking), fault
            return
        # The piece of text by which a frame is split.
        answer.text = answer.text.replace("é€🚰", "")
        assert answer == whole, fault

    async with trio.open_nursery() as nursery:
        for name in (*HARMLESS, *FATAL):
            if name == "split" and client.dialect == "responses" and kind in VARIANTS:
                # Frames are passed on with their numbers, and the one that is cut has that of another.
                continue
            for fault in places(name, kind):
                for stream in client.ways:
                    nursery.start_soon(check, fault, stream)


async def told(estate: Estate, client: Client, kind: str, fault: str, *, stream: bool) -> Answer:
    """What the client is told, the refusal of a request included; without counts."""
    _, model = named(kind, f"{SCRIPT},fault={fault}")
    with trio.fail_after(60):
        status, _, body = await client.answered(estate.daemon, model, stream=stream, **client.says["tools"])
    if status != 200:
        assert status in (500, 502), body
        return Answer(error=client.refusal(body))
    answer = client.read(body, stream=stream)
    answer.usage = None
    return answer
