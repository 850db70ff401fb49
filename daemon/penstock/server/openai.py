"""The routes of OpenAI clients, each with and without ``/v1``."""

from __future__ import annotations

from quart import Blueprint, current_app, request

from penstock.dialects import openai_models
from penstock.dialects.fim import fim_north
from penstock.dialects.registry import NORTHBOUND
from penstock.dialects.rerank import RerankSouth, rerank_north
from penstock.dialects.responses import south_for
from penstock.relay.backends import Backend
from penstock.server import models
from penstock.server.asgi import Work, json_of, while_connected
from penstock.server.relaying import relay
from penstock.server.state import KEY, State

routes = Blueprint("openai", __name__)
north = NORTHBOUND["openai"]
responses_north = NORTHBOUND["responses"]


@routes.post("/v1/chat/completions")
@routes.post("/chat/completions")
async def chat_completions() -> Work:
    return await _generate("chat")


@routes.post("/v1/completions")
@routes.post("/completions")
async def completions() -> Work:
    return await _generate("completion")


@routes.post("/v1/fim/completions")
@routes.post("/fim/completions")
async def fim() -> Work:
    state: State = current_app.config[KEY]
    return await relay(state, fim_north, fim_north.parse("completion", json_of(request), shape=state.config.limits))


@routes.post("/v1/rerank")
@routes.post("/v1/reranking")
@routes.post("/rerank")
@routes.post("/reranking")
async def rerank() -> Work:
    state: State = current_app.config[KEY]
    asked = rerank_north.parse("rerank", json_of(request), shape=state.config.limits)
    return await relay(state, rerank_north, asked, speak=lambda backend: backend.speaking(RerankSouth(backend.south)))


@routes.get("/v1/models")
@routes.get("/models")
async def list_models() -> Work:
    state: State = current_app.config[KEY]

    async def answer() -> tuple[int, bytes]:
        return 200, openai_models.listing(await models.visible(state))

    return Work(lambda sink: while_connected(sink, answer))


@routes.get("/v1/models/<model:name>")
@routes.get("/models/<model:name>")
async def one_model(name: str) -> Work:
    state: State = current_app.config[KEY]
    model = await models.one(state, name)

    async def answer() -> tuple[int, bytes]:
        return 200, openai_models.one(model)

    return Work(lambda sink: while_connected(sink, answer))


@routes.post("/v1/responses")
@routes.post("/responses")
async def responses() -> Work:
    state: State = current_app.config[KEY]
    asked = responses_north.parse("chat", json_of(request), shape=state.config.limits)

    def speak(backend: Backend) -> Backend:
        return backend.speaking(south_for(asked, backend.south, backend.manner))

    return await relay(state, responses_north, asked, speak=speak)


async def _generate(operation: str) -> Work:
    state: State = current_app.config[KEY]
    return await relay(state, north, north.parse(operation, json_of(request), shape=state.config.limits))
