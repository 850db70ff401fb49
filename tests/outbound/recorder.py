"""Sees every connection that penstock makes, in this process and in those that tests start.

An audit hook of the interpreter looks at each connect: whose code is it, of the task that runs or of those that wait
for it?  penstock connects for a stream in one place only, ``Transport._dial_network``, and there to the address of its
configuration; besides, the commands of its owner look at what runs on this machine.  All else is foreign.
"""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator
from contextlib import suppress
from types import FrameType
from typing import Any

#: The environment variable with the file in which processes note what they find.
NOTES = "OUTBOUND_NOTES"
#: Modules that may connect: to penstock itself, to what listens on the usual ports, to whom the simulation plays.
OWNERS = ("penstock.cli.", "penstock.service.door", "penstock.service.ports", "penstock.simulate.")
#: What makes a connection; who has it made is what counts.
LINK = "penstock.relay.link"

found: list[str] = []
#: How many connections were seen that are as they should be.
good = 0


def hook(event: str, arguments: tuple[Any, ...]) -> None:
    """For sys.addaudithook."""
    if event == "socket.connect" and isinstance(arguments[1], tuple):
        note(arguments[1])


def note(address: tuple[Any, ...]) -> None:
    """Judge a connect to this address, which is about to be made."""
    global good
    names = ((frame, frame.f_globals.get("__name__", "")) for frame in frames())
    ours = [frame for frame, name in names if name.startswith("penstock.") and name != LINK]
    if not ours:
        return
    dialling = next((frame for frame in ours if frame.f_code.co_name == "_dial_network"), None)
    if dialling is not None:
        base = dialling.f_locals["self"].base
        wanted = base.host, base.port or (443 if base.scheme == "https" else 80)
        # a name stands for whatever address it has
        if address[1] == wanted[1] and (address[0] == wanted[0] or not base.host.strip("[]")[:1].isdecimal()):
            good += 1
            return
    elif ours[0].f_globals["__name__"].startswith(OWNERS):
        return
    foreign = f"{ours[0].f_globals['__name__']}.{ours[0].f_code.co_name} connects to {address}"
    found.append(foreign)
    if path := os.environ.get(NOTES):
        with open(path, "a") as notes:
            notes.write(foreign + "\n")


def frames() -> Iterator[FrameType]:
    """Of the running code, innermost first; then of the tasks that wait for it."""
    frame: FrameType | None = sys._getframe(1)
    while frame is not None:
        yield frame
        frame = frame.f_back
    if trio := sys.modules.get("trio"):
        with suppress(RuntimeError):
            nursery = trio.lowlevel.current_task().parent_nursery
            while nursery is not None:
                yield from reversed(list(waiting(nursery.parent_task.coro)))
                nursery = nursery.parent_task.parent_nursery


def waiting(coroutine: Any) -> Iterator[FrameType]:
    """The frames of a suspended coroutine, outermost first."""
    while coroutine is not None and getattr(coroutine, "cr_frame", None) is not None:
        yield coroutine.cr_frame
        coroutine = coroutine.cr_await


def taken() -> list[str]:
    """What was foreign since the last call, here and in processes."""
    taken = found[:]
    found.clear()
    path = os.environ.get(NOTES)
    if path and os.path.exists(path):
        with open(path) as notes:
            taken += [line for line in notes.read().splitlines() if line not in taken]
        os.unlink(path)
    return taken
