"""What signals do to a running daemon: SIGHUP reads the configuration anew, SIGTERM and SIGINT stop it."""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

import trio

from penstock.errors import PenstockError
from penstock.observe.log import logger

if TYPE_CHECKING:
    from penstock.service.daemon import Daemon


async def obey(daemon: Daemon, signals: AsyncIterator[int], *, terminal: bool) -> None:
    """Return when the daemon has stopped: after one signal in its time, after a second one at once.

    ``terminal``: it was started in one.
    """
    async with trio.open_nursery() as nursery:
        # One that is at work and one that waits: whatever comes in between is the one that waits.
        wanted, hangups = trio.open_memory_channel[None](1)
        nursery.start_soon(reload, daemon, hangups)
        async for number in signals:
            if number != signal.SIGHUP:
                break
            if terminal and not sys.stderr.isatty():
                # The terminal is gone, and nobody is left who could press Ctrl-C, or read what is written.
                write_nowhere()
                break
            with suppress(trio.WouldBlock):
                wanted.send_nowait(None)
        nursery.cancel_scope.cancel(reason="stopping")
    logger().info("stopping", signal=signal.Signals(number).name, streams=len(daemon.state.live))
    async with trio.open_nursery() as nursery:
        nursery.start_soon(stop_at_the_second, daemon, signals)
        await daemon.stop()
        nursery.cancel_scope.cancel(reason="stopped")
    logger().info("stopped")


def write_nowhere() -> None:
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, sys.stderr.fileno())
    os.close(nowhere)


async def reload(daemon: Daemon, hangups: trio.MemoryReceiveChannel[None]) -> None:
    """Reload whenever it is wanted, for ever."""
    async for _ in hangups:
        try:
            if daemon.reloader is not None:
                await daemon.reloader.reload()
        except PenstockError:
            # The log has it.
            continue
        except Exception as error:
            daemon.state.observer.bug("a reload", error)


async def stop_at_the_second(daemon: Daemon, signals: AsyncIterator[int]) -> None:
    """End everything when somebody does not want to wait."""
    async for number in signals:
        if number != signal.SIGHUP:
            daemon.stop_now()
