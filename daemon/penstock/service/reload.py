"""Another configuration for a running daemon: read whole, checked whole, and put in force in one step or not at all."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec
import trio

from penstock.config.diff import Change, changes
from penstock.config.model import Config
from penstock.errors import ConfigError, NoBackend, PenstockError, RestartNeeded
from penstock.observe.log import logger
from penstock.policy.guard import GuardRules
from penstock.server.state import Difference
from penstock.service.generations import Secrets, read_secrets
from penstock.service.source import Source

if TYPE_CHECKING:
    from penstock.service.daemon import Daemon

#: Keys that are named in a line of the log, and faults that are told in one.
MOST_NAMED = 20
MOST_FAULTS = 3


class Read(msgspec.Struct, frozen=True):
    """A configuration that could be put in force, and what would be different."""

    config: Config
    secrets: Secrets
    guard: GuardRules
    changes: list[Change]


class Reloader:
    """Reloads one daemon, one after the other; ``set_up_log`` makes the log as a configuration wants it."""

    def __init__(self, daemon: Daemon, source: Source, set_up_log: Callable[[Config], None]) -> None:
        #: what was wrong with the configuration when it was last read
        self.fault: str | None = None
        self._daemon = daemon
        self._source = source
        self._set_up_log = set_up_log
        self._turn = trio.Lock()

    async def rehearse(self) -> Difference:
        """See :class:`penstock.server.state.Reloads`."""
        return self._told((await self._read()).changes)

    async def reload(self) -> Difference:
        """See :class:`penstock.server.state.Reloads`."""
        daemon = self._daemon
        async with self._turn:
            daemon.state.refuse_while_draining()
            # systemd takes READY=1 for the end of the reload only if it came after this moment (sd_notify(3)).
            daemon.notifier.tell({"RELOADING": 1, "MONOTONIC_USEC": time.monotonic_ns() // 1000})
            try:
                return await self._reload()
            except (ConfigError, NoBackend, RestartNeeded) as error:
                self._failed(error)
                raise
            finally:
                daemon.notifier.tell({"READY": 1, **daemon.told()})

    async def _reload(self) -> Difference:
        daemon = self._daemon
        found = await self._read()
        if fixed := [change.path for change in found.changes if change.restart]:
            raise RestartNeeded(fixed)
        if found.changes:
            generation = await trio.to_thread.run_sync(
                daemon.generations.make, found.config, found.secrets, abandon_on_cancel=True
            )
            # A stop may have come meanwhile; from here on nothing waits.
            daemon.state.refuse_while_draining()
            self._set_up_log(found.config)
            generation.state.guard = found.guard
            daemon.take(generation, found.secrets)
        self.fault = None
        difference = self._told(found.changes)
        daemon.generations.metrics.configured(difference.generation)
        logger().info(
            "reloaded",
            generation=difference.generation,
            was=difference.generation - 1 if found.changes else difference.generation,
            changed=summary(found.changes),
            configuration=difference.source,
            streams_before=len(daemon.state.live),
        )
        return difference

    async def _read(self) -> Read:
        config = await self._source.read()
        return await trio.to_thread.run_sync(self._check, config, abandon_on_cancel=True)

    def _check(self, config: Config) -> Read:
        """Everything that may be wrong with it, and all files that it names.  Raises ConfigError."""
        generations = self._daemon.generations
        secrets = read_secrets(config, os.environ)
        found = changes(generations.newest.config, config, secrets.rotated(generations.secrets))
        return Read(config, secrets, self._daemon.rules_for(config), found)

    def _told(self, found: list[Change]) -> Difference:
        return Difference(self._daemon.state.number, str(self._source), found)

    def _failed(self, error: PenstockError) -> None:
        faults = error.faults if isinstance(error, ConfigError) else [error.message]
        self.fault = faults[0]
        self._daemon.generations.metrics.misconfigured()
        more = f"; and {len(faults) - MOST_FAULTS} more" if len(faults) > MOST_FAULTS else ""
        logger().warning(
            "not reloaded",
            generation=self._daemon.state.number,
            code=error.code,
            message="; ".join(faults[:MOST_FAULTS]) + more,
        )


def summary(found: list[Change]) -> str:
    """The keys that changed, on one line."""
    names = [change.path for change in found[:MOST_NAMED]]
    if len(found) > MOST_NAMED:
        names.append(f"{len(found) - MOST_NAMED} more")
    return ", ".join(names) or "nothing"
