"""The routes of LM Studio clients: its own lists of models; the rest is OpenAI's under another prefix."""

from __future__ import annotations

from quart import Blueprint, current_app

from penstock.dialects import lmstudio_models
from penstock.server import embeddings, models, openai
from penstock.server.asgi import Work, while_connected
from penstock.server.state import KEY, State

routes = Blueprint("lmstudio", __name__)

routes.post("/api/v0/chat/completions")(openai.chat_completions)
routes.post("/api/v0/completions")(openai.completions)
routes.post("/api/v0/embeddings")(embeddings.openai)


@routes.get("/api/v0/models")
async def list_models() -> Work:
    state: State = current_app.config[KEY]

    async def answer() -> tuple[int, bytes]:
        return 200, lmstudio_models.listing(await models.visible(state))

    return Work(lambda sink: while_connected(sink, answer))


@routes.get("/api/v0/models/<model:name>")
async def one_model(name: str) -> Work:
    state: State = current_app.config[KEY]
    model = await models.one(state, name)

    async def answer() -> tuple[int, bytes]:
        return 200, lmstudio_models.one(model)

    return Work(lambda sink: while_connected(sink, answer))
