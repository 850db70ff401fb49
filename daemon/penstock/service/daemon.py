"""The root of everything: one nursery with the listener, the signals and, in a demo, the simulated backend.

SIGTERM and SIGINT drain: nothing new is taken, idle connections go, running streams have ``server.drain`` seconds to
end; then each gets its dialect's error, and what is still there after a moment is cut.  A second signal cuts at once.
SIGHUP reads the configuration anew.  A service manager that wants to be told is told of all that.
"""

from __future__ import annotations

import faulthandler
import gc
import math
import os
import signal
import socket
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

import trio

import penstock
from penstock.chat.reasons import Reason
from penstock.config.model import LOGS_CONTENT, Config
from penstock.errors import NoBackend, PenstockError
from penstock.observe.journal import journal_of
from penstock.observe.log import configure, logger
from penstock.policy.guard import GuardRules
from penstock.relay.lookups import Lookups
from penstock.relay.outcome import Outcome
from penstock.server.app import hypercorn_config
from penstock.server.generation import Generation
from penstock.server.guarding import rules_for
from penstock.server.listener import Listener, address_of, bind_all
from penstock.server.state import State
from penstock.service import activation
from penstock.service.generations import Generations, Secrets
from penstock.service.lookout import look_out
from penstock.service.notify import Notifier
from penstock.service.reload import Reloader
from penstock.service.signals import obey
from penstock.service.source import Source
from penstock.service.watchdog import Lag, patience, pulse
from penstock.simulate import server as simulate

#: What streams get to tell their clients, after the drain, before their connections are cut.
LAST_WORDS = 1.0
#: Who was let in just before a restart is about to ask, and cannot be handed over.
NEWCOMERS = 0.1
#: For how long the service manager lets a draining daemon be after each sign of life.
EXTENSION = 5.0


class Daemon:
    """One run of penstock, with one configuration after the other; ``hear`` gets every stream's outcome.

    Without a ``source`` the first configuration stays.  ``set_up_log`` makes the log as a configuration wants it.
    """

    def __init__(
        self,
        config: Config,
        hear: Callable[[Outcome], None] | None = None,
        notifier: Notifier | None = None,
        source: Source | None = None,
        set_up_log: Callable[[Config], None] = lambda config: None,
    ) -> None:
        self.notifier = notifier or Notifier(None)
        self.reloader = Reloader(self, source, set_up_log) if source is not None else None
        self.generations = Generations(config, os.environ, hear, self.reloader)
        self.lag = Lag()
        self.generations.metrics.watch(self.generations.live, self.generations.backends, self.lag.worst)
        self._everything = trio.CancelScope()
        self._finished = trio.Event()
        #: when the drain is over
        self._drained_by = math.inf
        self._passed: Sequence[socket.socket] = ()

    @property
    def state(self) -> State:
        """What new requests work with."""
        return self.generations.newest

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
        config = self.state.config
        sockets = [*passed, *bind_all(activation.missing(config.server.listen, passed))]
        self._listener = Listener(
            sockets,
            self.generations.intake,
            hypercorn_config(self.state),
            config,
            passed,
            exhausted=lambda: self.state.observer.exhausted(),
            refused=lambda peer, error: self.state.observer.turned_away(peer, error),
        )
        try:
            self.state.guard = self.rules_for(config)
            task_status.started([address_of(sock) for sock in sockets])
            with self._everything:
                async with trio.open_nursery() as nursery:
                    nursery.start_soon(self.generations.run)
                    await self._listener.run()
                    nursery.cancel_scope.cancel(reason="the last connection is gone")
        finally:
            self._finished.set()
            self._listener.close()
            self.generations.close()

    def rules_for(self, config: Config) -> GuardRules:
        """What the guard would let in here.  Raises ConfigError when others would reach us unasked."""
        return rules_for(self._listener.sockets, config)

    def take(self, generation: Generation, secrets: Secrets) -> None:
        """Let new connections and new requests have this generation."""
        self._listener.configure(hypercorn_config(generation.state), generation.state.config)
        self.generations.succeed(generation, secrets)

    async def stop(self) -> None:
        """Drain, then end what is left; returns when :meth:`serve` is over."""
        self._drained_by = trio.current_time() + self.state.config.server.drain
        self.notifier.tell(self.told())
        if self._passed:
            # Others wait on these sockets for whoever serves them next.
            self._listener.close()
            await trio.sleep(NEWCOMERS)
        self.generations.drain()
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
        backends = [
            f"{name} (rests)" if backend.health.resting(now) else name for name, backend in self.state.backends.items()
        ]
        status = f"{streams}; backends: {', '.join(backends) or 'none'}"
        if self.state.config.server.log_content:
            status = f"{LOGS_CONTENT}; {status}"
        if self.reloader is not None and self.reloader.fault is not None:
            status = f"not reloaded: {self.reloader.fault}; {status}"
        return {"STATUS": status}


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


async def main(config: Config, path: Path | None, demo: bool) -> int:
    """Serve until a signal; without a file that says otherwise, whatever local backends answer.

    When none does, that is an error for somebody at a terminal, and nothing but early for a service manager.
    """
    terminal = sys.stderr.isatty()
    trio.socket.set_custom_hostname_resolver(Lookups())
    async with trio.open_nursery() as nursery:
        simulated = await nursery.start(simulate.serve, simulate.Settings()) if demo else None
        source = Source(path, simulated.url if simulated is not None else None)
        notifier = Notifier.of(os.environ)
        alone: NoBackend | None = None
        try:
            config = await source.completed(config, path)
        except NoBackend as error:
            if not notifier.is_heard:
                raise
            alone = error
        journal = journal_of(sys.stderr, os.environ)

        def set_up_log(config: Config) -> None:
            configure(config.server.log_level, config.server.log_format, journal)
            if config.server.log_content:
                logger().warning(LOGS_CONTENT)

        set_up_log(config)
        daemon = Daemon(config, notifier=notifier, source=source, set_up_log=set_up_log)
        nursery.start_soon(pulse, daemon.lag, notifier, daemon.told, patience(os.environ, os.getpid()))
        # A signal that comes right after the line "listening" finds somebody who obeys it.
        with trio.open_signal_receiver(signal.SIGTERM, signal.SIGINT, signal.SIGHUP) as signals:
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
                configuration=str(source),
                backends=", ".join(config.backends),
                pid=os.getpid(),
            )
            notifier.tell({"READY": 1, **daemon.told()})
            if alone is not None and daemon.reloader is not None:
                logger().warning("no backend yet", message=" ".join(alone.message.split()))
                nursery.start_soon(look_out, daemon, daemon.reloader)
            await obey(daemon, signals, terminal=terminal)
        nursery.cancel_scope.cancel(reason="the daemon has stopped")
    return 0
