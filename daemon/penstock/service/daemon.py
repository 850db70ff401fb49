"""The root of everything: one nursery with the listener, the signals and, in a demo, the simulated backend.

SIGTERM and SIGINT drain: nothing new is taken, idle connections go, running streams have ``server.drain`` seconds to
end; then each gets its dialect's error, and what is still there after a moment is cut.  A second signal cuts at once.
A service manager that wants to be told is told of all that.
"""

from __future__ import annotations

import faulthandler
import gc
import math
import os
import signal
import socket
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from pathlib import Path

import msgspec
import trio
from hypercorn.utils import wrap_app

import penstock
from penstock.chat.reasons import Reason
from penstock.config.model import Backend, Config, Route
from penstock.config.secrets import resolve
from penstock.dialects.registry import SOUTHBOUND
from penstock.errors import NoBackend, PenstockError
from penstock.observe.journal import journal_of
from penstock.observe.log import configure, logger
from penstock.observe.observer import Observer
from penstock.policy.keys import build_keys
from penstock.relay.backends import build_backends
from penstock.relay.outcome import Outcome
from penstock.server.app import create_app, hypercorn_config
from penstock.server.guarding import rules_for
from penstock.server.listener import Listener, address_of, bind_all
from penstock.server.state import State
from penstock.service import activation
from penstock.service.discover import discover
from penstock.service.notify import Notifier
from penstock.service.watchdog import Lag, patience, pulse
from penstock.simulate import server as simulate

NOTHING_FOUND = """no configuration file, and no local backend answers:
  Ollama on 127.0.0.1:11434, llama.cpp on :8080, LM Studio on :1234, KoboldCpp on :5001, vLLM on :8000.
Start one of them, write ~/.config/penstock/penstock.toml, or see it work without any: penstock serve --demo"""

#: What streams get to tell their clients, after the drain, before their connections are cut.
LAST_WORDS = 1.0
#: Who was let in just before a restart is about to ask, and cannot be handed over.
NEWCOMERS = 0.1
#: For how long the service manager lets a draining daemon be after each sign of life.
EXTENSION = 5.0


class Daemon:
    """One run of penstock with one configuration; ``hear`` gets every stream's outcome."""

    def __init__(
        self,
        config: Config,
        hear: Callable[[Outcome], None] | None = None,
        notifier: Notifier | None = None,
    ) -> None:
        directory = os.environ.get("CREDENTIALS_DIRECTORY")
        credentials = Path(directory) if directory else None
        backend_keys = {
            name: resolve(backend.api_key, os.environ, credentials).reveal()
            for name, backend in config.backends.items()
            if backend.api_key is not None
        }
        keys = build_keys(config.keys, lambda reference: resolve(reference, os.environ, credentials))
        observer = Observer(hear)
        backends = build_backends(config, SOUTHBOUND, backend_keys)
        self.config = config
        self.state = State(config, backends, observer, keys)
        self.lag = Lag()
        observer.metrics.watch(self.state.live, backends, self.lag.worst)
        self._log = logger()
        self._everything = trio.CancelScope()
        self._finished = trio.Event()
        self._notifier = notifier or Notifier(None)
        #: when the drain is over
        self._drained_by = math.inf
        self._passed: Sequence[socket.socket] = ()

    async def serve(
        self,
        passed: Sequence[socket.socket] = (),
        *,
        task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED,
    ) -> None:
        """Serve until :meth:`stop`, then return; started with the addresses.  Raises ConfigError.

        ``passed`` are listening sockets that somebody opened for us; what they lack of ``server.listen`` is bound here.
        """
        self._passed = passed
        sockets = [*passed, *bind_all(activation.missing(self.config.server.listen, passed))]
        app = wrap_app(create_app(self.state), 0, "asgi")
        self._listener = Listener(sockets, app, hypercorn_config(self.state), self.config, passed)
        try:
            self.state.guard = rules_for(sockets, self.config)
            task_status.started([address_of(sock) for sock in sockets])
            with self._everything:
                await self._listener.run()
        finally:
            self._finished.set()
            self._listener.close()
            for backend in self.state.backends.values():
                backend.transport.close_idle()

    async def stop(self) -> None:
        """Drain, then end what is left; returns when :meth:`serve` is over."""
        self._drained_by = trio.current_time() + self.config.server.drain
        self._notifier.tell(self.told())
        if self._passed:
            # Others wait on these sockets for whoever serves them next.
            self._listener.close()
            await trio.sleep(NEWCOMERS)
        self.state.draining = True
        await self._listener.drain()
        with trio.move_on_at(self._drained_by):
            await self.state.live.empty()
        self.state.live.end_all(Reason.SHUTDOWN, "penstock is shutting down")
        with trio.move_on_after(LAST_WORDS):
            await self._finished.wait()
        self.stop_now()
        await self._finished.wait()

    def stop_now(self) -> None:
        """End everything at once."""
        self._everything.cancel(reason="shutdown")

    def told(self) -> dict[str, str | int]:
        """What a service manager is to know of now, as assignments of sd_notify(3)."""
        streams = "1 stream" if len(self.state.live) == 1 else f"{len(self.state.live)} streams"
        now = trio.current_time()
        if self._drained_by < math.inf:
            left = max(0, math.ceil(self._drained_by - now))
            return {
                "STOPPING": 1,
                "STATUS": f"draining {streams}, {left} s left",
                "EXTEND_TIMEOUT_USEC": round(EXTENSION * 1e6),
            }
        backends = [f"{name} (rests)" if self.state.health.resting(name, now) else name for name in self.state.backends]
        return {"STATUS": f"{streams}; backends: {', '.join(backends) or 'none'}"}


