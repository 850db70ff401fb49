"""The model that is meant where a client's dialect has no place for a name."""

from __future__ import annotations

from penstock.errors import BadRequest
from penstock.policy.routing import spelled_out
from penstock.server import models
from penstock.server.guarding import holder
from penstock.server.state import State


async def default_model(state: State) -> str:
    """The first route that is no glob, else the first model that the backends behind the globs list.

    Of those that the client's key may ask for.  Raises BadRequest when there is none.
    """
    for name in spelled_out(state.router.routes):
        if state.may_ask(holder(), name):
            return name
    for model in await models.visible(state):
        return model.name
    raise BadRequest("the request names no model, and no backend lists one that could be meant: set 'model'", "model")
