"""The routes of Ollama clients."""

from __future__ import annotations

import time

from quart import Blueprint, Response, current_app, request

from penstock.chat.models import Model
from penstock.dialects import jsontext, ollama_models
from penstock.dialects.base import Call, Identity
from penstock.dialects.ollama import is_load, load_answer
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import PenstockError
from penstock.relay.fetch import fetch
from penstock.server import models
from penstock.server.asgi import Work, json_of, while_connected
from penstock.server.guarding import holder
from penstock.server.relaying import relay, targets_of
from penstock.server.state import KEY, State

routes = Blueprint("ollama", __name__)
north = NORTHBOUND["ollama"]


@routes.get("/")
async def probe() -> Response:
    # Clients look for these words before they try anything else.
    return Response("Ollama is running", content_type="text/plain; charset=utf-8")


@routes.get("/api/version")
async def version() -> Response:
    return Response(ollama_models.version(), content_type="application/json")


@routes.post("/api/chat")
async def chat() -> Work:
    return await _generate("chat")


@routes.post("/api/generate")
async def generate() -> Work:
    return await _generate("completion")


@routes.get("/api/tags")
async def tags() -> Work:
    state: State = current_app.config[KEY]

    async def answer() -> tuple[int, bytes]:
        return 200, ollama_models.tags(await models.visible(state))

    return Work(lambda sink: while_connected(sink, answer))


@routes.post("/api/show")
async def show() -> Work:
    state: State = current_app.config[KEY]
    name = ollama_models.show_request(json_of(request), shape=state.config.limits)

    async def answer() -> tuple[int, bytes]:
        try:
            return 200, await _show(state, name)
        except PenstockError as error:
            return error.status, north.error(error)

    return Work(lambda sink: while_connected(sink, answer))


@routes.get("/api/ps")
async def ps() -> Work:
    state: State = current_app.config[KEY]

    async def answer() -> tuple[int, bytes]:
        return 200, ollama_models.ps(await _loaded(state), time.time() + 300)

    return Work(lambda sink: while_connected(sink, answer))


async def _generate(operation: str) -> Work:
    state: State = current_app.config[KEY]
    parsed = north.parse(operation, json_of(request), shape=state.config.limits)
    if is_load(parsed):
        # Only Ollama can be asked to load a model; with any other backend it is as loaded as it will be.
        target = (await targets_of(state, parsed.model))[0]
        if state.backends[target.backend].south.name != "ollama":
            body = load_answer(parsed, Identity(stream="load", created=time.time()))

            async def answer() -> tuple[int, bytes]:
                return 200, body

            return Work(lambda sink: while_connected(sink, answer))
    return await relay(state, north, parsed)


async def _show(state: State, name: str) -> bytes:
    """What the backend itself says of the model where it speaks Ollama, else what its list tells."""
    target = (await targets_of(state, name))[0]
    backend = state.backends[target.backend]
    if backend.south.name == "ollama":
        return await fetch(backend, Call(path="/api/show", body=jsontext.encode({"model": target.model})))
    return ollama_models.show(await models.one(state, name))


async def _loaded(state: State) -> list[Model]:
    """The models in memory: as Ollama backends say; what any other lists is loaded."""
    lists = await state.catalogue.models()
    loaded = []
    for model in await models.visible(state):
        holders = [name for name, listed in lists.items() if any(model.name == entry.name for entry in listed)]
        if any(state.backends[name].south.name != "ollama" for name in holders):
            loaded.append(model)
    for backend in state.backends.values():
        if backend.south.name == "ollama":
            try:
                loaded += backend.south.models(await fetch(backend, Call(method="GET", path="/api/ps")))
            except PenstockError:
                # a backend that is down has nothing in memory
                continue
    return [model for model in loaded if state.may_ask(holder(), model.name)]
