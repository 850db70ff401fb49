"""Where the configuration comes from, each time that it is read: files, the environment, or what is found to run."""

from __future__ import annotations

import os
from pathlib import Path

import msgspec
import trio

from penstock.config.find import find
from penstock.config.load import load
from penstock.config.model import Backend, Config, Route
from penstock.errors import NoBackend
from penstock.service.discover import discover

NOTHING_FOUND = """no configuration file, and no local backend answers:
  Ollama on 127.0.0.1:11434, llama.cpp on :8080, LM Studio on :1234, KoboldCpp on :5001, vLLM on :8000.
Start one of them, write ~/.config/penstock/penstock.toml, or see it work without any: penstock serve --demo"""


class Source:
    """``path`` is the file; None: there was none yet.  ``demo`` is the URL of a simulated backend that goes with it."""

    def __init__(self, path: Path | None, demo: str | None = None) -> None:
        self.path = path
        self._demo = demo

    def __str__(self) -> str:
        if self.path is not None:
            return str(self.path)
        return "none, backends found by themselves" if self._demo is None else "none, a simulated backend"

    async def read(self) -> Config:
        """What it says now.  Raises ConfigError, NoBackend.

        A file that was in use must be there; where none was, one may have been written since.
        """
        path = self.path
        if path is None and self._demo is None:
            path = find(os.environ)
        # A file may lie where reading takes long.
        config = await trio.to_thread.run_sync(load, path, abandon_on_cancel=True)
        config = await self.completed(config, path)
        self.path = path
        return config

    async def completed(self, config: Config, path: Path | None) -> Config:
        """The configuration of this file with the backends that it does not name.  Raises NoBackend."""
        if self._demo is not None:
            return with_demo(config, self._demo)
        if path is None and not config.backends:
            config = msgspec.structs.replace(config, backends=(await discover()).backends)
            if not config.backends:
                raise NoBackend(NOTHING_FOUND)
        return config


def with_demo(config: Config, url: str) -> Config:
    """The same configuration with a simulated backend behind every name that has no route."""
    backends = config.backends | {"demo": Backend(kind="simulate", url=url, slots=16)}
    return msgspec.structs.replace(config, backends=backends, routes={"*": Route(targets=("demo",))} | config.routes)
