"""Listening sockets that somebody else opened and passed on (sd_listen_fds(3)).

Which of them ``server.listen`` means is told by their addresses, whatever their order and names.  Whoever opened them
keeps them open, so that clients wait during a restart instead of being refused.
"""

from __future__ import annotations

import ipaddress
import os
import socket
from collections.abc import Iterable, MutableMapping, Sequence
from contextlib import ExitStack

from penstock.config.addresses import TcpAddress, UnixAddress, parse_listen
from penstock.errors import ConfigError
from penstock.server.listener import tune

#: The first descriptor after stdin, stdout and stderr.
FIRST = 3


def passed(environ: MutableMapping[str, str], first: int = FIRST) -> list[socket.socket]:
    """The sockets that were passed to this process, ready for use; takes their variables out of ``environ``.

    None when none were, or when they are another process's.  Raises ConfigError where one cannot be listened on.
    """
    said = {name: environ.pop(name, "") for name in ("LISTEN_PID", "LISTEN_FDS", "LISTEN_FDNAMES", "LISTEN_PIDFDID")}
    if said["LISTEN_PID"] != str(os.getpid()):
        return []
    if not said["LISTEN_FDS"].isdecimal():
        raise ConfigError([f"LISTEN_FDS={said['LISTEN_FDS']} is no number of sockets"])
    with ExitStack() as on_failure:
        numbers = range(first, first + int(said["LISTEN_FDS"]))
        sockets = [on_failure.enter_context(_adopt(number)) for number in numbers]
        on_failure.pop_all()
    return sockets


def _adopt(descriptor: int) -> socket.socket:
    """Descriptors arrive blocking, and would be passed on to children."""
    try:
        os.set_inheritable(descriptor, False)
        sock = socket.socket(fileno=descriptor)
    except OSError as error:
        raise ConfigError([f"descriptor {descriptor} was passed and is no socket: {error.strerror}"]) from None
    known = sock.family in (socket.AF_INET, socket.AF_INET6, socket.AF_UNIX) and sock.type == socket.SOCK_STREAM
    if not known or not sock.getsockopt(socket.SOL_SOCKET, socket.SO_ACCEPTCONN):
        sock.close()
        raise ConfigError(
            [f"descriptor {descriptor} was passed and accepts no connections; use ListenStream= with Accept=no"]
        )
    sock.setblocking(False)
    tune(sock)
    return sock


def missing(listen: Iterable[str], sockets: Sequence[socket.socket]) -> list[str]:
    """The addresses of ``listen`` that none of the sockets is bound to."""
    bound = {_place_of(sock) for sock in sockets}
    return [text for text in listen if _place(text) not in bound]


def unasked(listen: Iterable[str], sockets: Sequence[socket.socket]) -> list[socket.socket]:
    """The sockets that ``listen`` does not mention."""
    wanted = {_place(text) for text in listen}
    return [sock for sock in sockets if _place_of(sock) not in wanted]


#: IP address and port, or a path.
_Place = tuple[str, int] | str | bytes


def _place(text: str) -> _Place:
    match parse_listen(text):
        case UnixAddress(path):
            return path
        case TcpAddress("localhost", port):
            return "127.0.0.1", port
        case TcpAddress(host, port):
            return str(ipaddress.ip_address(host)), port


def _place_of(sock: socket.socket) -> _Place:
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        assert isinstance(name, str | bytes)
        return name
    return str(ipaddress.ip_address(name[0])), name[1]
