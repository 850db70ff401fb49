"""R11: killed under load, and started again: clients see a cut, backends are let go, and nothing is remembered."""

from __future__ import annotations

import signal
from collections.abc import Callable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import pytest
import trio
from process import Process, books

from penstock.simulate.server import Settings, serve
from ports import free_port
from rawhttp import call, connected
from rawwebsocket import create, opened

pytestmark = pytest.mark.heavy

ENDLESS = "sim:tokens=100000,rate=100"
STREAMS = 20


async def test_a_kill_under_load_leaves_nothing(
    serving: Callable[[str], Process], tmp_path: Path, nursery: trio.Nursery
) -> None:
    simulation = await nursery.start(serve, Settings())
    config = (
        f'[server]\nlisten = ["127.0.0.1:{free_port()}"]\nlog_format = "json"\n'
        f'[backends.sim]\nkind = "simulate"\nurl = "{simulation.url}"\nslots = 10\n[routes]\n"*" = ["sim"]\n'
    )
    process = serving(config)
    nursery.start_soon(process.read)
    with trio.fail_after(60):
        async with AsyncExitStack() as stack:
            # half of them run, the others wait
            clients = [await stack.enter_async_context(connected(process.address)) for _ in range(STREAMS)]
            for client in clients:
                await client.send(call(ENDLESS))
            socket_ = await stack.enter_async_context(opened(process.address))
            await socket_.send(create("a", ENDLESS))
            await simulation.records.until(lambda: simulation.records.counters.running == 10)
            files = sorted(tmp_path.iterdir())

            process.signal(signal.SIGKILL)
            for client in clients:
                with suppress(trio.BrokenResourceError):
                    client.buffer = await client.rest()
                assert not client.buffer.endswith(b"0\r\n\r\n"), "no cut looks like an end"
            await socket_.client.sees_the_close()
            await simulation.records.until(lambda: simulation.records.counters.running == 0)
        status, _ = await process.exit()
        assert status == -signal.SIGKILL
        assert sorted(tmp_path.iterdir()) == files, "nothing is written that could be half written"

        again = Process(process.config)
        try:
            nursery.start_soon(again.read)
            assert again.address == process.address
            async with books(again) as account, connected(again.address) as client:
                await client.send(call("sim:tokens=3"))
                assert (await client.answer())[0] == 200
                client.leave("fin")
                await account.nothing_left(idle=True)
            again.assert_quiet()
        finally:
            again.end()
