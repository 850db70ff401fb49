"""The routes of KoboldCpp clients.

A client names its generation by a ``genkey`` of its own, and later checks or aborts it by that.  Which stream that is,
the running streams themselves tell.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import msgspec
from quart import Blueprint, Response, current_app, request

from penstock.chat.reasons import Reason
from penstock.dialects import fields, jsontext
from penstock.dialects import koboldcpp_pages as pages
from penstock.dialects.base import Call
from penstock.dialects.koboldcpp_generate import DEFAULT_LENGTH, key_of
from penstock.dialects.koboldcpp_writer import GenerateStream, GenerateWhole
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import PenstockError
from penstock.relay.fetch import fetch
from penstock.relay.live import Living
from penstock.server import models
from penstock.server.asgi import Work, json_of, while_connected
from penstock.server.default_model import default_model
from penstock.server.guarding import holder
from penstock.server.relaying import relay, targets_of
from penstock.server.state import KEY, State

routes = Blueprint("koboldcpp", __name__)
north = NORTHBOUND["koboldcpp"]


@routes.post("/api/v1/generate")
async def generate() -> Work:
    return await _generate("generate")


@routes.post("/api/extra/generate/stream")
async def generate_stream() -> Work:
    return await _generate("stream")


@routes.route("/api/extra/generate/check", methods=["GET", "POST"])
async def check() -> Response:
    stream = _running(_asked_key())
    writer = stream.writer if stream is not None else None
    return _json(pages.so_far(writer.told if isinstance(writer, GenerateStream | GenerateWhole) else ""))


@routes.post("/api/extra/abort")
async def abort() -> Response:
    stream = _running(_asked_key())
    if stream is not None:
        stream.end(Reason.KILLED, "the client aborted its generation")
    return _json(pages.aborted(found=stream is not None))


@routes.get("/api/v1/model")
async def model() -> Work:
    state: State = current_app.config[KEY]

    async def told() -> bytes:
        return pages.model(await default_model(state))

    return _answered(told)


@routes.get("/api/v1/info/version")
async def api_version() -> Response:
    return _json(pages.result(pages.API_VERSION))


@routes.get("/api/extra/version")
async def version() -> Response:
    state: State = current_app.config[KEY]
    return _json(pages.version(protected=bool(state.keys)))


@routes.get("/api/v1/config/max_context_length")
@routes.get("/api/extra/true_max_context_length")
async def max_context_length() -> Work:
    state: State = current_app.config[KEY]

    async def told() -> bytes:
        name = await default_model(state)
        asked = await _asked_of_backend(state, name, Call(method="GET", path="/api/extra/true_max_context_length"))
        return asked or pages.value((await models.one(state, name)).context_length or pages.CONTEXT)

    return _answered(told)


@routes.get("/api/v1/config/max_length")
async def max_length() -> Response:
    return _json(pages.value(DEFAULT_LENGTH))


@routes.post("/api/extra/tokencount")
async def tokencount() -> Work:
    state: State = current_app.config[KEY]
    body = jsontext.decode_request(json_of(request), shape=state.config.limits)
    prompt = fields.text(body, "prompt") or ""

    async def told() -> bytes:
        name = await default_model(state)
        call = Call(path="/api/extra/tokencount", body=jsontext.encode({"prompt": prompt}))
        if (counted := await _asked_of_backend(state, name, call)) is not None:
            return counted
        call = Call(path="/tokenize", body=jsontext.encode({"content": prompt, "add_special": True}))
        tokens = await _asked_of_backend(state, name, call, kind="llamacpp")
        return pages.estimate(prompt) if tokens is None else pages.token_count(tokens)

    return _answered(told)


@routes.get("/api/extra/perf")
async def perf() -> Response:
    state: State = current_app.config[KEY]
    waiting = sum(backend.gate.waiting for backend in state.backends.values())
    return _json(pages.perf(queue=waiting, idle=not len(state.live)))


async def _generate(operation: str) -> Work:
    state: State = current_app.config[KEY]
    parsed = north.parse(operation, json_of(request), shape=state.config.limits)
    if not parsed.model:
        parsed = msgspec.structs.replace(parsed, model=await default_model(state))
    return await relay(state, north, parsed)


def _asked_key() -> str:
    """The ``genkey`` of a check or an abort; old clients send no body at all."""
    state: State = current_app.config[KEY]
    data = json_of(request)
    if not data.strip():
        return ""
    return fields.text(jsontext.decode_request(data, shape=state.config.limits), "genkey") or ""


def _running(genkey: str) -> Living | None:
    """The generation of this key, the newest if there are several.

    Without a key it is the one generation that has none; where there are several it could be anybody's.
    """
    state: State = current_app.config[KEY]
    asking = holder().name
    found = [
        stream
        for stream in state.live
        if stream.request.dialect == "koboldcpp" and stream.key == asking and key_of(stream.request) == genkey
    ]
    return found[-1] if found and (genkey or len(found) == 1) else None


async def _asked_of_backend(state: State, name: str, call: Call, kind: str = "koboldcpp") -> bytes | None:
    """The answer of the model's backend itself, where that is of this kind and answers."""
    backend = (await targets_of(state, name))[0].backend
    if state.config.backends[backend].kind != kind:
        return None
    try:
        return await fetch(state.backends[backend], call)
    except PenstockError:
        return None


def _answered(told: Callable[[], Awaitable[bytes]]) -> Work:
    """The work of an answer that takes questions to backends."""

    async def answer() -> tuple[int, bytes]:
        try:
            return 200, await told()
        except PenstockError as error:
            return error.status, north.error(error)

    return Work(lambda sink: while_connected(sink, answer))


def _json(body: bytes) -> Response:
    return Response(body, content_type="application/json")
