"""The configuration changes while streams run: they go on as they began, and everybody else gets the new one."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import trio
from process import Process, books

from penstock.simulate.server import Settings, Simulation, serve
from rawhttp import Client, answered, ask, call, connected, post

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
drain = "5s"
[backends.sim]
kind = "simulate"
url = "{url}"
slots = {slots}
{more}
"""
ENDLESS = "sim:tokens=100000,rate=50"
SHORT = "sim:tokens=2"


class Running:
    """A daemon with its file, and the stand-in behind it."""

    def __init__(self, process: Process, simulation: Simulation) -> None:
        self.process = process
        self.simulation = simulation
        self.address = process.address

    def write(self, *, url: str = "", slots: int = 8, more: str = "") -> None:
        """Another file; ``more`` follows the backend."""
        text = CONFIG.format(url=url or self.simulation.url, slots=slots, more=more)
        self.process.config.write_text(text)

    async def reload(self, *headers: str, method: str = "POST") -> tuple[int, Any]:
        """Status and answer of the endpoint."""
        status, _, body = await answered(self.address, post("/reload", b"", *headers, method=method))
        return status, json.loads(body)

    async def hang_up(self) -> None:
        """A SIGHUP."""
        self.process.signal(signal.SIGHUP)

    async def ask(self, model: str, *headers: str) -> Client:
        return await ask(self.address, call(model, *headers))

    async def status(self, *headers: str) -> int:
        """What a new short stream is answered."""
        status, _, _ = await answered(self.address, call(SHORT, *headers))
        return status

    async def metrics(self) -> dict[str, float]:
        async with books(self.process) as book:
            return await book.metrics()


@pytest.fixture
async def simulation(nursery: trio.Nursery) -> Simulation:
    return await nursery.start(serve, Settings())


@pytest.fixture
async def running(serving: Callable[[str], Process], simulation: Simulation, nursery: trio.Nursery) -> Running:
    process = serving(CONFIG.format(url=simulation.url, slots=8, more=""))
    nursery.start_soon(process.read)
    return Running(process, simulation)


def counted(tokens: int) -> str:
    return "".join(f" t{number}" for number in range(tokens))


def text(body: bytes) -> str:
    """The content of a whole stream."""
    frames = [line.removeprefix("data: ") for line in body.decode().split("\n") if line.startswith("data: ")]
    assert frames[-1] == "[DONE]"
    choices = [choice for frame in frames[:-1] for choice in json.loads(frame)["choices"]]
    return "".join(choice["delta"].get("content") or "" for choice in choices)


async def test_a_stream_ends_where_it_began(running: Running, nursery: trio.Nursery) -> None:
    """…and then nothing is left of its generation."""
    other = await nursery.start(serve, Settings())
    with trio.fail_after(30):
        old = await running.ask("sim:tokens=120,rate=60")
        _, headers = await old.head()
        first = await old.chunk()
        running.write(url=other.url, more="[timeouts]\nsilence = '7s'")
        status, told = await running.reload()
        assert (status, told["generation"]) == (200, 2)
        assert [change["path"] for change in told["changes"]] == ["timeouts.silence", "backends.sim.url"]
        assert [(stream["generation"], stream["backend"]) for stream in told["streams"]] == [(1, "sim")]
        async with books(running.process) as book:
            health = await book.health()
            assert (health["generation"], health["older_generations"]) == (2, {"1": 1})
            assert await running.status() == 200
            assert (running.simulation.records.counters.requests, other.records.counters.requests) == (1, 1)
            assert text(first + await old.body(headers)) == counted(120)
            await book.until(lambda health: health["older_generations"] == {})
        # Its connection would wait for another stream, and none will come.
        await running.simulation.records.until(lambda: running.simulation.records.counters.open == 0)
        old.stream.socket.close()
    line = await running.process.line("reloaded")
    assert (line["generation"], line["was"]) == (2, 1)
    assert line["changed"] == "timeouts.silence, backends.sim.url"


