"""Who listens on an address of this machine, as the kernel tells it (proc(5))."""

from __future__ import annotations

import ipaddress
import os
import struct
from collections.abc import Iterator, Sequence
from pathlib import Path

import msgspec

from penstock.config.addresses import TcpAddress, UnixAddress

PROC = Path("/proc")
#: TCP_LISTEN of the kernel's tcp_states.h, as /proc/net/tcp shows it.
_LISTENING = "0A"


class Process(msgspec.Struct, frozen=True):
    pid: int
    command: tuple[str, ...]

    @property
    def name(self) -> str:
        """What people call it: of an interpreter, the module or script that it runs."""
        words = list(self.command)
        if words and os.path.basename(words[0]).startswith("python"):
            run = [word for word in words[1:] if not word.startswith("-")]
            words = run or words
        return os.path.basename(words[0]) if words else "?"

    def __str__(self) -> str:
        return f"{self.name} (pid {self.pid})"


def holders(address: TcpAddress | UnixAddress, proc: Path = PROC) -> list[Process] | None:
    """The processes that listen there; empty where they are another user's, None where nobody does."""
    inodes = set(_unix(address, proc) if isinstance(address, UnixAddress) else _tcp(address, proc))
    return sorted(_owners(inodes, proc), key=lambda process: process.pid) if inodes else None


def _tcp(address: TcpAddress, proc: Path) -> Iterator[str]:
    wanted = [ipaddress.ip_address(address.host)] if address.host != "localhost" else _LOCAL
    for table in ("tcp", "tcp6"):
        for row in _rows(proc / "net" / table):
            host, port = row[1].rsplit(":", 1)
            if row[3] == _LISTENING and int(port, 16) == address.port and any(_meet(_ip(host), ip) for ip in wanted):
                yield row[9]


_LOCAL = [ipaddress.ip_address("127.0.0.1"), ipaddress.ip_address("::1")]
_Ip = ipaddress.IPv4Address | ipaddress.IPv6Address


def _ip(text: str) -> _Ip:
    """The kernel's hexadecimal words, each in the machine's order of bytes."""
    words = [int(text[start : start + 8], 16) for start in range(0, len(text), 8)]
    return ipaddress.ip_address(struct.pack(f"={len(words)}I", *words))


def _meet(bound: _Ip, wanted: _Ip) -> bool:
    """Whether a listener on the one is in the way of a listener on the other."""
    if bound.version == 6 and bound.is_unspecified:
        # a socket for every IPv6 address takes IPv4 in as well, unless it was told not to
        return True
    return bound.version == wanted.version and (bound == wanted or bound.is_unspecified or wanted.is_unspecified)


def _unix(address: UnixAddress, proc: Path) -> Iterator[str]:
    for row in _rows(proc / "net/unix"):
        # of the connections to it none carries the flag __SO_ACCEPTCON
        if len(row) == 8 and row[7] == address.path and int(row[3], 16) & 0x10000:
            yield row[6]


def _rows(table: Path) -> Iterator[list[str]]:
    try:
        lines = table.read_text().splitlines()
    except OSError:
        return
    for line in lines[1:]:
        yield line.split()


def _owners(inodes: set[str], proc: Path) -> Iterator[Process]:
    wanted = {f"socket:[{inode}]" for inode in inodes}
    for directory in proc.iterdir():
        if directory.name.isdecimal() and not wanted.isdisjoint(_open_files(directory / "fd")):
            try:
                command = (directory / "cmdline").read_bytes().decode(errors="replace")
            except OSError:
                # it has just ended
                continue
            yield Process(int(directory.name), tuple(command.rstrip("\0").split("\0")))


def _open_files(directory: Path) -> Sequence[str]:
    """What a process has open; nothing where it is another user's, or has ended."""
    found = []
    try:
        for entry in os.scandir(directory):
            try:
                found.append(os.readlink(entry.path))
            except OSError:
                # closed in the meantime
                continue
    except OSError:
        return found
    return found
