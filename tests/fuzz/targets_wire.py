"""Targets below the languages: an answer's HTTP, a request's head at the door, a WebSocket's handshake and frames."""

from __future__ import annotations

from collections.abc import Iterable
from hashlib import sha256
from typing import Any, cast

import h11
import trio
import trio.testing
from telling import Target, pieces, refused
from wsproto.connection import Connection as Protocol
from wsproto.connection import ConnectionType
from wsproto.events import CloseConnection, Ping, Pong

from penstock.config.load import loads
from penstock.config.model import Server
from penstock.dialects import websocket
from penstock.dialects.registry import NORTHBOUND
from penstock.dialects.websocket import Create, Refused, websocket_north
from penstock.errors import BackendGarbled, BackendTruncated, ConnectFailed, RequestError
from penstock.policy import guard
from penstock.policy.keys import NOBODY, Key, Keys, presented
from penstock.relay.exchange import Exchange
from penstock.relay.link import Link
from penstock.server import handshake
from penstock.server.connection import Connection
from penstock.server.framing import checked
from penstock.server.messaging import WebSocket
from penstock.server.room import Room

#: A page that is listed, and the one key.
PAGE = b"http://page.example:3000"
RULES = guard.rules_of([("127.0.0.1", 11435)], Server(allowed_origins=(PAGE.decode(),)))
KEYS = Keys([Key(name="x", digest=sha256(b"sk-x").digest(), routes=("*",))])
CONFIG = loads('[limits]\nbody = "1KiB"\nfragments = 6\npings = 5\n', "f.toml")


class Line:
    """A connection on which these pieces come, whoever reads them, and everything is taken."""

    is_waiting = False

    def __init__(self, cut: Iterable[bytes]) -> None:
        self._cut = iter(cut)
        self.room = Room()
        self.sent = b""

    async def receive(self) -> bytes:
        await trio.lowlevel.checkpoint()
        return next(self._cut, b"")

    def put(self, data: bytes) -> bool:
        self.sent += data
        return True

    async def flush(self, write: float) -> None:
        await trio.lowlevel.checkpoint()

    def linger(self) -> None:
        pass

    def close(self) -> None:
        pass


def http(data: bytes) -> None:
    """A backend's answer, from its first byte to the end of its body."""
    body, cut = pieces(data)
    once, again = trio.run(_answer, [body]), trio.run(_answer, cut)
    assert once == again
    status, payload, ended = once
    if ended is True and (other := _as_h11_reads(body)) is not None:
        assert (status, payload) == other


async def _answer(cut: list[bytes]) -> tuple[int | None, bytes, object]:
    """Status, body, and whether that came to its end, or what it failed with."""
    exchange = Exchange(cast(Link, Line(cut)), b"", lambda exchange: None, reused=False)
    status, payload = None, b""
    try:
        status = (await exchange.head()).status_code
        while piece := await exchange.receive():
            payload += piece
    except (BackendGarbled, BackendTruncated, ConnectFailed) as error:
        return status, payload, (error.code, getattr(error, "layer", None))
    finally:
        exchange.close()
    return status, payload, exchange.ended


def _as_h11_reads(body: bytes) -> tuple[int, bytes] | None:
    """The same by a reader of somebody else's; None where that finds a fault."""
    connection = h11.Connection(h11.CLIENT, max_incomplete_event_size=1 << 20)
    connection.send(h11.Request(method="GET", target="/", headers=[("Host", "h")]))
    connection.send(h11.EndOfMessage())
    connection.receive_data(body)
    connection.receive_data(b"")
    status, payload = 0, b""
    try:
        while True:
            match connection.next_event():
                case h11.Response() as response:
                    status = response.status_code
                case h11.Data() as piece:
                    payload += bytes(piece.data)
                case h11.EndOfMessage():
                    return status, payload
                case h11.InformationalResponse():
                    pass
                case _:
                    return None
    except h11.RemoteProtocolError:
        return None


def door(data: bytes) -> None:
    """A request's head, as far as to the decision whether it may come in, and whose it is."""
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(data)
    try:
        event = connection.next_event()
    except h11.RemoteProtocolError:
        return
    if not isinstance(event, h11.Request):
        return
    rest, _ = connection.trailing_data
    try:
        request = checked(event, data[: len(data) - len(rest)])
    except RequestError as error:
        refused(NORTHBOUND["openai"], error)
        return
    assert request.target.startswith(b"/")
    headers = list(request.headers)
    asked = guard.read(request.method.decode(), headers)
    refusal = guard.refusal(RULES, asked)
    if refusal is None:
        assert asked.hosts[0].lower() in (b"localhost:11435", b"127.0.0.1:11435")
        assert set(asked.origins) <= {PAGE} and (asked.origins or set(asked.sites) <= {b"none", b"same-origin"})
        told = guard.preflight(RULES, asked, headers) or {}
        assert all(text.isascii() and text.isprintable() for pair in told.items() for text in pair)
    else:
        refused(NORTHBOUND["openai"], refusal)
    assert (b"access-control-allow-origin", PAGE) not in guard.cors(RULES, asked) or asked.origins == [PAGE]
    assert (KEYS.holder(headers) is NOBODY) == (presented(headers) != {b"sk-x"})


def upgrade(data: bytes) -> None:
    """The head of a handshake."""
    version, *lines = data.split(b"\n")
    headers = [(name.strip().lower(), value.strip()) for name, _, value in (line.partition(b":") for line in lines)]
    try:
        answer = handshake.accept(version.decode("latin-1"), headers)
    except RequestError as error:
        refused(websocket_north, error)
        return
    assert handshake.is_handshake(headers)
    assert not any(b"\r" in value or b"\n" in value for pair in answer for value in pair)


def frames(data: bytes) -> None:
    """A WebSocket's frames and the messages in them."""
    body, cut = pieces(data)
    once = trio.run(_socket, [body], clock=trio.testing.MockClock())
    assert once == trio.run(_socket, cut, clock=trio.testing.MockClock())


async def _socket(cut: list[bytes]) -> Any:
    """What is heard, how it ended, and the pongs."""
    line = Line(cut)
    socket = WebSocket(cast(Connection, line), CONFIG)
    heard: list[str] = []
    await socket.listen(b"", heard.append, lambda: False)
    await socket.take_leave()
    for text in heard:
        assert len(text.encode()) <= CONFIG.limits.body
    assert line.room.held == 0
    client = Protocol(ConnectionType.CLIENT)
    client.receive_data(line.sent)
    told = [event for event in client.events() if not isinstance(event, Ping)]
    assert all(isinstance(event, CloseConnection | Pong) for event in told)
    assert not any(isinstance(event, CloseConnection) for event in told[:-1])
    return heard, told, socket.fault and socket.fault.message


def commands(data: bytes) -> None:
    """What a message of a WebSocket may say."""
    match websocket.read(data.decode("utf-8", "replace")):
        case Create(asked=asked):
            try:
                websocket_north.request(asked)  # type: ignore[attr-defined]
            except RequestError as error:
                refused(websocket_north, error)
        case Refused(error=error):
            refused(websocket_north, error)
        case _:
            pass


TARGETS_WIRE: dict[str, Target] = {
    "http": http,
    "door": door,
    "websocket-handshake": upgrade,
    "websocket-frames": frames,
    "websocket-messages": commands,
}
