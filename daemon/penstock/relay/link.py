"""A byte stream to a backend, as the relay needs it: a cancelled read loses nothing, and a close is a close.

trio's own streams would do, but for two things that were measured: a plain socket that waits first and then reads
64 KiB costs a third less per chunk, and whether an idle connection went stale must be seen without waiting.
"""

from __future__ import annotations

import errno
import os
import socket
from typing import Protocol

import trio

READ_SIZE = 65536
#: Out of descriptors or memory: this process, or the machine.
CAPACITY_ERRNOS = frozenset({errno.EMFILE, errno.ENFILE, errno.ENOMEM, errno.ENOBUFS})


#: A machine that was switched off in a long prefill says nothing, and is noticed after 15 + 3 * 5 seconds of that; one
#: that works acknowledges each probe without its program's doing.
OPTIONS = (
    (socket.IPPROTO_TCP, socket.TCP_NODELAY, 1),
    (socket.SOL_SOCKET, socket.SO_KEEPALIVE, 1),
    (socket.IPPROTO_TCP, socket.TCP_KEEPIDLE, 15),
    (socket.IPPROTO_TCP, socket.TCP_KEEPINTVL, 5),
    (socket.IPPROTO_TCP, socket.TCP_KEEPCNT, 3),
)


class LinkBroken(Exception):
    """The backend's side reset the connection or is unreachable.  Never used for the client's side."""


class Link(Protocol):
    """One connection to a backend; belongs to one stream at a time."""

    async def receive(self) -> bytes:
        """The next bytes, ``b""`` at the end.  A cancelled call has taken nothing.  Raises LinkBroken."""

    def send_now(self, data: memoryview) -> int:
        """Write what the peer accepts without waiting; 0 when that is nothing.  Raises LinkBroken."""

    async def send_some(self, data: memoryview) -> int:
        """Write what the peer accepts, at least one byte; a cancelled call has written nothing.  Raises LinkBroken."""

    def stale(self) -> bool:
        """Whether a connection that nobody uses was closed by its peer, or has bytes that nobody asked for."""

    def close(self) -> None:
        """Close now, without waiting; idempotent."""


class SocketLink:
    """A non-blocking TCP socket."""

    __slots__ = ("_sock",)

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock

    async def receive(self) -> bytes:
        # Waiting first suspends at every read, so that one fast backend cannot hold the event loop.
        while True:
            await trio.lowlevel.wait_readable(self._sock)
            try:
                return self._sock.recv(READ_SIZE)
            except (BlockingIOError, InterruptedError):
                continue
            except OSError as error:
                raise LinkBroken(reason_of(error)) from error

    def send_now(self, data: memoryview) -> int:
        try:
            return self._sock.send(data)
        except (BlockingIOError, InterruptedError):
            return 0
        except OSError as error:
            raise LinkBroken(reason_of(error)) from error

    async def send_some(self, data: memoryview) -> int:
        while True:
            await trio.lowlevel.wait_writable(self._sock)
            if sent := self.send_now(data):
                return sent

    def stale(self) -> bool:
        try:
            self._sock.recv(1)
        except (BlockingIOError, InterruptedError):
            return False
        except OSError:
            return True
        return True

    def close(self) -> None:
        if self._sock.fileno() != -1:
            trio.lowlevel.notify_closing(self._sock)
            self._sock.close()


async def connect(host: str, port: int) -> socket.socket:
    """A connected non-blocking socket.  Raises OSError.

    Names with several addresses are raced by trio's happy eyeballs; an address literal needs no such machinery.
    """
    try:
        family = socket.AF_INET6 if ":" in host else socket.AF_INET
        socket.inet_pton(family, host)
    except OSError:
        stream = await trio.open_tcp_stream(host, port)
        sock = socket.socket(fileno=stream.socket.detach())
    else:
        sock = await _connect_literal(family, host, port)
    try:
        for level, option, value in OPTIONS:
            sock.setsockopt(level, option, value)
    except OSError:
        # some systems refuse it for what is reset already
        sock.close()
        raise
    return sock


async def _connect_literal(family: int, host: str, port: int) -> socket.socket:
    sock = socket.socket(family, socket.SOCK_STREAM | socket.SOCK_NONBLOCK)
    connected = False
    try:
        code = sock.connect_ex((host, port))
        if code == errno.EINPROGRESS:
            # On this machine the handshake is over before the call returns; asking again tells.
            code = sock.connect_ex((host, port))
            if code in (errno.EINPROGRESS, errno.EALREADY):
                await trio.lowlevel.wait_writable(sock)
                code = sock.getsockopt(socket.SOL_SOCKET, socket.SO_ERROR)
            elif code == errno.EISCONN:
                code = 0
        if code:
            raise OSError(code, os.strerror(code))
        connected = True
        return sock
    finally:
        if not connected:
            sock.close()


def exhausted(error: OSError) -> bool:
    """Whether a connection failed for want of a descriptor or memory, of all its addresses or of the last one."""
    cause = error.__cause__
    tried = cause.exceptions if isinstance(cause, BaseExceptionGroup) else (error, cause)
    return any(isinstance(one, OSError) and one.errno in CAPACITY_ERRNOS for one in tried)


def reason_of(error: BaseException) -> str:
    """The readable part of an operating system's error, for a message."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror.lower()
    return str(error) or type(error).__name__
