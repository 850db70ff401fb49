"""A second language of a backend, for what is no chat: asked and read in its own way, all else as in the first."""

from __future__ import annotations

from penstock.chat.models import Model
from penstock.dialects.base import Call, Southbound
from penstock.errors import BackendRefused


class Beside:
    """What a :class:`Southbound` that has ``encode`` and ``reader`` of its own takes from another."""

    def __init__(self, south: Southbound) -> None:
        self.name = south.name
        self.root = south.root
        self._south = south

    def auth(self, key: str | None) -> list[tuple[str, str]]:
        """The headers of every request."""
        return self._south.auth(key)

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """An answer with an error status -> the error, in the backend's words."""
        return self._south.refusal(status, body)

    def models_call(self) -> Call:
        """The call that lists the models."""
        return self._south.models_call()

    def models(self, body: bytes) -> list[Model]:
        """The answer to it.  Raises BackendGarbled."""
        return self._south.models(body)
