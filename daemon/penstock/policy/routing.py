"""Which targets a model name means, in which order.

A route's name is exact or a glob (``*`` and ``?``); the exact one wins, then the longest glob.  A target that names no
model takes the client's.  Where a route lists several backends without naming models, those whose catalogue holds the
model come first: so two local servers behind ``"*"`` each get their own models.
"""

from __future__ import annotations

import difflib
import fnmatch
from collections.abc import Collection, Iterable, Mapping

import msgspec

from penstock.config.model import Config, Route, RouteClass, Timeouts
from penstock.config.targets import effective, parse_target
from penstock.errors import UnknownModel


class Target(msgspec.Struct, frozen=True, kw_only=True):
    """One backend to ask, for which model, under which budgets."""

    backend: str
    model: str
    timeouts: Timeouts
    route: str  #: the name of the route, as the file has it
    spelled_out: bool = False  #: whether the file names the model, or the client does

    @property
    def label(self) -> str:
        """A name out of a bounded set: what a client can say is not in it."""
        return str(self) if self.spelled_out else self.backend

    def __str__(self) -> str:
        return f"{self.backend}/{self.model}"


class Router:
    """The routes of one configuration."""

    def __init__(self, config: Config) -> None:
        self._config = config
        #: by name; a file that says nothing of routes means: any model, on any backend
        self.routes = config.routes or ({"*": Route(targets=tuple(config.backends))} if config.backends else {})
        self._targets = {name: self._targets_of(name, route) for name, route in self.routes.items()}
        self._globs = sorted((name for name in self.routes if is_glob(name)), key=len, reverse=True)

    def route_of(self, model: str) -> tuple[str, Route] | None:
        """The route that carries this model name."""
        # Ollama clients add ":latest" to bare names, and its own lists do.
        for name in (model, model.removesuffix(":latest")):
            if name in self.routes and not is_glob(name):
                return name, self.routes[name]
        for glob in self._globs:
            if fnmatch.fnmatchcase(model, glob.replace("[", "[[]")):
                return glob, self.routes[glob]
        return None

    def class_of(self, model: str) -> RouteClass:
        """What a stream of this model is for; of a name that no route carries, what it usually is."""
        found = self.route_of(model)
        return "chat" if found is None else found[1].class_

    def targets(self, model: str, catalogue: Mapping[str, Collection[str]]) -> list[Target]:
        """The targets of a model name, best first; ``catalogue`` holds the known model names by backend.

        Raises UnknownModel, which lists near names.
        """
        found = self.route_of(model)
        if found is None:
            raise UnknownModel(model, self.near(model, catalogue))
        targets = [
            target if target.model else msgspec.structs.replace(target, model=model)
            for target in self._targets[found[0]]
        ]
        if len(targets) > 1:
            targets.sort(key=lambda target: not offers(catalogue.get(target.backend, ()), target.model))
        return targets

    def _targets_of(self, name: str, route: Route) -> list[Target]:
        """What a route says, with its budgets; the model empty where it is the client's."""
        targets = []
        for text in route.targets:
            parsed = parse_target(text)
            backend = self._config.backends[parsed.backend]
            timeouts = effective(self._config.timeouts, backend.timeouts, route.timeouts)
            targets.append(
                Target(
                    backend=parsed.backend,
                    model=parsed.model or "",
                    timeouts=timeouts,
                    route=name,
                    spelled_out=parsed.model is not None,
                )
            )
        return targets

    def near(self, model: str, catalogue: Mapping[str, Collection[str]]) -> list[str]:
        """Up to three names that a client could have meant."""
        names = {*spelled_out(self.routes), *(name for names in catalogue.values() for name in names)}
        return difflib.get_close_matches(model, sorted(names), n=3, cutoff=0.4)


def is_glob(name: str) -> bool:
    return "*" in name or "?" in name


def spelled_out(routes: Iterable[str]) -> list[str]:
    """The names that are no globs."""
    return [name for name in routes if not is_glob(name)]


def offers(names: Collection[str], model: str) -> bool:
    """Whether a catalogue holds the model; a bare Ollama name means its ``:latest``."""
    return model in names or f"{model}:latest" in names
