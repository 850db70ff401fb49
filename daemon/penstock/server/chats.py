"""The chats of one WebSocket: commands in, each chat a stream of its own in a task of its own.

A chat has its id from its command to its last frame, and the socket has no more of them than ``limits.chats``.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import suppress

import msgspec
import trio
from wsproto.frame_protocol import CloseReason

from penstock.chat.conversation import Conversation
from penstock.chat.reasons import Reason
from penstock.dialects.fields import Object
from penstock.dialects.websocket import PLAIN, Cancel, Chat, Create, Refused, Said, read
from penstock.errors import ChatRunning, ClientError, Draining, Ended, PenstockError, TooManyChats
from penstock.relay.delivery import Headers
from penstock.relay.stream import Stream
from penstock.server.connection import nothing
from penstock.server.default_model import default_model
from penstock.server.messaging import WebSocket
from penstock.server.relaying import prepare
from penstock.server.room import Share
from penstock.server.state import State

CANCELLED = "the client cancelled the chat"


class Running:
    """One chat at work, as the relay's client: implements :class:`penstock.relay.delivery.Client`."""

    def __init__(self, chat: Chat, socket: WebSocket, share: Share) -> None:
        self.chat = chat
        self.share = share
        self.stream: Stream | None = None
        self.beginning = trio.CancelScope()
        self.left = False
        self._socket = socket
        self._here = trio.CancelScope()
        self._on_left: Callable[[], None] = nothing

    def cancel(self) -> None:
        """The client wants no more of it, and is told so."""
        if self.stream is None:
            self.beginning.cancel(reason=Reason.KILLED.value)
        else:
            self.stream.end(Reason.KILLED, CANCELLED)

    def leave(self) -> None:
        """The client has left."""
        self.left = True
        self._on_left()
        self.beginning.cancel(reason=Reason.CLIENT_GONE.value)
        self._here.cancel(reason=Reason.CLIENT_GONE.value)

    def start(self, status: int, headers: Headers) -> None:
        """Nothing: every frame says what it is, and the last one what these would."""

    def put(self, data: bytes) -> bool:
        return self._socket.say(data)

    async def drain(self, write: float) -> None:
        await self._socket.drain(write)

    async def finish(self, write: float) -> None:
        await self._socket.drain(write)

    def cut(self) -> None:
        self._socket.cut()

    def while_here(self, left: Callable[[], None]) -> trio.CancelScope:
        self._on_left = left
        return self._here


class Chats:
    """``hear`` every message of the socket; ``nursery`` is where the chats live."""

    def __init__(self, socket: WebSocket, state: State, nursery: trio.Nursery, *, path: str, model: str) -> None:
        self._socket = socket
        self._state = state
        self._nursery = nursery
        self._path = path
        #: of chats that name none
        self._model = model
        self._conversation = Conversation(state.config.limits.conversation)
        self._running: dict[str, Running] = {}

    def hear(self, text: str) -> None:
        """Do what one message wants.  Raises ClientGone."""
        match read(text, shape=self._state.config.limits):
            case Said(said):
                chat = Chat(PLAIN, self._conversation)
                self._begin(PLAIN, chat, len(text), lambda: {"messages": self._conversation.ask(said)})
            case Create(name, asked):
                self._begin(name, Chat(name), len(text), lambda: asked)
            case Cancel(name):
                # One that is over may have crossed its last frame on the way.
                if name in self._running:
                    self._running[name].cancel()
            case Refused(name, error):
                chat = Chat(name)
                self._refuse(error, chat.aside if name in self._alive() else chat.error)

    def _begin(self, name: str, chat: Chat, size: int, asked: Callable[[], Object]) -> None:
        alive, most = self._alive(), self._state.config.limits.chats
        if self._state.retired.is_set():
            self._refuse(Draining(self._farewell), chat.aside if name in alive else chat.error)
        elif name in alive:
            self._refuse(ChatRunning(f"chat '{name}' is not over yet: wait for its end or cancel it"), chat.aside)
        elif len(alive) >= most:
            self._refuse(TooManyChats(f"this WebSocket has as many chats as limits.chats allows ({most})"), chat.error)
        else:
            share = self._socket.share()
            # There is room: until now the message has had it.
            share.take(size)
            running = self._running[name] = Running(chat, self._socket, share)
            self._nursery.start_soon(self._run, name, running, asked(), name=f"chat {name}")

    def at_work(self) -> bool:
        """Whether any chat has not ended."""
        return bool(self._running)

    def _alive(self) -> set[str]:
        """The chats that have not had their last frame."""
        return {name for name, running in self._running.items() if not running.chat.over}

    def _refuse(self, error: PenstockError, say: Callable[[PenstockError], bytes]) -> None:
        """Raises ClientGone."""
        self._state.observer.refused("WebSocket", self._path, error)
        self._socket.say(say(error))

    async def _run(self, name: str, running: Running, asked: Object) -> None:
        """One chat from its command to its last frame.  A client that leaves has it cancelled."""
        chat = running.chat
        try:
            with running.beginning:
                await self._prepare(running, asked)
            if running.stream is not None:
                await running.stream.run()
            elif not running.left:
                raise Ended(CANCELLED, Reason.KILLED.value)
        except PenstockError as error:
            await self._fail(chat, error)
        except Exception as error:
            self._state.bug(f"WebSocket {self._path}", error)
            await self._fail(chat, PenstockError("a bug in penstock; its log has the details"))
        finally:
            running.share.give_back()
            if self._running.get(name) is running:
                # else another chat has taken its name already
                del self._running[name]
            self._close_if_retired()

    async def _fail(self, chat: Chat, error: PenstockError) -> None:
        # If the client has left, nobody is there to hear it.
        with suppress(ClientError):
            self._refuse(error, chat.error)
            await self._socket.drain(self._state.config.timeouts.write)

    async def _prepare(self, running: Running, asked: Object) -> None:
        request = running.chat.request(asked)
        if not request.model:
            request = msgspec.structs.replace(request, model=self._model or await default_model(self._state))
        running.stream = (await prepare(self._state, running.chat, request))(running)

    # leaving

    async def retire(self) -> None:
        """When this generation of the configuration begins nothing new, close as soon as no chat is left."""
        await self._state.retired.wait()
        self._close_if_retired()

    def _close_if_retired(self) -> None:
        if self._state.retired.is_set() and not self._running:
            self._socket.close(CloseReason.GOING_AWAY, self._farewell)

    @property
    def _farewell(self) -> str:
        why = "penstock is shutting down" if self._state.draining else "the configuration has changed"
        return f"{why}: connect again"

    def leave(self) -> None:
        """The client has left, or has to."""
        for running in list(self._running.values()):
            running.leave()