async def test_slots_belong_to_the_server(running: Running) -> None:
    """A file that is read anew does not let more streams at a backend than it says, and what it says holds at once."""
    with trio.fail_after(30):
        running.write(slots=1)
        assert (await running.reload())[0] == 200
        first = await running.ask(ENDLESS)
        await first.until(b" t1")
        running.write(slots=1, more="[timeouts]\nqueue = '50s'")
        assert (await running.reload())[0] == 200
        second = await running.ask(ENDLESS)
        async with books(running.process) as book:
            await book.until(lambda health: health["streams"] == {"streaming": 1, "queued": 1})
            backend = (await book.health())["backends"]["sim"]
            assert (backend["busy"], backend["waiting"]) == (1, 1)
            # Also under another name, and then with room for both.
            text = running.process.config.read_text().replace("[backends.sim]", "[backends.gpu]")
            running.process.config.write_text(text.replace("slots = 1", "slots = 2"))
            assert (await running.reload())[0] == 200
            await second.until(b" t1")
            backend = (await book.health())["backends"]["gpu"]
            assert (backend["slots"], backend["busy"], backend["waiting"]) == (2, 2, 0)
            # Three generations run, and each slot is counted once.
            busy = {name: value for name, value in (await book.metrics()).items() if "slots_busy" in name}
            assert busy == {'penstock_slots_busy{backend="gpu"}': 2}
        first.leave("fin")
        second.leave("fin")


async def test_a_kept_connection_is_used_on(running: Running) -> None:
    with trio.fail_after(30):
        assert await running.status() == 200
        running.write(more="[timeouts]\nsilence = '7s'")
        assert (await running.reload())[0] == 200
        assert await running.status() == 200
        assert running.simulation.records.counters.accepted == 1


async def test_keys_limits_and_the_log_change_at_once(running: Running) -> None:
    key = "Authorization: Bearer sk-owner"
    entry = '[[keys]]\nname = "owner"\nkey = "sk-owner"\nadmin = true\n'
    with trio.fail_after(30):
        before = await running.ask(ENDLESS)
        await before.until(b" t1")
        running.write(more=f"[limits]\nbody = 1024\n{entry}")
        assert (await running.reload())[0] == 200
        assert (await running.status(), await running.status(key)) == (401, 200)
        assert (await running.reload())[0] == 401
        status, _, _ = await answered(running.address, call("x" * 2000, key))
        assert status == 413
        await before.until(b" t9")
        text = running.process.config.read_text().replace('"json"\n', '"json"\nlog_level = "error"\n', 1)
        running.process.config.write_text(text)
        assert (await running.reload(key))[0] == 200
        lines = len(running.process.lines)
        assert await running.status(key) == 200
        before.leave("fin")
        # It began when "info" was the level, the one before it ended when "error" is.
        ended = await running.process.line("stream ended", reason="client_gone")
        assert running.process.lines[lines:] == [ended]


async def test_a_secret_is_read_again(running: Running, tmp_path: Path) -> None:
    secret = tmp_path / "secret"
    secret.touch(0o600)
    with trio.fail_after(30):
        for number, value in enumerate(("sk-first", "sk-second")):
            secret.write_text(f"{value}\n")
            running.write(more=f'api_key = "file:{secret}"')
            _, told = await running.reload()
            assert told["generation"] == number + 2
            assert await running.status() == 200
            request = running.simulation.records.connections[-1].requests[-1]
            assert ("authorization", f"Bearer {value}") in request.headers
        assert told["changes"] == [
            {"path": "backends.sim.api_key", "old": f'"file:{secret}"', "new": f'"file:{secret}"', "restart": False}
        ]
        secret.unlink()
        status, told = await running.reload()
        assert status == 422
        assert told["faults"] == [f"secret 'file:{secret}': cannot be read: No such file or directory"]


@pytest.mark.parametrize(
    ("text", "status", "code", "told"),
    [
        ("[limits]\nqueue = -1", 422, "config", ":11:9: limits.queue: must be at least 0, not -1"),
        ("[limits", 422, "config", ":10:"),
        ('[routes]\n"*" = ["nobody"]', 422, "config", 'no backend is called "nobody"'),
        ('api_key = "credential:none"', 422, "config", "secret 'credential:none'"),
        ("LISTEN", 409, "restart_needed", "a running penstock cannot change server.listen: restart it"),
    ],
)
async def test_what_cannot_be_taken_changes_nothing(
    text: str, status: int, code: str, told: str, running: Running
) -> None:
    successful = "penstock_config_last_reload_successful"
    with trio.fail_after(30):
        before = await running.metrics()
        assert before[successful] == 1
        if text == "LISTEN":
            config = running.process.config.read_text()
            running.process.config.write_text(config.replace('"127.0.0.1:0"', '"127.0.0.1:0", "127.0.0.1:1"'))
        else:
            running.write(more=text)
        answer = await running.reload()
        assert answer[0] == status
        assert told in answer[1]["message"]
        line = await running.process.line("not reloaded", code=code)
        assert (line["level"], line["generation"]) == ("warning", 1)
        assert told in line["message"]
        after = await running.metrics()
        assert after[successful] == 0
        at = "penstock_config_last_reload_success_timestamp_seconds"
        assert after[at] == before[at]
        assert await running.status() == 200

        running.write()
        assert await running.reload() == (200, {**answer_of(running, []), "streams": []})
        mended = await running.metrics()
        assert mended[successful] == 1
        assert mended[at] > before[at]


