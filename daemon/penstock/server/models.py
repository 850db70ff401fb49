"""Which models a client sees: the names that the routes spell out, and what the backends behind globs offer."""

from __future__ import annotations

import msgspec

from penstock.chat.models import Model
from penstock.config.targets import parse_target
from penstock.errors import UnknownModel
from penstock.policy.routing import spelled_out
from penstock.server.guarding import holder
from penstock.server.state import State


async def visible(state: State) -> list[Model]:
    """Every model that the key may ask for, each name once."""
    key = holder()
    lists = await state.catalogue.models()
    seen: dict[str, Model] = {}
    for name in spelled_out(state.router.routes):
        seen[name] = _renamed(name, state.router.routes[name].targets[0], lists)
    for backend, models in lists.items():
        for model in models:
            if model.name not in seen and _carries(state, model.name, backend):
                seen[model.name] = model
    return [model for model in seen.values() if state.may_ask(key, model.name)]


async def one(state: State, name: str) -> Model:
    """The model that this name means.  Raises UnknownModel."""
    models = {model.name: model for model in await visible(state)}
    found = models.get(name) or models.get(f"{name}:latest") or models.get(name.removesuffix(":latest"))
    if found is not None:
        return msgspec.structs.replace(found, name=name)
    near = state.router.near(name, state.catalogue.known())
    raise UnknownModel(name, [other for other in near if other in models])


def _carries(state: State, model: str, backend: str) -> bool:
    """Whether the route of this name leads to this backend's model of the same name."""
    found = state.router.route_of(model)
    if found is None:
        return False
    return any(
        target.backend == backend and target.model in (None, model) for target in map(parse_target, found[1].targets)
    )


def _renamed(name: str, target: str, lists: dict[str, list[Model]]) -> Model:
    """An exact route as a model, with what is known of its first target."""
    parsed = parse_target(target)
    wanted = parsed.model or name
    for model in lists.get(parsed.backend, []):
        if model.name in (wanted, f"{wanted}:latest"):
            return msgspec.structs.replace(model, name=name)
    return Model(name=name, owner=parsed.backend)
