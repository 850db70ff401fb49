"""A link in TLS, with the promises of a plain one.

trio's ``SSLStream`` is broken for good when a write is cancelled in the middle, and cannot be looked at without
waiting.  The standard library's own non-blocking TLS socket can do both: OpenSSL keeps what is half done, and goes on
when the call is made again.
"""

from __future__ import annotations

import socket
import ssl
from collections.abc import Callable
from typing import TypeVar

import trio

from penstock.relay.link import READ_SIZE, LinkBroken, SocketLink, reason_of

#: Encrypted in one go, as large as a record may be (RFC 8446 5.1): a long request does not hold the event loop.
RECORD = 16384

T = TypeVar("T")


def client_context() -> ssl.SSLContext:
    """Trusts the authorities of the system, or those of ``$SSL_CERT_FILE``; checks names."""
    context = ssl.create_default_context()
    context.set_alpn_protocols(["http/1.1"])
    context.options |= ssl.OP_NO_RENEGOTIATION
    return context


async def secured(sock: socket.socket, context: ssl.SSLContext, host: str) -> TlsLink:
    """Take a connected socket over, and shake hands on it.

    Raises LinkBroken: what answers does not speak TLS, or is not the one that was meant.
    """
    made: TlsLink | None = None
    whole = False
    try:
        # What is reset already would be wrapped half, and not be closed.
        sock.getpeername()
        made = TlsLink(sock, context, host)
        await made.shake_hands()
        whole = True
        return made
    except OSError as error:
        raise broken(error) from error
    finally:
        if not whole:
            (made or sock).close()


class TlsLink(SocketLink):
    """A non-blocking TLS socket; :func:`secured` makes one.

    It is closed as a plain one is, without TLS's farewell, which nobody would read.
    """

    __slots__ = ()

    _sock: ssl.SSLSocket

    def __init__(self, sock: socket.socket, context: ssl.SSLContext, host: str) -> None:
        # To a socket that blocks as Python sees it, OpenSSL would wait inside of the call.
        sock.setblocking(False)
        super().__init__(context.wrap_socket(sock, server_hostname=host, do_handshake_on_connect=False))

    async def shake_hands(self) -> None:
        """Comes before all else.  Raises LinkBroken."""
        await self._until_done(self._sock.do_handshake)

    async def receive(self) -> bytes:
        if self._sock.pending():
            await trio.lowlevel.checkpoint()
        else:
            await trio.lowlevel.wait_readable(self._sock)
        return await self._until_done(lambda: self._sock.recv(READ_SIZE))

    def send_now(self, data: memoryview) -> int:
        # A write that has to wait must be made again with the same bytes, and so it is.
        try:
            return self._sock.send(data[:RECORD])
        except (ssl.SSLWantReadError, ssl.SSLWantWriteError):
            return 0
        except OSError as error:
            raise broken(error) from error

    async def send_some(self, data: memoryview) -> int:
        await trio.lowlevel.wait_writable(self._sock)
        return await self._until_done(lambda: self._sock.send(data[:RECORD]))

    def stale(self) -> bool:
        try:
            self._sock.recv(1)
        except ssl.SSLWantReadError:
            return False
        except OSError:
            return True
        return True

    async def _until_done(self, step: Callable[[], T]) -> T:
        """Repeat a step until it need not wait; a cancelled call has done no step whole."""
        while True:
            try:
                return step()
            except ssl.SSLWantReadError:
                await trio.lowlevel.wait_readable(self._sock)
            except ssl.SSLWantWriteError:
                await trio.lowlevel.wait_writable(self._sock)
            except OSError as error:
                raise broken(error) from error


def broken(error: OSError) -> LinkBroken:
    """What went wrong, in words."""
    match error:
        case ssl.SSLCertVerificationError():
            return LinkBroken(f"its certificate is not trusted: {error.verify_message.rstrip('.')}")
        case ssl.SSLError(reason="WRONG_VERSION_NUMBER" | "HTTP_REQUEST" | "PACKET_LENGTH_TOO_LONG"):
            return LinkBroken("what answers does not speak TLS; is its url one with http://?")
        case ssl.SSLError(reason=str(reason)):
            return LinkBroken(reason.lower().replace("_", " "))
        case _:
            return LinkBroken(reason_of(error))
