"""The stand-in backend as a server: accepts, queues for slots, performs plans, keeps records.

``simulation = await nursery.start(serve, Settings())`` gives a running one; cancelling the nursery ends it at once,
with every connection.
"""

from __future__ import annotations

import errno
import re
import socket
import time
from collections import OrderedDict
from collections.abc import Mapping
from typing import NoReturn

import h11
import msgspec
import trio

from penstock.simulate import asked, pages, plan
from penstock.simulate.connection import Connection, Refused, Request
from penstock.simulate.koboldcpp import KoboldCpp
from penstock.simulate.metronome import Metronome
from penstock.simulate.perform import Performance
from penstock.simulate.plan import End, Step
from penstock.simulate.records import Records, RequestRecord
from penstock.simulate.script import PREFIX, BadScript, Script, parse
from penstock.simulate.voice import Asked
from penstock.simulate.wire import message

#: How long nothing is accepted after the process ran out of descriptors; seconds.
_NO_DESCRIPTORS = 0.1

#: What is kept of a request's body and of each header; characters.
_KEPT_BODY = 4096
_KEPT_HEADER = 256

# a script in a body of which only a part has come
_SCRIPT_IN_BODY = re.compile(rb'"model"\s*:\s*"(%b[^"\\]*)"' % PREFIX.encode())


class Settings(msgspec.Struct, frozen=True, kw_only=True):
    """How a stand-in is set up."""

    host: str = "127.0.0.1"
    port: int = 0  #: 0: one that is free
    slots: int | None = None  #: answers at a time; further requests wait without a byte; None: no limit
    script: str = ""  #: what a model name that is no script gets
    #: names it lists -> their scripts
    models: Mapping[str, str] = msgspec.field(default_factory=lambda: {"sim": ""})
    connections: int = 16384  #: open at a time; further ones wait in the kernel
    keep: int = 4096  #: connections and stream ids in the records
    head: int = 256 * 1024  #: bytes of a request's head
    body: int = 64 * 1024 * 1024  #: bytes of a request's body


class Simulation:
    """A running stand-in: where it listens and what it saw."""

    def __init__(self, settings: Settings, address: tuple[str, int]) -> None:
        self.settings = settings
        self.records = Records(settings.keep)
        self.metronome = Metronome()
        host = f"[{address[0]}]" if ":" in address[0] else address[0]
        self.url = f"http://{host}:{address[1]}"
        self._fallback = parse(settings.script)
        self._models = {name: parse(script) for name, script in settings.models.items()}
        self._slots = trio.Semaphore(settings.slots) if settings.slots else None
        self._serial = 0
        #: tokens of the prompt and of the answer to KoboldCpp's last request
        self._last = (0, 0)
        #: how often each `loading` script has been asked for
        self._loads: OrderedDict[Script, int] = OrderedDict()

    async def converse(self, sock: socket.socket) -> None:
        """Answer one connection until either side has had enough."""
        record = self.records.accepted()
        connection = Connection(sock, record, self.records, self.settings.head, self.settings.body)
        counted = True
        try:
            while (request := await connection.request(self._leaves_body)) is not None:
                end: End | None
                path = request.target.partition("?")[0]
                if path.startswith(pages.ADMIN):
                    if counted and not record.requests:
                        self.records.unaccept(record)
                        counted = False
                    end = await self._page(connection, request, await pages.records_page(request, self.records))
                elif route := asked.ROUTES.get(_bare(path)) if request.method == "POST" else None:
                    end = await self._generate(connection, request, route)
                else:
                    self.records.counters.probes += 1
                    page = pages.told(_bare(path), request, self._models, self._last)
                    end = await self._page(connection, request, page)
                if end is End.RESET:
                    connection.reset()
                if end is not End.REUSE:
                    return
        except Refused as refused:
            await connection.refuse(refused.status, str(refused))
        finally:
            sock.close()
            if counted:
                self.records.closed(record)

    async def _page(self, connection: Connection, request: Request, page: pages.Page) -> End:
        headers = [("Content-Type", page.media)]
        head_only = request.method == "HEAD"
        await connection.send(message(page.status, headers, page.body, head_only=head_only))
        return End.CLOSE if request.close else End.REUSE

    async def _generate(self, connection: Connection, request: Request, route: asked.Route) -> End | None:
        """Perform the script of one request.  None: the peer is gone."""
        self._serial += 1
        try:
            wanted, script, user = self._read(request, route)
            voice = route.voice(script, wanted)
            if isinstance(voice, KoboldCpp):
                self._last = (voice.prompt_tokens, script.tokens)
            steps = plan.answer(script, voice, loading=self._loading(script), http10=request.http10)
        except ValueError as error:
            script, wanted, user = Script(), Asked(kind=route.kind, model="", stream=False), ""
            steps = iter([Step(0.0, plan.refusal(script, route.voice(script, wanted), 400, str(error)), end=End.REUSE)])
        record = RequestRecord(
            id=request.header("x-simulate-id") or script.id or user,
            connection=connection.record.number,
            method=request.method,
            path=request.target,
            headers=[(name, value[:_KEPT_HEADER]) for name, value in request.headers],
            model=wanted.model[:_KEPT_BODY],
            body=request.body[:_KEPT_BODY].decode("utf-8", "replace"),
            body_bytes=len(request.body),
            parsed_at=time.monotonic(),
        )
        self.records.asked(connection.record, record)
        performance = Performance(
            connection=connection,
            record=record,
            records=self.records,
            metronome=self.metronome,
            slots=self._slots,
            unread=request.unread,
            runaway=script.has("runaway"),
        )
        end = await performance.run(steps)
        return End.CLOSE if end is End.REUSE and request.close else end

    def _read(self, request: Request, route: asked.Route) -> tuple[Asked, Script, str]:
        """What is wanted, its script, and the body's user.  Raises ValueError with a readable sentence."""
        header = request.header("x-simulate")
        if request.unread:
            script = self._script(header or _early_script(request.body), "")
            return Asked(kind=route.kind, model="", stream=True), script, ""
        wanted, user = asked.read(route, request.body, serial=self._serial, created=time.time())
        return wanted, self._script(header, wanted.model), user

    def _script(self, header: str, model: str) -> Script:
        if header or model.startswith(PREFIX):
            return parse(header or model)
        return self._models.get(model, self._fallback)

    def _loading(self, script: Script) -> bool:
        """Count one request for a script with `loading`; whether it is one of those that are refused."""
        if not script.has("loading"):
            return False
        count = self._loads.pop(script, 0) + 1
        self._loads[script] = count
        if len(self._loads) > self.settings.keep:
            self._loads.popitem(last=False)
        return count <= script.times

    def _leaves_body(self, head: h11.Request, body: bytes) -> bool:
        """Whether the script says that the rest of a body stays unread."""
        header = next((value.decode("latin-1") for name, value in head.headers if name == b"x-simulate"), "")
        try:
            return parse(header or _early_script(body)).has("deaf")
        except BadScript:
            # told when the whole request is here
            return False


