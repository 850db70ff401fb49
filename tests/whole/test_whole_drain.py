"""The daemon is told to stop: what is running may end, what cannot is told, and nothing holds the exit up."""

from __future__ import annotations

import json
import re
import signal
from collections.abc import Callable
from typing import Any

import pytest
import trio
from process import Process

from anthropic_conformance import check_anthropic_stream
from asking import POSTED
from koboldcpp_conformance import check_koboldcpp_stream
from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import CHAT, COMPLETIONS, GENERATE, OLLAMA_CHAT, Client, ask, call, connect, post
from responses_conformance import check_responses_stream
from typed_events_conformance import check_typed_events

PATHS = (CHAT, COMPLETIONS, OLLAMA_CHAT, GENERATE)
ENDLESS = "sim:tokens=100000,rate=50"
SHORT = "sim:tokens=30,rate=40"
#: Where else clients have their own idea of a stream's end, and who knows it.
OTHERS = {
    "anthropic": ("/v1/messages", check_anthropic_stream),
    "responses": ("/v1/responses", check_responses_stream),
    "koboldcpp": ("/api/extra/generate/stream", check_koboldcpp_stream),
    "typed_events": ("/api/chat/stream", check_typed_events),
}
#: What differs between two answers to the same request.
OWN = re.compile(rb'"(id|created|created_at|[a-z_]*duration)":("[^"]*"|[0-9]+)')
#: What the last words of penstock and the end of its interpreter may take, on a machine that is busy; seconds.
MOMENT = 5


@pytest.fixture
async def simulation(nursery: trio.Nursery) -> Simulation:
    return await nursery.start(serve, Settings())


@pytest.fixture
async def start(
    serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery
) -> Callable[[str], Process]:
    def start(drain: str) -> Process:
        process = serving(
            f'[server]\nlisten = ["127.0.0.1:0"]\nlog_format = "json"\ndrain = "{drain}"\n'
            # what has not begun by the end of the drain gets a status, however long all of it takes
            'grace = "1m"\n'
            f'[backends.sim]\nkind = "simulate"\nurl = "{simulation.url}"\nslots = 100\n[routes]\n"*" = ["sim"]\n'
        )
        nursery.start_soon(process.read)
        return process

    return start


def frames(path: str, body: bytes) -> list[Any]:
    """The frames of a stream, each a whole one; ``[DONE]`` stays text."""
    if path.startswith("/v1"):
        assert body.endswith(b"\n\n")
        data = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in data]
    assert body.endswith(b"\n")
    return [json.loads(line) for line in body.decode().split("\n")[:-1]]


def text(frames: list[Any]) -> str:
    pieces = []
    for frame in frames:
        if frame == "[DONE]":
            continue
        choices = frame.get("choices", ())
        pieces += [choice.get("text") or choice.get("delta", {}).get("content") or "" for choice in choices]
        pieces.append(frame.get("response") or frame.get("message", {}).get("content") or "")
    return "".join(pieces)


async def exits(process: Process, signalled_at: float, within: float) -> None:
    status, at = await process.exit()
    assert status == 0
    assert at - signalled_at < within


async def test_what_is_running_may_end_and_the_rest_is_told_in_its_own_words(
    start: Callable[[str], Process], simulation: Simulation
) -> None:
    process = start("2s")
    with trio.fail_after(30):
        idle = await connect(process.address)
        before = {path: await ask(process.address, call(SHORT, path=path)) for path in PATHS}
        undisturbed = {path: await client.answer() for path, client in before.items()}
        long = {path: await ask(process.address, call(ENDLESS, path=path)) for path in PATHS}
        whole = {path: await ask(process.address, call(ENDLESS, path=path, stream=False)) for path in PATHS}
        heads = {path: await long[path].head() for path in PATHS}
        # these last, so that they still run when it is told to stop
        short = {path: await ask(process.address, call(SHORT, path=path)) for path in PATHS}
        await simulation.records.until(lambda: simulation.records.counters.requests == 16)

        at = process.signal(signal.SIGTERM)
        await process.line("stopping", signal="SIGTERM")
        # an idle connection goes, and there are no new ones
        assert await idle.rest() == b""
        with pytest.raises(ConnectionRefusedError):
            await connect(process.address)

        for path in PATHS:
            status, _, body = await short[path].answer()
            assert status == 200
            # to the byte
            assert OWN.sub(rb"\1", body) == OWN.sub(rb"\1", undisturbed[path][2])
            got = frames(path, body)
            assert text(got) == "".join(f" t{n}" for n in range(30))
            assert got[-1] == "[DONE]" if path.startswith("/v1") else got[-1]["done"] is True
            # and its connection with it
            assert await short[path].rest() == b""

        for path in PATHS:
            _, headers = heads[path]
            got = frames(path, await long[path].body(headers))
            error = next(frame for frame in got if "error" in frame)["error"]
            assert "penstock is shutting down" in (error["message"] if path.startswith("/v1") else error)
            if path.startswith("/v1"):
                assert error["code"] == "shutdown"
            assert text(got).startswith(" t0 t1 t2")

        for path in PATHS:
            status, told = await whole[path].json()
            assert status == 503
            assert "penstock is shutting down" in json.dumps(told)

        await exits(process, at, 2 + MOMENT)
        for client in [idle, *before.values(), *short.values(), *long.values(), *whole.values()]:
            client.stream.socket.close()
    ends = [line["reason"] for line in process.lines if line["event"] == "stream ended"]
    assert sorted(ends) == ["completed"] * 8 + ["shutdown"] * 8