def answer_of(running: Running, changes: list[Any], generation: int = 1) -> dict[str, Any]:
    return {"generation": generation, "source": str(running.process.config), "changes": changes}


async def test_a_rehearsal_changes_nothing(running: Running) -> None:
    with trio.fail_after(30):
        stream = await running.ask(ENDLESS)
        await stream.until(b" t1")
        running.write(slots=4)
        for _ in range(2):
            status, told = await running.reload(method="GET")
            assert status == 200
            (seen,) = told.pop("streams")
            change = {"path": "backends.sim.slots", "old": "8", "new": "4", "restart": False}
            assert told == answer_of(running, [change])
            assert (seen["model"], seen["backend"], seen["generation"]) == (ENDLESS, "sim", 1)
            assert 0 <= seen["age"] < 20
        running.write(more="x = 1")
        assert (await running.reload(method="GET"))[0] == 422
        metrics = await running.metrics()
        assert metrics["penstock_config_last_reload_successful"] == 1
        stream.leave("fin")
    assert not [line for line in running.process.lines if line["event"] in ("reloaded", "not reloaded")]


async def test_a_storm_of_signals_is_few_reloads(running: Running) -> None:
    with trio.fail_after(30):
        stream = await running.ask(ENDLESS)
        await stream.until(b" t1")
        running.write(slots=4)
        for _ in range(300):
            await running.hang_up()
        await running.process.line("reloaded", generation=2)
        running.write(slots=5)
        await running.hang_up()
        await running.process.line("reloaded", generation=3)
        await stream.until(b" t9")
        stream.leave("fin")
    assert len([line for line in running.process.lines if line["event"] == "reloaded"]) < 50


async def hanging(running: Running, tmp_path: Path) -> Path:
    """A reload that reads a pipe into which nobody writes; the pipe."""
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe, 0o600)
    running.write(more=f'api_key = "file:{pipe}"')
    await running.hang_up()
    return pipe


async def test_one_reload_waits_for_the_other(running: Running, tmp_path: Path) -> None:
    with trio.fail_after(30):
        pipe = await hanging(running, tmp_path)
        writer = await trio.to_thread.run_sync(os.open, pipe, os.O_WRONLY)
        # It is at work now.  Meanwhile everybody is served, and the next one waits.
        assert await running.status() == 200
        running.write(slots=3)
        answers: list[tuple[int, Any]] = []

        async def reload() -> None:
            answers.append(await running.reload())

        async with trio.open_nursery() as waiting:
            waiting.start_soon(reload)
            assert await running.status() == 200
            assert answers == []
            os.write(writer, b"sk-x\n")
            os.close(writer)
        await running.process.line("reloaded", generation=2)
        assert answers[0][1]["generation"] == 3


async def test_a_stop_waits_for_no_reload(running: Running, tmp_path: Path) -> None:
    with trio.fail_after(30):
        pipe = await hanging(running, tmp_path)
        writer = await trio.to_thread.run_sync(os.open, pipe, os.O_WRONLY)
        at = running.process.signal(signal.SIGTERM)
        status, exited = await running.process.exit()
        assert status == 0
        # the pipe would hold it up for ever
        assert exited - at < 10
        os.close(writer)


async def test_while_it_drains_nothing_is_reloaded(running: Running) -> None:
    with trio.fail_after(30):
        stream = await running.ask("sim:tokens=60,rate=60")
        _, headers = await stream.head()
        first = await stream.chunk()
        async with connected(running.address) as late:
            # in the middle of a head, so that the drain lets it be
            await late.send(call(SHORT)[:-5])
            await running.status()
            running.process.signal(signal.SIGTERM)
            await running.process.line("stopping")
            running.write(slots=4)
            await running.hang_up()
            await late.send(call(SHORT)[-5:])
            status, _, _ = await late.answer()
            assert status == 503
        assert text(first + await stream.body(headers)) == counted(60)
        assert (await running.process.exit())[0] == 0
        stream.stream.socket.close()
    assert not [line for line in running.process.lines if line["event"] in ("reloaded", "not reloaded")]
