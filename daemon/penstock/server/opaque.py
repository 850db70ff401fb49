"""The routes of what is passed on unread: everything else under ``/v1``, llama.cpp's own paths, Ollama's management."""

from __future__ import annotations

from collections.abc import Sequence
from math import inf

from quart import Blueprint, Response, current_app, request

from penstock.config.model import TimeoutOverrides
from penstock.config.targets import effective
from penstock.dialects import opaque
from penstock.dialects.base import Northbound
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import BadRequest, Forbidden, UnknownPath
from penstock.policy.routing import Target
from penstock.relay.backends import Backend
from penstock.relay.stream import Pace
from penstock.server import models
from penstock.server.asgi import Work, body_of
from penstock.server.default_model import default_model
from penstock.server.guarding import holder
from penstock.server.methods import not_so
from penstock.server.relaying import relay, targets_of
from penstock.server.state import KEY, State

routes = Blueprint("opaque", __name__)

#: No sign of life can be given in a body that is not ours: its status goes out with its first byte.
_PACE = Pace(grace=inf, heartbeat=inf)


@routes.route("/v1/<path:rest>", methods=["GET", "POST"])
async def v1(rest: str) -> Work:
    if any(rule.rule == request.path for rule in current_app.url_map.iter_rules()):
        raise not_so()
    return await _of_its_model(request.path)


@routes.post("/completion")
@routes.post("/infill")
async def llamacpp_generates() -> Work:
    return await _of_llamacpp(question=False)


@routes.get("/slots")
async def slots() -> Work:
    return await _of_llamacpp(question=True)


@routes.get("/props")
@routes.post("/tokenize")
@routes.post("/detokenize")
@routes.post("/apply-template")
async def llamacpp_tells() -> Work:
    return await _of_llamacpp(question=True)


@routes.post("/api/pull")
@routes.post("/api/push")
@routes.post("/api/create")
@routes.post("/api/copy")
@routes.delete("/api/delete")
@routes.post("/api/blobs/<digest>")
async def manage(digest: str = "") -> Work:
    state: State = current_app.config[KEY]
    backend = _manageable(state)
    found = _asked(state, request.path)
    timeouts = effective(state.config.timeouts, state.config.backends[backend].timeouts, TimeoutOverrides())
    target = Target(backend=backend, model=found.model, timeouts=timeouts, route="")
    return await _relay(state, found, found.model, [target], NORTHBOUND["ollama"], question=True)


@routes.route("/api/blobs/<digest>", methods=["HEAD"])
async def has_blob(digest: str) -> Response:
    _manageable(current_app.config[KEY])
    # Never there: then the client sends it, and a backend that has it says so.
    return Response(b"", status=404)


async def _of_its_model(path: str) -> Work:
    state: State = current_app.config[KEY]
    found = _asked(state, path)
    model = found.model or await default_model(state)
    targets = await targets_of(state, model)
    if not found.model:
        if found.unread and "*" not in holder().routes:
            raise BadRequest("the key is for some models only: say which, in the field 'model'", param="model")
        # The owner's key is lent for the use of a model, and for nothing else that it may open.
        targets = [target for target in targets if state.config.backends[target.backend].api_key is None]
        if not targets:
            raise BadRequest("'model' is missing: without it nothing is asked of a backend with a key", param="model")
    return await _relay(state, found, model, targets, NORTHBOUND["openai"], question=False)


async def _of_llamacpp(*, question: bool) -> Work:
    state: State = current_app.config[KEY]
    found = _asked(state, request.path)
    model = found.model
    for name in [model] if model else [known.name for known in await models.visible(state)]:
        targets = [target for target in await targets_of(state, name) if _kind(state, target) == "llamacpp"]
        if targets:
            return await _relay(state, found, name, targets, NORTHBOUND["openai"], question=question)
    whose = f"model '{model}' is not" if model else "no model is"
    raise UnknownPath(f"{request.path} is llama.cpp's, and {whose} on a backend of kind llamacpp")


def _kind(state: State, target: Target) -> str:
    return state.config.backends[target.backend].kind


def _manageable(state: State) -> str:
    """The backend whose models may be managed; the first in the configuration.  Raises Forbidden."""
    for name, backend in state.config.backends.items():
        if backend.kind == "ollama" and backend.manage:
            return name
    raise Forbidden(
        "penstock passes on nothing that changes a backend's models; ask the backend itself, "
        "or set manage = true for an Ollama backend"
    )


def _asked(state: State, path: str) -> opaque.Asked:
    if request.method == "HEAD":
        # It comes along with GET; its answer would have a length and no body.
        raise not_so()
    return opaque.asked(
        request.method,
        path.rstrip("/"),
        request.query_string.decode("latin-1"),
        body_of(request),
        request.headers.get("Content-Type", ""),
        request.headers.get("Accept", ""),
        shape=state.config.limits,
    )


async def _relay(
    state: State, found: opaque.Asked, model: str, targets: Sequence[Target], north: Northbound, *, question: bool
) -> Work:
    """``question``: it starts no generation, so it needs no slot."""

    def speak(backend: Backend) -> Backend:
        return backend.speaking(opaque.OpaqueSouth(backend.south, found), backend.questions if question else None)

    asked = opaque.request_of(found, model)
    return await relay(state, opaque.OpaqueNorth(north), asked, targets=targets, speak=speak, pace=_PACE)
