"""The root of everything: one nursery with the listener, the signals and, in a demo, the simulated backend.

SIGTERM and SIGINT drain: nothing new is taken, idle connections go, running streams have ``server.drain`` seconds to
end; then each gets its dialect's error, and what is still there after a moment is cut.  A second signal cuts at once.
"""

from __future__ import annotations

import gc
import os
import signal
from collections.abc import Callable
from pathlib import Path

import msgspec
import trio
from hypercorn.utils import wrap_app

import penstock
from penstock.chat.reasons import Reason
from penstock.config.model import Backend, Config, Route
from penstock.config.secrets import resolve
from penstock.dialects.registry import SOUTHBOUND
from penstock.errors import NoBackend
from penstock.observe.log import configure, logger
from penstock.observe.observer import Observer
from penstock.relay.backends import build_backends
from penstock.relay.outcome import Outcome
from penstock.server.app import create_app, hypercorn_config
from penstock.server.listener import Listener, address_of, bind_all
from penstock.server.state import State
from penstock.service.discover import discover
from penstock.simulate import server as simulate

NOTHING_FOUND = """no configuration file, and no local backend answers:
  Ollama on 127.0.0.1:11434, llama.cpp on :8080, LM Studio on :1234, KoboldCpp on :5001, vLLM on :8000.
Start one of them, write ~/.config/penstock/penstock.toml, or see it work without any: penstock serve --demo"""

#: What streams get to tell their clients, after the drain, before their connections are cut.
LAST_WORDS = 1.0


class Daemon:
    """One run of penstock with one configuration; ``hear`` gets every stream's outcome."""

    def __init__(self, config: Config, hear: Callable[[Outcome], None] | None = None) -> None:
        credentials = os.environ.get("CREDENTIALS_DIRECTORY")
        keys = {
            name: resolve(backend.api_key, os.environ, Path(credentials) if credentials else None).reveal()
            for name, backend in config.backends.items()
            if backend.api_key is not None
        }
        observer = Observer(hear)
        backends = build_backends(config, SOUTHBOUND, keys)
        self.config = config
        self.state = State(config, backends, observer)
        observer.metrics.watch(self.state.live, backends)
        self._log = logger()
        self._everything = trio.CancelScope()
        self._finished = trio.Event()

    async def serve(self, *, task_status: trio.TaskStatus[list[str]] = trio.TASK_STATUS_IGNORED) -> None:
        """Serve until :meth:`stop`, then return; started with the addresses.  Raises ConfigError."""
        sockets = bind_all(self.config.server.listen)
        app = wrap_app(create_app(self.state), 0, "asgi")
        self._listener = Listener(sockets, app, hypercorn_config(self.state), self.config)
        task_status.started([address_of(sock) for sock in sockets])
        try:
            with self._everything:
                await self._listener.run()
        finally:
            self._finished.set()
            self._listener.close()
            for backend in self.state.backends.values():
                backend.transport.close_idle()

    async def stop(self) -> None:
        """Drain, then end what is left; returns when :meth:`serve` is over."""
        self.state.draining = True
        await self._listener.drain()
        with trio.move_on_after(self.config.server.drain):
            await self.state.live.empty()
        self.state.live.end_all(Reason.SHUTDOWN, "penstock is shutting down")
        with trio.move_on_after(LAST_WORDS):
            await self._finished.wait()
        self.stop_now()
        await self._finished.wait()

    def stop_now(self) -> None:
        """End everything at once."""
        self._everything.cancel(reason="shutdown")


def run(config: Config | None, source: Path | None, demo: bool) -> int:
    """The whole of ``penstock serve``; returns the exit status."""
    return trio.run(main, config, source, demo)


async def main(config: Config | None, source: Path | None, demo: bool) -> int:
    """Serve until a signal; without a configuration, whatever local backends answer."""
    async with trio.open_nursery() as nursery:
        if demo:
            simulated = await nursery.start(simulate.serve, simulate.Settings())
            config = with_demo(config or Config(), simulated.url)
        elif config is None:
            config = await discover()
            if not config.backends:
                raise NoBackend(NOTHING_FOUND)
        configure(config.server.log_level, config.server.log_format)
        daemon = Daemon(config)
        addresses = await nursery.start(daemon.serve)
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
        await obey_signals(daemon)
        nursery.cancel_scope.cancel(reason="the daemon has stopped")
    return 0


async def obey_signals(daemon: Daemon) -> None:
    """Return when the daemon has stopped: after one signal in its time, after a second one at once."""
    log = logger()
    with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT) as signals:
        async for number in signals:
            log.info("stopping", signal=signal.Signals(number).name, streams=len(daemon.state.live))
            break
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
