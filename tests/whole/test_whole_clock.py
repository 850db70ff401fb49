"""The clock on the wall may jump: budgets, heartbeats and the figures of a stream go by another one."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from pathlib import Path

import pytest
import trio
from process import Process

from penstock.simulate.server import Settings, serve
from rawhttp import ask, call

pytestmark = pytest.mark.heavy

FAKETIME = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
DAY = 86400


@pytest.fixture
def wall(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """What is written there is how many seconds the wall's clock is ahead, for processes that are started then."""
    ahead = tmp_path / "ahead"
    ahead.write_text("+0")
    monkeypatch.setenv("LD_PRELOAD", str(FAKETIME[0]))
    monkeypatch.setenv("FAKETIME_TIMESTAMP_FILE", str(ahead))
    monkeypatch.setenv("FAKETIME_NO_CACHE", "1")
    monkeypatch.setenv("FAKETIME_DONT_FAKE_MONOTONIC", "1")
    return ahead


@pytest.mark.skipif(not FAKETIME, reason="needs libfaketime, of Debian's package faketime")
@pytest.mark.parametrize("seconds", [DAY, -DAY], ids=["forward", "back"])
async def test_a_jump_of_the_clock_touches_no_stream(
    seconds: int, wall: Path, serving: Callable[[str], Process], nursery: trio.Nursery
) -> None:
    simulation = await nursery.start(serve, Settings())
    process = serving(
        '[server]\nlisten = ["127.0.0.1:0"]\nlog_format = "json"\nheartbeat = "300ms"\ngrace = "100ms"\n'
        '[timeouts]\nfirst_token = "10s"\nsilence = "2s"\ntotal = "20s"\n'
        f'[backends.sim]\nkind = "simulate"\nurl = "{simulation.url}"\n[routes]\n"*" = ["sim"]\n'
    )
    nursery.start_soon(process.read)
    with trio.fail_after(30):
        client = await ask(process.address, call("sim:tokens=40,rate=40,first=1s", "Connection: close"))
        await client.until(b"HTTP/1.1 200")
        wall.write_text(f"{seconds:+}")
        answer = await client.rest()
        line = await process.line("stream ended")
        client.stream.socket.close()
    # Heartbeats while it waited, and then all of it.
    assert 2 <= answer.partition(b" t0")[0].count(b"\n:") <= 4
    assert b" t39" in answer and b"[DONE]" in answer
    assert line["reason"] == "completed"
    assert 1.9 < line["total"] < 15
    # The jump was one.
    moments = [datetime.fromisoformat(told["timestamp"]).timestamp() for told in process.lines]
    assert abs(moments[-1] - moments[0] - seconds) < 20
    nursery.cancel_scope.cancel()
