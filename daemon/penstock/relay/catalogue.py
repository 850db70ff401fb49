"""The models that the backends offer: asked for when somebody wants to know, remembered for a short while.

Lists are polled, in parallel, by every IDE; a backend that is down must not make each of them wait.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from math import inf

import trio

from penstock.chat.models import Model
from penstock.errors import PenstockError
from penstock.relay.backends import Backend
from penstock.relay.fetch import fetch

#: How long a list is believed, and how long a failure to get one.
FRESH = 10.0
FAILURE_FRESH = 3.0


class Catalogue:
    """One list of models per backend; the last one known stays when a backend stops answering."""

    def __init__(self, backends: Mapping[str, Backend]) -> None:
        self._backends = backends
        self._models: dict[str, list[Model]] = {}
        self._until: dict[str, float] = {}
        self._asking = {name: trio.Lock() for name in backends}

    def inherit(self, earlier: Catalogue) -> None:
        """Believe what an earlier configuration was told over the same connections."""
        told = {backend.transport: name for name, backend in earlier._backends.items()}
        for name, backend in self._backends.items():
            before = told.get(backend.transport)
            if before in earlier._models:
                self._models[name] = earlier._models[before]
                self._until[name] = earlier._until[before]

    def known(self) -> dict[str, set[str]]:
        """The names known now, by backend, without asking."""
        return {backend: {model.name for model in models} for backend, models in self._models.items()}

    async def models(self, names: Iterable[str] | None = None) -> dict[str, list[Model]]:
        """The lists of these backends (None: of all), asked anew where they are stale; none that fails is missing."""
        wanted = list(self._backends) if names is None else list(names)
        now = trio.current_time()
        if any(self._until.get(name, -inf) <= now for name in wanted):
            async with trio.open_nursery() as nursery:
                for name in wanted:
                    nursery.start_soon(self._refresh, name)
        return {name: self._models.get(name, []) for name in wanted}

    async def _refresh(self, name: str) -> None:
        async with self._asking[name]:
            if self._until.get(name, -inf) > trio.current_time():
                return
            backend = self._backends[name]
            try:
                self._models[name] = backend.south.models(await fetch(backend, backend.south.models_call()))
            except PenstockError:
                self._until[name] = trio.current_time() + FAILURE_FRESH
            else:
                self._until[name] = trio.current_time() + FRESH
