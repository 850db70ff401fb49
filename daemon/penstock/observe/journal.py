"""The log in systemd's journal: one datagram an event, with fields by which ``journalctl`` can select.

The protocol: https://systemd.io/JOURNAL_NATIVE_PROTOCOL/.  A journal that takes nothing costs lines, never time.
"""

from __future__ import annotations

import os
import socket
import struct
from collections.abc import Mapping
from typing import TextIO

from structlog.typing import EventDict, Processor, WrappedLogger

SOCKET = "/run/systemd/journal/socket"
#: Bytes of one field.  A datagram takes about 200 kB, and clients make model names up.
LONGEST = 24 * 1024
PRIORITIES = {"debug": 7, "info": 6, "warning": 4, "error": 3, "critical": 2}

#: Each kind of event by the MESSAGE_ID that it keeps for ever.
KINDS = {
    "listening": "cc7bcaf3476f4a259c314fcb98579d51",
    "reloaded": "936bf493e4bf457bb8f466c8eba6bad3",
    "not reloaded": "f27e49903674450987ab506d4a6a1770",
    "stopping": "59823750d05d41fc8044539630c1b1c3",
    "stream ended": "7ad981cb45314421bc240d81bc666ef0",
    "stream content": "002743666ba542dca383b7494101991a",
    "request refused": "a7d4bf9288d5464caf8d84bdd5976685",
    "target failed, trying the next": "541b8458015a4fc5a61719dfc2d8dbc6",
    "a bug in penstock": "bd7627bce955498392f2b207609dd260",
}
#: Fields with names that others use too; the rest are PENSTOCK_….
NAMES = {"stream": "REQUEST_ID", "model": "MODEL", "dialect": "DIALECT", "reason": "OUTCOME"}


class Journal:
    """Where the datagrams go; what it does not take at once is lost, and counted."""

    def __init__(self, path: str = SOCKET) -> None:
        self._path = path
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self.lost = 0
        self._untold = 0

    def send(self, entry: bytes) -> None:
        """Never waits, never fails."""
        if self._untold and self._sent(lines_lost(self._untold)):
            self._untold = 0
        if not self._sent(entry):
            self.lost += 1
            self._untold += 1

    def close(self) -> None:
        self._sock.close()

    # structlog calls its logger by the name of the level
    debug = info = warning = error = critical = send

    def _sent(self, entry: bytes) -> bool:
        try:
            self._sock.sendto(entry, self._path)
        except OSError:
            return False
        return True


def journal_of(stderr: TextIO, environ: Mapping[str, str], path: str = SOCKET) -> Journal | None:
    """The journal, if ``stderr`` leads there (systemd.exec(5), $JOURNAL_STREAM)."""
    try:
        state = os.fstat(stderr.fileno())
    except (OSError, ValueError):
        return None
    if environ.get("JOURNAL_STREAM") != f"{state.st_dev}:{state.st_ino}" or not os.path.exists(path):
        return None
    return Journal(path)


class Entry:
    """The last processor of an event: its datagram, in which ``render`` makes the MESSAGE."""

    def __init__(self, render: Processor) -> None:
        self._render = render

    def __call__(self, logger: WrappedLogger, name: str, event: EventDict) -> bytes:
        fields = fields_of(event)
        return encode({"MESSAGE": str(self._render(logger, name, event)), **fields})


def fields_of(event: EventDict) -> dict[str, str]:
    """Everything that the event says, but for its sentence and its time, which the journal notes by itself."""
    fields = {"PRIORITY": str(PRIORITIES[event["level"]]), "SYSLOG_IDENTIFIER": "penstock"}
    if kind := KINDS.get(event["event"]):
        fields["MESSAGE_ID"] = kind
    for key, value in event.items():
        if key not in ("event", "level", "timestamp"):
            fields[NAMES.get(key) or f"PENSTOCK_{key.upper()}"] = str(value)
    if target := event.get("target"):
        fields["BACKEND"] = target.partition("/")[0]
    if total := event.get("total"):
        fields["DURATION_MS"] = str(round(total * 1000))
    return fields


def encode(fields: Mapping[str, str]) -> bytes:
    """``NAME=value`` lines; a value of several lines comes with its length."""
    entry = b""
    for name, value in fields.items():
        data = value.encode(errors="replace")[:LONGEST]
        if b"\n" in data:
            entry += b"%b\n%b%b\n" % (name.encode(), struct.pack("<Q", len(data)), data)
        else:
            entry += b"%b=%b\n" % (name.encode(), data)
    return entry


def lines_lost(number: int) -> bytes:
    """What is told when the journal takes entries again."""
    told = {"level": "warning", "event": "lines were lost that the journal did not take", "lost": number}
    return encode({"MESSAGE": f"{number} {told['event']}", **fields_of(told)})
