"""A port for somebody who has to be told one beforehand."""

from __future__ import annotations

import random
import socket
from pathlib import Path

#: The first of those that the kernel gives to connections, and to whoever asks for any.
FIRST_OF_THE_KERNELS = int(Path("/proc/sys/net/ipv4/ip_local_port_range").read_text().split()[0])
_DICE = random.SystemRandom()


def free_port(host: str = "127.0.0.1") -> int:
    """One at which nobody listens, and that nobody else is given by chance before it is used."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    while True:
        port = _DICE.randrange(10_000, FIRST_OF_THE_KERNELS)
        try:
            socket.create_server((host, port), family=family).close()
        except OSError:
            continue
        return port
