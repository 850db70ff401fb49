"""Every fault of the network under what is no chat: embeddings, rerank, what fills in the middle, what nobody reads.

Answers in one piece keep a real status whatever happens.  One that is passed on unread has no word for an error: it is
cut, so that its client sees a broken connection and no short success.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from itertools import count
from typing import Any

import msgspec
import pytest
import trio
from network import FAULTS, HEAD_END, THIRD_TOKEN, Fault, Network, model_of, name_of, networked, start
from process import Process, books

from faults.toxics import Toxic
from matrix.table import KINDS
from penstock import errors
from rawhttp import connected, post

TOGETHER = 12
STATUS = {error.code: error.status for error in errors.BackendError.__subclasses__()}
OPENAI = ("openai", "llamacpp", "lmstudio", "vllm")
_SERIAL = count(1)


class Way(msgspec.Struct, frozen=True, kw_only=True):
    """A path, what is asked there beside the model, of which kinds of backends, and a part of every good answer."""

    path: str
    body: Mapping[str, Any]
    kinds: tuple[str, ...]
    good: bytes
    #: where the reason stands in an error, if anywhere
    worded: bool = True
    unread: bool = False


TEXTS = {"input": ["hello", "you"]}
WAYS = {
    "embeddings": Way(
        path="/v1/embeddings", body=TEXTS, kinds=(*OPENAI, "ollama", "koboldcpp"), good=b"[5.0,0.5,-0.25,0.125]"
    ),
    "embeddings in base64": Way(
        path="/v1/embeddings", body=TEXTS | {"encoding_format": "base64"}, kinds=("openai",), good=b'"AACgQAAAAD8'
    ),
    "LM Studio embeddings": Way(
        path="/api/v0/embeddings", body=TEXTS, kinds=("lmstudio",), good=b"[5.0,0.5,-0.25,0.125]"
    ),
    "Ollama embed": Way(
        path="/api/embed", body=TEXTS, kinds=(*OPENAI, "ollama"), good=b"[5.0,0.5,-0.25,0.125]", worded=False
    ),
    "rerank": Way(
        path="/v1/rerank",
        body={"query": "hello", "documents": ["hello", "you"]},
        kinds=OPENAI,
        good=b'"relevance_score"',
    ),
    "fill in the middle": Way(
        path="/v1/fim/completions", body={"prompt": "a", "suffix": "b"}, kinds=("openai", "llamacpp"), good=b" t2"
    ),
    "unread": Way(path="/infill", body={"prompt": "", "stream": True}, kinds=("llamacpp",), good=b" t4", unread=True),
}
#: Those of the chats; what strikes after the third token strikes within the body, whose words are others here.
WITHIN = {
    name: msgspec.structs.replace(
        fault,
        toxic=Toxic(end=fault.toxic.end, mark=HEAD_END, after=12),
        reason="first_token_timeout" if fault.reason == "silence" else fault.reason,
    )
    if fault.toxic is not None and fault.toxic.mark == THIRD_TOKEN
    else fault
    for name, fault in FAULTS.items()
}
#: To begin is all that is asked of what nobody reads.
STARTED = {name for name, fault in FAULTS.items() if fault.toxic is not None and fault.toxic.mark == THIRD_TOKEN}


@pytest.fixture
async def network(nursery: trio.Nursery) -> Iterator[Network]:
    with networked(*await start(nursery, WITHIN), WITHIN) as network:
        yield network


def thin() -> list[tuple[str, str, str]]:
    """Each fault once, each way by turns, over its first kind."""
    ways = list(WAYS.items())
    return [(name, way.kinds[0], fault) for fault, (name, way) in zip(WITHIN, ways * len(WITHIN), strict=False)]


def whole() -> list[tuple[str, str, str]]:
    """Each way over each kind under each fault."""
    return [(name, kind, fault) for name, way in WAYS.items() for kind in way.kinds for fault in WITHIN]


@pytest.mark.parametrize("cases", [thin(), pytest.param(whole(), marks=pytest.mark.heavy)], ids=["thin", "whole"])
async def test_every_fault_of_what_is_no_chat(
    cases: list[tuple[str, str, str]], network: Network, serving: Callable[[str], Process], nursery: trio.Nursery
) -> None:
    process = serving(network.config)
    nursery.start_soon(process.read)
    room = trio.CapacityLimiter(TOGETHER)

    async def one(way: str, kind: str, fault: str) -> None:
        async with room:
            await check(process, way, kind, fault)

    with trio.fail_after(20 + len(cases) / 5):
        async with books(process) as book:
            async with trio.open_nursery() as asking:
                for case in cases:
                    asking.start_soon(one, *case)
            await book.nothing_left(idle=True)
            idle = {name: backend["idle_connections"] for name, backend in (await book.health())["backends"].items()}
            for fault, proxy in network.proxies.items():
                kept = sum(idle[name_of(kind, fault)] for kind in KINDS)
                while proxy.open > kept:
                    await trio.sleep(0.001)
    assert network.simulation.records.counters.running == 0


async def check(process: Process, name: str, kind: str, fault: str) -> None:
    """One request under one fault: what the client is told, and what the log tells."""
    way, it = WAYS[name], WITHIN[fault]
    model = model_of(kind, fault, next(_SERIAL))
    case = f"{name} over {kind}, {fault}"
    status, body, cut = await answered(process.address, way, model)
    line = await process.line("stream ended", model=model)
    reason = expected(way, fault, it)
    assert line["reason"] == reason, (case, line)
    if reason == "completed":
        assert (status, cut) == (200, False) and way.good in body, (case, body)
    elif status == 200:
        assert way.unread and cut, (case, body)
        assert way.good not in body
    else:
        assert (status, cut) == (STATUS[reason], False), (case, body)
        assert not (way.unread and fault in STARTED and "reset" not in fault), case
        assert line["message"].partition(" (")[0].encode() in body, case
        assert way.worded is (f'"{reason}"'.encode() in body), (case, body)
    assert len([line for line in process.lines if line.get("model") == model]) == 1, case


def expected(way: Way, fault: str, it: Fault) -> str:
    """What nobody reads has begun with its first byte."""
    return "silence" if way.unread and fault == "silent in mid-answer" else it.reason


async def answered(address: str, way: Way, model: str) -> tuple[int, bytes, bool]:
    """Status, body, and whether that was cut."""
    asked = json.dumps({"model": model, **way.body}).encode()
    async with connected(address) as client:
        await client.send(post(way.path, asked, "Content-Type: application/json"))
        status, headers = await client.head()
        try:
            return status, await client.body(headers), False
        except (AssertionError, trio.BrokenResourceError):
            return status, client.buffer, True