async def test_every_other_language_has_its_own_words_too(
    start: Callable[[str], Process], simulation: Simulation
) -> None:
    process = start("300ms")
    with trio.fail_after(30):
        running = {}
        for name, (path, _) in OTHERS.items():
            body = POSTED[name].asked({"model": ENDLESS, "stream": True})
            running[name] = await ask(process.address, post(path, body, "Content-Type: application/json"))
        heads = {name: await client.head() for name, client in running.items()}
        first = {name: await client.chunk() for name, client in running.items()}
        at = process.signal(signal.SIGTERM)
        for name, client in running.items():
            status, headers = heads[name]
            assert status == 200
            body = first[name] + await client.body(headers)
            OTHERS[name][1](body)
            assert b"penstock is shutting down" in body.removesuffix(b"\n\n").rpartition(b"\n\n")[2]
            client.stream.socket.close()
        await exits(process, at, 0.3 + MOMENT)


async def test_a_request_that_comes_too_late_is_sent_elsewhere(
    start: Callable[[str], Process], simulation: Simulation
) -> None:
    process = start("1m")
    request = call("sim:tokens=1")
    with trio.fail_after(30):
        running = await ask(process.address, call(ENDLESS))
        await running.until(b" t1")
        late = {path: await ask(process.address, call("sim:tokens=1", path=path)[:-5]) for path in PATHS}
        kept = await ask(process.address, request)
        await kept.answer()
        await kept.send(request[:-5])
        # All of them are in the middle of a body; one more round trip, and the daemon knows it.
        other = await ask(process.address, request)
        await other.answer()
        health = await ask(process.address, post("/health", b"{}", method="GET")[:-1])
        # One more round trip, and the daemon knows of it.
        await other.send(request)
        await other.answer()
        at = process.signal(signal.SIGTERM)
        await process.line("stopping")
        # Whoever looks whether it is ready sees that it is not.
        await health.send(b"}")
        status, headers, body = await health.answer()
        assert (status, headers["connection"], json.loads(body)["status"]) == (503, "close", "draining")
        health.stream.socket.close()
        for path, client in [*late.items(), (CHAT, kept)]:
            await client.send(call("sim:tokens=1", path=path)[-5:])
            status, headers, body = await client.answer()
            assert (status, headers["connection"]) == (503, "close")
            assert int(headers["retry-after"]) >= 1
            assert b"penstock is shutting down" in body
            assert await client.rest() == b""
            client.stream.socket.close()
        running.leave("fin")
        other.stream.socket.close()
        # nothing is left to wait for
        await exits(process, at, MOMENT)
    assert simulation.records.counters.requests == 4


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT], ids=["SIGTERM", "SIGINT"])
async def test_a_second_signal_ends_at_once(second: int, start: Callable[[str], Process]) -> None:
    process = start("1m")
    with trio.fail_after(30):
        mute = await ask(process.address, call("sim:fault=mute"))
        running = await ask(process.address, call(ENDLESS))
        await running.until(b" t1")
        stalled = await connect(process.address, receive_buffer=4096)
        await stalled.send(call("sim:tokens=10000000,width=4000"))
        process.signal(signal.SIGTERM)
        await process.line("stopping")
        await running.until(b" t9")
        at = process.signal(second)
        await exits(process, at, MOMENT)
        for client in (mute, running, stalled):
            client.stream.socket.close()
    process.assert_quiet()


async def test_a_stop_with_nothing_to_do_is_immediate(start: Callable[[str], Process]) -> None:
    process = start("1m")
    with trio.fail_after(30):
        idle = [await connect(process.address) for _ in range(20)]
        done = await ask(process.address, call("sim:tokens=2"))
        await done.answer()
        half = await ask(process.address, b"POST /v1/chat")
        at = process.signal(signal.SIGTERM)
        await exits(process, at, MOMENT)
        for client in (*idle, done, half):
            await gone(client)


async def gone(client: Client) -> None:
    await client.sees_the_close()
    client.stream.socket.close()


async def test_a_signal_right_after_the_first_line_is_obeyed(start: Callable[[str], Process]) -> None:
    with trio.fail_after(30):
        process = start("1m")
        await exits(process, process.signal(signal.SIGTERM), MOMENT)
    assert [line["event"] for line in process.lines][-1] == "stopped"
