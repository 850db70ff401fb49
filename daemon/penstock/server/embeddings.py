"""The routes of embeddings, in OpenAI's and in Ollama's words."""

from __future__ import annotations

from quart import Blueprint, current_app, request

from penstock.dialects.base import Northbound
from penstock.dialects.embeddings import EmbeddingsSouth, ollama_embeddings, openai_embeddings
from penstock.relay.backends import Backend
from penstock.server.asgi import Work, json_of
from penstock.server.relaying import relay
from penstock.server.state import KEY, State

routes = Blueprint("embeddings", __name__)


@routes.post("/v1/embeddings")
@routes.post("/embeddings")
async def openai() -> Work:
    return await _embed(openai_embeddings)


@routes.post("/api/embed")
@routes.post("/api/embeddings")
async def ollama() -> Work:
    return await _embed(ollama_embeddings)


async def _embed(north: Northbound) -> Work:
    state: State = current_app.config[KEY]
    parsed = north.parse("embedding", json_of(request), shape=state.config.limits)
    return await relay(state, north, parsed, speak=_embedding)


def _embedding(backend: Backend) -> Backend:
    return backend.speaking(EmbeddingsSouth(backend.south))
