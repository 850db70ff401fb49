"""Runs within the sandbox of a unit, and prints what each attempt there came to: ``{"name": "done" or an errno}``."""

from __future__ import annotations

import ctypes
import errno
import json
import mmap
import os
import socket
import sys
import tempfile
import threading
from collections.abc import Callable
from pathlib import Path

LIBC = ctypes.CDLL(None, use_errno=True)
#: Of mount(2) and unshare(2).
MS_BIND, CLONE_NEWUSER = 4096, 0x10000000


def outcome(attempt: Callable[[], object]) -> str:
    try:
        attempt()
    except OSError as error:
        return errno.errorcode.get(error.errno or 0, str(error))
    return "done"


def write(path: str) -> Callable[[], object]:
    return lambda: Path(path).write_text("x")


def called(result: int) -> None:
    if result:
        raise OSError(ctypes.get_errno(), "refused")


def thread() -> None:
    worker = threading.Thread(target=lambda: None)
    worker.start()
    worker.join()


def scratch() -> None:
    with tempfile.NamedTemporaryFile() as file:
        file.write(b"x")


HOME = sys.argv[1]
ATTEMPTS: dict[str, Callable[[], object]] = {
    "a socket of IPv4": lambda: socket.socket(socket.AF_INET).close(),
    "a socket of IPv6": lambda: socket.socket(socket.AF_INET6).close(),
    "a unix socket": lambda: socket.socket(socket.AF_UNIX).close(),
    "a thread": thread,
    "a scratch file": scratch,
    "a netlink socket": lambda: socket.socket(socket.AF_NETLINK, socket.SOCK_RAW),
    "a packet socket": lambda: socket.socket(socket.AF_PACKET, socket.SOCK_RAW),
    "writing into /etc": write("/etc/probe"),
    "writing into /opt": write("/opt/probe"),
    "writing into /usr": write("/usr/probe"),
    "writing into /var": write("/var/probe"),
    "writing into a home": write(f"{HOME}/probe"),
    "writing to the kernel": write("/proc/sys/kernel/domainname"),
    "reading a home": lambda: os.listdir(HOME),
    "reading the root's home": lambda: os.listdir("/root"),
    "seeing other processes": lambda: Path("/proc/1/cmdline").read_bytes(),
    "becoming root": lambda: os.setuid(0),
    "a mount": lambda: called(LIBC.mount(b"/usr", b"/mnt", None, MS_BIND, None)),
    "a namespace": lambda: called(LIBC.unshare(CLONE_NEWUSER)),
    "memory to write and run": lambda: mmap.mmap(-1, 4096, prot=mmap.PROT_READ | mmap.PROT_WRITE | mmap.PROT_EXEC),
}

if __name__ == "__main__":
    print(json.dumps({name: outcome(attempt) for name, attempt in ATTEMPTS.items()}))