def _early_script(body: bytes) -> str:
    """The script in the beginning of a body, if it is there."""
    match = _SCRIPT_IN_BODY.search(body)
    return match[1].decode("utf-8", "replace") if match else ""


def _bare(path: str) -> str:
    """The path without the prefix of a base URL."""
    return path.removeprefix("/v1")


def listen(settings: Settings) -> socket.socket:
    """The listening socket.  Raises OSError when the address cannot be had."""
    family = socket.AF_INET6 if ":" in settings.host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((settings.host, settings.port))
        listener.listen(socket.SOMAXCONN)
        listener.setblocking(False)
    except OSError:
        listener.close()
        raise
    return listener


async def serve(
    settings: Settings,
    listener: socket.socket | None = None,
    *,
    task_status: trio.TaskStatus[Simulation] = trio.TASK_STATUS_IGNORED,
) -> NoReturn:
    """Run a stand-in until cancelled; hands out the :class:`Simulation` once it listens.

    Raises OSError when the address cannot be had, BadScript when a script of the settings is none.
    """
    with listener or listen(settings) as listener:
        simulation = Simulation(settings, listener.getsockname()[:2])
        room = trio.Semaphore(settings.connections)
        async with trio.open_nursery() as nursery:
            nursery.start_soon(simulation.metronome.run)
            task_status.started(simulation)
            while True:
                await room.acquire()
                sock = await _accept(listener)
                nursery.start_soon(_converse, simulation, sock, room)
    raise AssertionError("the loop above ends by cancellation only")


async def _converse(simulation: Simulation, sock: socket.socket, room: trio.Semaphore) -> None:
    try:
        await simulation.converse(sock)
    finally:
        room.release()


async def _accept(listener: socket.socket) -> socket.socket:
    while True:
        await trio.lowlevel.wait_readable(listener)
        try:
            return listener.accept()[0]
        except (BlockingIOError, ConnectionAbortedError):
            continue
        except OSError as error:
            if error.errno not in (errno.EMFILE, errno.ENFILE):
                raise
            await trio.sleep(_NO_DESCRIPTORS)