def run(config: Config, source: Path | None, demo: bool) -> int:
    """The whole of ``penstock serve``; returns the exit status.  Raises ConfigError, NoBackend."""
    # A watchdog ends a daemon that hangs with SIGABRT: its log then says where it hung.
    faulthandler.enable()
    try:
        return trio.run(main, config, source, demo)
    except ExceptionGroup as group:
        # The nursery wraps what ended it.
        ours, bugs = group.split(PenstockError)
        if ours is None or bugs is not None:
            raise
        raise innermost(ours) from None


def innermost(error: BaseException) -> BaseException:
    """What a group of one, or a group in a group, is about."""
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def main(config: Config, source: Path | None, demo: bool) -> int:
    """Serve until a signal; without a file that says otherwise, whatever local backends answer."""
    async with trio.open_nursery() as nursery:
        if demo:
            simulated = await nursery.start(simulate.serve, simulate.Settings())
            config = with_demo(config, simulated.url)
        elif source is None and not config.backends:
            config = msgspec.structs.replace(config, backends=(await discover()).backends)
            if not config.backends:
                raise NoBackend(NOTHING_FOUND)
        configure(config.server.log_level, config.server.log_format, journal_of(sys.stderr, os.environ))
        notifier = Notifier.of(os.environ)
        daemon = Daemon(config, notifier=notifier)
        nursery.start_soon(pulse, daemon.lag, notifier, daemon.told, patience(os.environ, os.getpid()))
        # A signal that comes right after the line "listening" finds somebody who obeys it.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
            sockets = activation.passed(os.environ)
            addresses = await nursery.start(daemon.serve, sockets)
            for sock in activation.unasked(config.server.listen, sockets):
                logger().warning("passed a socket that server.listen does not name", address=address_of(sock))
            # What is here now stays for the life of the process: no collection needs to look at it again.
            gc.collect()
            gc.freeze()
            logger().info(
                "listening",
                version=penstock.__version__,
                addresses=", ".join(addresses),
                configuration=str(source) if source else "none, backends found by themselves",
                backends=", ".join(config.backends),
                pid=os.getpid(),
            )
            notifier.tell({"READY": 1, **daemon.told()})
            await obey_signals(daemon, signals)
        nursery.cancel_scope.cancel(reason="the daemon has stopped")
    return 0


async def obey_signals(daemon: Daemon, signals: AsyncIterator[int]) -> None:
    """Return when the daemon has stopped: after one signal in its time, after a second one at once."""
    log = logger()
    number = await anext(signals)
    log.info("stopping", signal=signal.Signals(number).name, streams=len(daemon.state.live))
    async with trio.open_nursery() as nursery:

        async def second() -> None:
            async for _ in signals:
                daemon.stop_now()

        nursery.start_soon(second)
        await daemon.stop()
        nursery.cancel_scope.cancel(reason="stopped")
    log.info("stopped")


def with_demo(config: Config, url: str) -> Config:
    """The same configuration with a simulated backend behind every name that has no route."""
    backends = config.backends | {"demo": Backend(kind="simulate", url=url, slots=16)}
    return msgspec.structs.replace(config, backends=backends, routes={"*": Route(targets=("demo",))} | config.routes)
