"""How the owner's commands ask a running daemon: at the address, by the name and with the key that the file says."""

from __future__ import annotations

import json
import socket
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import trio

from penstock.config.addresses import TcpAddress, UnixAddress, parse_listen
from penstock.config.model import Config
from penstock.config.secrets import resolve
from penstock.errors import BackendGarbled, ConfigError, ConnectFailed, ConnectTimeout
from penstock.policy.keys import DIGEST
from penstock.relay.exchange import Exchange
from penstock.relay.link import Link, SocketLink, reason_of
from penstock.relay.transport import Transport

#: The key to show to a daemon that wants one; before the keys of the file.
KEY_VARIABLE = "PENSTOCK_KEY"
#: A daemon on this machine answers at once.
PATIENCE = 2.0
_LARGEST = 1 << 20
#: An address to listen on -> one to connect to.
EVERY = {"0.0.0.0": "127.0.0.1", "::": "::1"}  # noqa: S104


class Door:
    """One listening address of a daemon."""

    def __init__(
        self,
        address: TcpAddress | UnixAddress,
        *,
        names: tuple[str, ...] = (),
        key: str | None = None,
        has_keys: bool = False,
    ) -> None:
        self.address = address
        self._has_keys = has_keys
        headers = [("Authorization", f"Bearer {key}")] if key else []
        if isinstance(address, UnixAddress):
            path = address.path
            self.url = str(address)
            self._transport = Transport("http://localhost", headers=headers, idle=0, dial=lambda: _dial(path))
            return
        here = TcpAddress(EVERY.get(address.host, address.host), address.port)
        # Where others reach it, a daemon answers to the names that the owner gave it, and to no other.
        if names and not here.loopback:
            headers.append(("Host", names[0] if names[0].rpartition(":")[2].isdecimal() else f"{names[0]}:{here.port}"))
        self.url = f"http://{here}"
        self._transport = Transport(self.url, headers=headers, idle=0)

    async def health(self) -> dict[str, Any]:
        """What ``/health`` says; to a stranger only the status.  Raises as :meth:`ask` does."""
        _, told = await self.ask("GET", "/health")
        # Others have a /health too, and none of them says so much to everybody.
        if isinstance(told, dict) and "status" in told and ("version" in told or self._has_keys):
            return told
        raise BackendGarbled(f"what answers on {self.url} is no penstock", "schema")

    async def ask(self, method: str, path: str, patience: float = PATIENCE) -> tuple[int, Any]:
        """Status and JSON of an answer.  Raises ConnectFailed, ConnectTimeout, BackendGarbled, BackendTruncated."""
        with trio.move_on_after(patience):
            exchange = await self.open(method, path)
            try:
                response = await exchange.head()
                body = bytearray()
                while (data := await exchange.receive()) and len(body) <= _LARGEST:
                    body += data
            finally:
                exchange.close()
            try:
                return response.status_code, json.loads(body)
            except ValueError:
                raise BackendGarbled(f"what answers on {self.url} is no penstock", "parse") from None
        raise ConnectTimeout(f"{self.url} did not answer {path} within {patience:g} s")

    def outgoing(self, method: str, path: str, body: bytes = b"") -> bytes:
        """A request with the name and the key that are wanted there."""
        return self._transport.outgoing(method, path, body)

    async def open(self, method: str, path: str, body: bytes = b"") -> Exchange:
        """A request that was sent; the caller closes it.  Raises ConnectFailed."""
        exchange = await self._transport.connect(self.outgoing(method, path, body))
        sent = False
        try:
            await exchange.send()
            sent = True
        finally:
            if not sent:
                exchange.close()
        return exchange


def doors(config: Config, environ: Mapping[str, str]) -> list[Door]:
    """Those of the daemon of this configuration; none to a port that the system chooses."""
    key = owner_key(config, environ)
    addresses = [parse_listen(text) for text in config.server.listen]
    return [
        Door(address, names=config.server.allowed_hosts, key=key, has_keys=bool(config.keys))
        for address in addresses
        if isinstance(address, UnixAddress) or address.port
    ]


def owner_key(config: Config, environ: Mapping[str, str]) -> str | None:
    """A key that may see all: ``$PENSTOCK_KEY``, or the first with ``admin`` that is more than a digest in the file."""
    if given := environ.get(KEY_VARIABLE):
        return given
    directory = environ.get("CREDENTIALS_DIRECTORY")
    for key in config.keys:
        if key.admin and not key.key.reveal().startswith(DIGEST):
            try:
                return resolve(key.key, environ, Path(directory) if directory else None).reveal().strip()
            except ConfigError:
                # kept where only the service can read it
                continue
    return None


async def _dial(path: str) -> Link:
    try:
        stream = await trio.open_unix_socket(path)
    except FileNotFoundError:
        raise ConnectFailed(f"there is no socket {path}") from None
    except OSError as error:
        raise ConnectFailed(f"cannot connect to unix:{path}: {reason_of(error)}") from error
    return SocketLink(socket.socket(fileno=stream.socket.detach()))
