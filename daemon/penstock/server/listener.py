"""The accept loop: sockets in, one bounded task per connection, nothing left after it.

A wake-up accepts all that wait (bounded), or 64 simultaneous clients would cost 64 turns of the event loop.
"""

from __future__ import annotations

import errno
import os
import socket
import stat
import struct
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from contextlib import ExitStack, suppress
from functools import partial

import trio
from hypercorn.config import Config as HypercornConfig
from hypercorn.trio.worker_context import WorkerContext
from hypercorn.typing import AppWrapper

from penstock.config.model import Config
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import ConfigError, Forbidden, RequestError, TooManyConnections
from penstock.policy.guard import may_connect
from penstock.relay.link import CAPACITY_ERRNOS
from penstock.server.connection import Connection
from penstock.server.room import Room

BACKLOG = 1024
ACCEPT_AT_ONCE = 64
#: Out of descriptors or memory: wait for connections to end instead of spinning.
CAPACITY_PAUSE = 0.1
#: The kernel gives up on a client that acknowledges nothing; a back-stop, since it also hits a very slow reader.
USER_TIMEOUT = 90.0
BUSY = (
    b"HTTP/1.1 503 Service Unavailable\r\nContent-Type: application/json\r\nRetry-After: %g\r\nConnection: close\r\n"
    b"Content-Length: %d\r\n\r\n%b"
)

#: Who is at the other end: an address, or at a unix socket a user.
Peer = str | int


def bind_all(addresses: Iterable[str]) -> list[socket.socket]:
    """All of them, or none.  Raises ConfigError."""
    with ExitStack() as on_failure:
        sockets = [on_failure.enter_context(bind(address)) for address in addresses]
        on_failure.pop_all()
    return sockets


def bind(address: str) -> socket.socket:
    """A listening non-blocking socket for ``HOST:PORT``, ``[::1]:PORT`` or ``unix:/path``.  Raises ConfigError."""
    if address.startswith("unix:"):
        return _bind_unix(address.removeprefix("unix:"))
    host, _, port = address.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        tune(sock)
        sock.bind((host, int(port)))
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        todo = "; penstock doctor says who holds it" if error.errno == errno.EADDRINUSE else ""
        raise ConfigError([f"cannot listen on {address}: {error.strerror}{todo}"]) from error
    return sock


def tune(sock: socket.socket) -> None:
    """What every connection inherits from its listening socket."""
    if sock.family != socket.AF_UNIX:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT, round(USER_TIMEOUT * 1000))
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)


def _bind_unix(path: str) -> socket.socket:
    sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    try:
        _remove_dead(path)
        # The mode must be right from the first moment, so it cannot be set afterwards.
        umask = os.umask(0o177)
        try:
            sock.bind(path)
        finally:
            os.umask(umask)
        sock.listen(BACKLOG)
    except OSError as error:
        sock.close()
        raise ConfigError([f"cannot listen on unix:{path}: {error.strerror}"]) from error
    return sock


def _remove_dead(path: str) -> None:
    """Remove a socket that nobody listens on; never anything else."""
    with suppress(FileNotFoundError):
        if not stat.S_ISSOCK(os.lstat(path).st_mode):
            raise OSError(errno.EEXIST, "a file that is no socket is in the way")
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(path)
            except ConnectionRefusedError:
                os.unlink(path)
            else:
                raise OSError(errno.EADDRINUSE, "another process listens there")


def address_of(sock: socket.socket) -> str:
    """The bound address, as a client would write it."""
    name = sock.getsockname()
    if sock.family == socket.AF_UNIX:
        # An abstract name is bytes that begin with NUL.
        return f"unix:{name}" if isinstance(name, str) else f"unix:@{os.fsdecode(name[1:])}"
    return f"http://[{name[0]}]:{name[1]}" if sock.family == socket.AF_INET6 else f"http://{name[0]}:{name[1]}"


def peer_uid(sock: socket.socket) -> int:
    """The user at the other end of a unix socket, as the kernel knows it (unix(7), SO_PEERCRED)."""
    _pid, uid, _gid = struct.unpack("iII", sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12))
    assert isinstance(uid, int)
    return uid


def name_of(peer: Peer) -> str:
    """A peer as the log calls it."""
    return f"user {peer}" if isinstance(peer, int) else peer


