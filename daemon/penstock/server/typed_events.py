"""The route of typed events: POST for scripts, GET with a query for a browser's EventSource, which can do no other."""

from __future__ import annotations

import msgspec
from quart import Blueprint, Response, current_app, request

from penstock.dialects import jsontext
from penstock.dialects.registry import NORTHBOUND
from penstock.server.asgi import Work, json_of
from penstock.server.default_model import default_model
from penstock.server.methods import not_so
from penstock.server.relaying import relay
from penstock.server.state import KEY, State

routes = Blueprint("typed_events", __name__)
north = NORTHBOUND["typed_events"]


@routes.post("/api/chat/stream")
async def chat() -> Work:
    return await _relay(json_of(request))


@routes.get("/api/chat/stream")
async def event_source() -> Work | Response:
    if request.method == "HEAD":
        # It comes along with GET, and shall not set a model to work.
        raise not_so()
    if "Last-Event-ID" in request.headers:
        # It has had its answer and connected again by itself; by this status it stops (WHATWG HTML 9.2.3).
        return Response(b"", status=204)
    asked = {name: request.args[name] for name in ("message", "model") if name in request.args}
    return await _relay(jsontext.encode(asked))


async def _relay(body: bytes) -> Work:
    state: State = current_app.config[KEY]
    parsed = north.parse("chat", body, shape=state.config.limits)
    if not parsed.model:
        parsed = msgspec.structs.replace(parsed, model=await default_model(state))
    return await relay(state, north, parsed)
