"""Performing one plan on one connection: wait for a slot, sleep, send, and stop the moment the peer leaves."""

from __future__ import annotations

import time
from collections.abc import Iterator

import msgspec
import trio

from penstock.simulate.connection import Connection
from penstock.simulate.metronome import Metronome
from penstock.simulate.plan import End, Step
from penstock.simulate.records import Records, RequestRecord


class Performance(msgspec.Struct, frozen=True, kw_only=True):
    """One answer about to be given."""

    connection: Connection
    record: RequestRecord
    records: Records
    metronome: Metronome
    slots: trio.Semaphore | None
    unread: bool  #: the request's body was left in the kernel
    runaway: bool  #: go on to the end of the plan whoever leaves

    async def run(self, steps: Iterator[Step]) -> End | None:
        """What becomes of the connection; None when the peer left before the plan was done."""
        how = "stopped"
        end: End | None = None
        try:
            async with trio.open_nursery() as nursery:
                scope = nursery.cancel_scope
                nursery.start_soon(self._watch, scope)
                end = await self._in_slot(steps)
                scope.cancel()
            how = "done" if end else "peer_closed"
        finally:
            self.records.ended(self.record, how)
        return end

    async def _watch(self, scope: trio.CancelScope) -> None:
        await self.connection.peer_leaves(unread=self.unread)
        if not self.runaway:
            scope.cancel()

    async def _in_slot(self, steps: Iterator[Step]) -> End | None:
        if self.slots is None:
            return await self._play(steps)
        self.records.queued(+1)
        try:
            await self.slots.acquire()
        finally:
            self.records.queued(-1)
        try:
            return await self._play(steps)
        finally:
            self.slots.release()

    async def _play(self, steps: Iterator[Step]) -> End | None:
        start = self.record.slot_at = time.monotonic()
        there = True
        for at, data, tokens, end in steps:
            if start + at > time.monotonic():
                await self.metronome.until(start + at)
            elif data:
                # as fast as possible is no reason to starve the others
                await trio.lowlevel.checkpoint()
            if there and data:
                there = await self.connection.send(data)
                if not there and not self.runaway:
                    return None
            self.records.sent(self.record, len(data) if there else 0, tokens)
            if end is not None:
                return end
        raise AssertionError("a plan's last step has an end or is never due")
