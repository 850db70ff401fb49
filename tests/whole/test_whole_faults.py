"""Every fault of the network, every language: one documented error or a whole answer, one line in the log, no rest.

In between is a proxy of bytes (tests/faults): it delays, slices, throttles, resets, half-closes, closes, falls silent.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from itertools import count

import pytest
import trio
from network import BACKEND, FAULTS, HEAD, SCRIPT, WHOLE, Network, model_of, name_of, networked, start
from process import Books, Process, books

from faults.proxy import Proxy
from faults.toxics import Toxic
from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.clients_openai import OpenAIChat
from matrix.table import KINDS, VARIANTS, rule_of
from penstock import errors
from penstock.chat.reasons import Reason
from penstock.simulate.server import Settings, Simulation, serve

#: Requests at a time.
TOGETHER = 12
#: The kind of backend that speaks a client's language, or the nearest.
NATURAL = {"responses": "openai", "typed_events": "openai", "websocket": "openai"}
#: Languages whose errors have a place for the reason.
WORDED = ("openai", "responses", "typed_events", "websocket")
STATUS = {error.code: error.status for error in errors.BackendError.__subclasses__()}


class LMStudio(OpenAIChat):
    """The same words, under LM Studio's own path."""

    name = "LM Studio chat"
    stream_path = whole_path = "/api/v0/chat/completions"


EVERY = {**CLIENTS, LMStudio.name: LMStudio()}

Case = tuple[Client, str, str, bool]
_SERIAL = count(1)


def cases(clients: list[Client]) -> Iterator[Case]:
    """Each client over each kind that can answer it, under each fault, streamed and in one piece."""
    for client in clients:
        for kind in KINDS:
            if rule_of(client.name, kind, "text") is None:
                for fault in FAULTS:
                    for stream in client.ways:
                        yield client, kind, fault, stream


