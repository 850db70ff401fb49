"""Two machines on one cable, which can be pulled: network namespaces with a veth pair, made by root.

The test runs on the near machine.  Who is on the far one vanishes without a FIN or a reset when the cable is pulled.
"""

from __future__ import annotations

import ctypes
import os
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager

import pytest

#: Addresses for documentation (RFC 5737): nobody else is there.
NEAR, FAR = "192.0.2.1", "192.0.2.2"
CLONE_NEWNET = 0x40000000


class Cable:
    """``far`` is the other machine: sockets that are made in its block are there."""

    def __init__(self) -> None:
        name = f"penstock-{os.getpid()}"
        self._near, self._far = f"{name}-near", f"{name}-far"

    def lay(self) -> None:
        for namespace in (self._near, self._far):
            ip("netns", "add", namespace)
            ip("-n", namespace, "link", "set", "lo", "up")
        ip("-n", self._near, "link", "add", "cable", "type", "veth", "peer", "name", "cable", "netns", self._far)
        for namespace, address in ((self._near, NEAR), (self._far, FAR)):
            ip("-n", namespace, "address", "add", f"{address}/24", "dev", "cable")
            ip("-n", namespace, "link", "set", "cable", "up")

    def pull(self) -> None:
        """Nothing arrives any more, in neither direction, and nobody is told."""
        ip("-n", self._far, "link", "set", "cable", "down")

    def clear(self) -> None:
        for namespace in (self._near, self._far):
            subprocess.run(["ip", "netns", "delete", namespace], check=False, capture_output=True)

    @contextmanager
    def near(self) -> Iterator[None]:
        with inside(self._near):
            yield

    @contextmanager
    def far(self) -> Iterator[None]:
        with inside(self._far):
            yield


def ip(*words: str) -> None:
    """The command of iproute2.  Raises CalledProcessError."""
    subprocess.run(["ip", *words], check=True, capture_output=True, text=True)


@contextmanager
def inside(namespace: str) -> Iterator[None]:
    """This thread is in that network until the end of the block (setns(2))."""
    here = os.open("/proc/thread-self/ns/net", os.O_RDONLY | os.O_CLOEXEC)
    there = os.open(f"/run/netns/{namespace}", os.O_RDONLY | os.O_CLOEXEC)
    try:
        enter(there)
        yield
    finally:
        enter(here)
        os.close(here)
        os.close(there)


def enter(namespace: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.setns(namespace, CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "setns")


@contextmanager
def laid() -> Iterator[Cable]:
    """A cable with this thread at its near end; skips where there can be none."""
    if os.geteuid() != 0:
        pytest.skip("only root can make a network of its own")
    cable = Cable()
    try:
        try:
            cable.lay()
        except FileNotFoundError:
            pytest.skip("ip is missing: apt-get install iproute2")
        except subprocess.CalledProcessError as error:
            pytest.skip(f"no network of its own can be made here: {error.stderr.strip()}")
        with cable.near():
            yield cable
    finally:
        cable.clear()
