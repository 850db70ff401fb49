"""The route of WebSocket chats: the handshake, then the socket in the request's own task."""

from __future__ import annotations

import trio
from quart import Blueprint, current_app, request
from wsproto.frame_protocol import CloseReason

from penstock.errors import ClientGone
from penstock.server import handshake
from penstock.server.asgi import Work
from penstock.server.chats import Chats
from penstock.server.connection import STATE_KEY, Connection
from penstock.server.messaging import WebSocket
from penstock.server.methods import not_so
from penstock.server.sink import Sink
from penstock.server.state import KEY, State

routes = Blueprint("websocket", __name__)


@routes.get("/api/ws/chat")
async def chat() -> Work:
    if request.method == "HEAD":
        raise not_so()
    headers = handshake.accept(request.scope["http_version"], request.scope["headers"])
    state: State = current_app.config[KEY]
    state.refuse_while_draining()
    connection: Connection = request.scope["state"][STATE_KEY]
    path, model = request.path, request.args.get("model", "")

    async def run(sink: Sink) -> None:
        try:
            early = await connection.upgrade(headers)
        except ClientGone:
            return
        socket = WebSocket(connection, state.config)
        async with trio.open_nursery() as nursery:
            chats = Chats(socket, state, nursery, path=path, model=model)
            nursery.start_soon(chats.retire)
            try:
                await socket.listen(early, chats.hear, chats.at_work)
            except Exception as error:
                state.bug(f"WebSocket {path}", error)
                socket.close(CloseReason.INTERNAL_ERROR, "a bug in penstock; its log has the details")
            chats.leave()
            if socket.fault is not None:
                state.observer.refused("WebSocket", path, socket.fault)
            await socket.take_leave()
            nursery.cancel_scope.cancel(reason="the WebSocket is closed")

    return Work(run)