def diagonal() -> list[Case]:
    """Each fault twice, each client with its own kind of backend, each kind, both ways: a thin cut through them all."""
    clients = list(EVERY.values())
    natural = [(client, NATURAL.get(client.dialect, client.dialect)) for client in clients]
    across = [(CLIENTS["OpenAI chat"], kind) for kind in KINDS]
    found: list[Case] = []
    for number, fault in enumerate(FAULTS):
        for cells in (natural, across):
            client, kind = cells[number % len(cells)]
            found.append((client, kind, fault, client.ways[(number // 2) % len(client.ways)]))
    return found


@pytest.fixture
async def network(nursery: trio.Nursery) -> Iterator[Network]:
    with networked(*await start(nursery)) as network:
        yield network


async def test_a_thin_cut(network: Network, serving: Callable[[str], Process], nursery: trio.Nursery) -> None:
    thin = diagonal()
    assert {client.name for client, *_ in thin} == set(EVERY)
    assert {kind for _, kind, *_ in thin} == set(KINDS)
    await suffer(thin, network, serving(network.config), nursery)


@pytest.mark.heavy
@pytest.mark.parametrize("client", EVERY.values(), ids=EVERY)
async def test_every_fault_over_every_kind(
    client: Client, network: Network, serving: Callable[[str], Process], nursery: trio.Nursery
) -> None:
    await suffer(list(cases([client])), network, serving(network.config), nursery)


async def suffer(every: list[Case], network: Network, process: Process, nursery: trio.Nursery) -> None:
    """All of them, some at a time; afterwards nothing is left of any."""
    nursery.start_soon(process.read)
    room = trio.CapacityLimiter(TOGETHER)

    async def one(case: Case) -> None:
        async with room:
            await check(process, *case)

    with trio.fail_after(60 + len(every)):
        async with books(process) as book:
            async with trio.open_nursery() as asking:
                for case in every:
                    asking.start_soon(one, case)
            await settled(book, network)
    assert network.simulation.records.counters.running == 0


async def settled(book: Books, network: Network) -> None:
    """No stream, slot, task's socket or descriptor; the proxies have only what the daemon keeps for the next stream."""
    await book.nothing_left(idle=True)
    idle = {name: backend["idle_connections"] for name, backend in (await book.health())["backends"].items()}
    for fault, proxy in network.proxies.items():
        kept = sum(idle[name_of(kind, fault)] for kind in KINDS)
        assert kept <= proxy.open, fault
        if FAULTS[fault].reason != "completed":
            assert kept == 0, f"a connection is kept although it suffered: {fault}"
        while proxy.open > kept:
            await trio.sleep(0.001)


async def check(process: Process, client: Client, kind: str, fault: str, stream: bool) -> None:
    """One stream under one fault: what the client is told, and what the log tells."""
    it = FAULTS[fault]
    model = model_of(kind, fault, next(_SERIAL))
    case = f"{client.name} over {kind}, {fault}, {'streamed' if stream else 'whole'}"
    status, headers, body = await client.answered(process.address, model, stream=stream)
    line = await process.line("stream ended", model=model)
    assert line["reason"] == it.reason, (case, line)
    message = line.get("message", "")
    if it.reason == "completed":
        assert status == 200, (case, body)
        answer = client.read(body, stream=stream)
        assert (answer.text, answer.finish, answer.error) == (WHOLE, "stop", None), case
    elif status == 200:
        assert stream and it.told, case
        answer = client.read(body, stream=True)
        # The log leaves out what the backend wrote.
        assert (answer.error or "").startswith(message) and answer.finish is None, case
        # a reset may overtake what was sent before it
        assert it.told.startswith(answer.text), case
    else:
        assert status == STATUS[it.reason], (case, body)
        assert client.refusal(body).startswith(message), case
        assert headers["content-type"] == "application/json", case
        # after the first token the error of a stream has its place in the stream
        assert not (stream and it.told and "reset" not in fault), case
    if it.reason != "completed" and client.dialect in WORDED:
        assert f'"{it.reason}"'.encode() in body, (case, body)
    assert [line["reason"] for line in process.lines if line.get("model") == model] == [it.reason], case


def test_every_reason_that_a_network_can_cause_is_caused() -> None:
    blamed = {reason for reason in Reason if reason.blames_backend}
    assert {fault.reason for fault in FAULTS.values()} == blamed | {Reason.COMPLETED}


@pytest.mark.heavy
@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind not in VARIANTS])
async def test_a_cut_at_any_byte(kind: str, serving: Callable[[str], Process], nursery: trio.Nursery) -> None:
    """However many bytes of an answer came, it is an error; from its terminal marker on it is whole, and stays so."""
    simulation: Simulation = await nursery.start(serve, Settings(keep=64))
    proxy: Proxy = await nursery.start(Proxy(int(simulation.url.rpartition(":")[2]), Toxic()).serve)
    # No connection is kept, so that each has its own place.
    limits = "[limits]\nidle_connections = 0\n"
    process = serving(HEAD + limits + BACKEND.format(name="cut", kind=kind, url=proxy.address, timeouts=""))
    nursery.start_soon(process.read)
    client = CLIENTS["Anthropic messages" if kind == "anthropic" else "OpenAI chat"]

    async def told(toxic: Toxic) -> str | None:
        """The text of a whole answer; None: an error."""
        proxy.toxics = (toxic,)
        model = f"sim:id=cut-{next(_SERIAL)},{SCRIPT}"
        status, _, body = await client.answered(process.address, model, stream=True)
        answer = client.read(body, stream=True) if status == 200 else None
        whole = answer is not None and answer.error is None
        line = await process.line("stream ended", model=model)
        assert (line["reason"] == "completed") == whole, line
        return answer.text if answer is not None and whole else None

    with trio.fail_after(600):
        assert await told(Toxic()) == WHOLE
        while proxy.open:
            await trio.sleep(0.001)
        size = proxy.passed
        texts = {n: await told(Toxic(end="close", after=n)) for n in range(size)}
    marker = min(n for n, text in texts.items() if text is not None)
    # the answer's own words and its marker are most of it; what follows is usage and the end of the body
    assert size / 2 < marker < size
    assert {text for n, text in texts.items() if n < marker} == {None}
    assert {text for n, text in texts.items() if n >= marker} == {WHOLE}