class Listener:
    """All listening sockets and their connections; ``run`` it in the service's nursery.

    ``passed`` are the sockets that somebody else opened: their paths stay, and their modes say who may connect.
    ``exhausted`` is called when no connection can be accepted for want of a descriptor, ``refused`` with the peer when
    one is turned away, or what came on it was no request.
    """

    def __init__(
        self,
        sockets: list[socket.socket],
        app: AppWrapper,
        hypercorn: HypercornConfig,
        config: Config,
        passed: Sequence[socket.socket] = (),
        *,
        exhausted: Callable[[], None],
        refused: Callable[[str, RequestError], None],
    ) -> None:
        self._exhausted = exhausted
        self._refused = refused
        self.sockets = sockets
        self._passed = frozenset(passed)
        self._app = app
        self._hypercorn = hypercorn
        self._config = config
        self._context = WorkerContext(None)
        self._connections: dict[Connection, Peer] = {}
        self._of_peer: Counter[Peer] = Counter()
        self._accepting = trio.CancelScope()
        self.room = Room()

    @property
    def connections(self) -> int:
        return len(self._connections)

    def configure(self, hypercorn: HypercornConfig, config: Config) -> None:
        """Treat connections that come from now on as this configuration says."""
        self._hypercorn = hypercorn
        self._config = config

    async def run(self) -> None:
        """Accept until :meth:`drain`, then return when the last connection is gone."""
        async with trio.open_nursery() as nursery:
            with self._accepting:
                async with trio.open_nursery() as acceptors:
                    for sock in self.sockets:
                        acceptors.start_soon(self._accept, sock, nursery, name=f"accept {address_of(sock)}")

    async def drain(self) -> None:
        """Accept nothing more, close idle connections, let busy ones end with their answer."""
        self.close()
        await self._context.terminated.set()
        for connection in list(self._connections):
            connection.drain()

    def close(self) -> None:
        """Accept nothing more; idempotent."""
        self._accepting.cancel(reason="draining")
        for sock in self.sockets:
            if sock.fileno() != -1:
                path = sock.getsockname() if sock.family == socket.AF_UNIX and sock not in self._passed else None
                trio.lowlevel.notify_closing(sock)
                sock.close()
                if path:
                    with suppress(FileNotFoundError):
                        os.unlink(path)

    async def _accept(self, listening: socket.socket, nursery: trio.Nursery) -> None:
        while listening.fileno() != -1:
            try:
                await trio.lowlevel.wait_readable(listening)
            except trio.ClosedResourceError:
                return
            for _ in range(ACCEPT_AT_ONCE):
                try:
                    sock, address = listening.accept()
                except BlockingIOError:
                    break
                except OSError as error:
                    if error.errno in CAPACITY_ERRNOS:
                        self._exhausted()
                        await trio.sleep(CAPACITY_PAUSE)
                    # anything else is the client's: it left before it was accepted
                    break
                sock.setblocking(False)
                peer = peer_uid(sock) if sock.family == socket.AF_UNIX else address[0]
                self._admit(sock, peer, nursery.start_soon, anybody=listening in self._passed)

    def _admit(self, sock: socket.socket, peer: Peer, start: Callable[..., None], *, anybody: bool) -> None:
        limits = self._config.limits
        if isinstance(peer, int) and not anybody and not may_connect(peer, os.geteuid()):
            self._refused(name_of(peer), Forbidden("the unix socket is for penstock's own user and for root"))
            sock.close()
            return
        if len(self._connections) >= limits.connections:
            why = f"penstock has as many connections as limits.connections allows ({limits.connections})"
            self._turn_away(sock, peer, why)
            return
        if self._of_peer[peer] >= limits.peer_connections:
            why = f"this peer has as many connections as limits.peer_connections allows ({limits.peer_connections})"
            self._turn_away(sock, peer, why)
            return
        connection = Connection(
            self._app,
            self._hypercorn,
            self._context,
            sock,
            limits=limits,
            write=self._config.timeouts.write,
            room=self.room,
            refused=partial(self._refused, name_of(peer)),
            closed=self._gone,
        )
        self._connections[connection] = peer
        self._of_peer[peer] += 1
        start(connection.run)

    def _turn_away(self, sock: socket.socket, peer: Peer, why: str) -> None:
        error = TooManyConnections(why)
        self._refused(name_of(peer), error)
        body = NORTHBOUND["openai"].error(error)
        with suppress(OSError):
            sock.send(BUSY % (error.retry_after, len(body), body))
        sock.close()

    def _gone(self, connection: Connection) -> None:
        peer = self._connections.pop(connection)
        self._of_peer[peer] -= 1
        if not self._of_peer[peer]:
            # or everybody who was ever here would be remembered
            del self._of_peer[peer]
