"""The routes of Anthropic clients, each with and without ``/v1``."""

from __future__ import annotations

import re

import msgspec
from quart import Blueprint, current_app, request

from penstock.chat.request import Request
from penstock.dialects import anthropic_call, anthropic_tokens
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import PenstockError
from penstock.relay.fetch import fetch
from penstock.server.asgi import Work, json_of, while_connected
from penstock.server.relaying import relay, targets_of
from penstock.server.state import KEY, State

routes = Blueprint("anthropic", __name__)
north = NORTHBOUND["anthropic"]

#: A version, or a list of the names of betas.
_PLAIN = re.compile(r"[A-Za-z0-9._, -]{1,2000}")


@routes.post("/v1/messages")
@routes.post("/messages")
async def messages() -> Work:
    return await relay(current_app.config[KEY], north, _asked())


@routes.post("/v1/messages/count_tokens")
@routes.post("/messages/count_tokens")
async def count_tokens() -> Work:
    state: State = current_app.config[KEY]
    asked = _asked()
    target = (await targets_of(state, asked.model))[0]
    backend = state.backends[target.backend]

    async def answer() -> tuple[int, bytes]:
        if backend.south.name == "anthropic":
            try:
                return 200, await fetch(backend, anthropic_call.count_call(asked, target.model, backend.manner))
            except PenstockError:
                # Not every server that speaks this dialect can count, and a guess is better than no answer.
                pass
        return 200, anthropic_tokens.answer(anthropic_tokens.estimate(asked))

    return Work(lambda sink: while_connected(sink, answer))


def _asked() -> Request:
    """What the client asks, with the headers that decide how a backend of the same dialect reads it."""
    state: State = current_app.config[KEY]
    parsed = north.parse("chat", json_of(request), shape=state.config.limits)
    said = {name: request.headers.get(name, "") for name in anthropic_call.CLIENT_HEADERS}
    headers = {name: value for name, value in said.items() if _PLAIN.fullmatch(value)}
    return msgspec.structs.replace(parsed, headers=headers)
