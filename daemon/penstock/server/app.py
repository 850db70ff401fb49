"""The Quart application: routes, error handlers, and what every request meets first."""

from __future__ import annotations

import logging
from typing import cast

from hypercorn.config import Config as HypercornConfig
from hypercorn.logging import Logger
from hypercorn.typing import HTTPScope
from quart import Quart, Response, request
from werkzeug.exceptions import HTTPException
from werkzeug.routing import PathConverter

from penstock.dialects.base import Northbound
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import PenstockError, Unauthorized, UnknownPath, UpgradeRequired
from penstock.relay.delivery import error_headers
from penstock.server import (
    admin,
    anthropic,
    embeddings,
    guarding,
    koboldcpp,
    lmstudio,
    ollama,
    opaque,
    openai,
    typed_events,
    websocket,
)
from penstock.server.asgi import LIMITS_KEY, REFUSAL_KEY
from penstock.server.dispatch import App
from penstock.server.handshake import VERSION, is_handshake
from penstock.server.methods import SHOWN, not_so
from penstock.server.state import KEY, State

#: Whose paths begin so; the first that fits.
_DIALECTS = (
    ("/api/chat/stream", "typed_events"),
    ("/api/ws/", "websocket"),
    ("/api/v1/", "koboldcpp"),
    ("/api/extra/", "koboldcpp"),
    ("/api/v0/", "openai"),
    ("/api/", "ollama"),
    ("/v1/messages", "anthropic"),
    ("/messages", "anthropic"),
)


class ModelName(PathConverter):
    """The rest of a path, all of it: llama.cpp names a model by its file, which may begin with a slash."""

    regex = ".+?"
    part_isolating = False


def create_app(state: State) -> App:
    """The application for one daemon."""
    app = App("penstock", static_folder=None)
    app.config[KEY] = state
    app.config[LIMITS_KEY] = state.config.limits
    # Budgets and limits are ours (server/asgi.py, relay): Quart's would cut streams without a word.
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["BODY_TIMEOUT"] = None
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    app.url_map.converters["model"] = ModelName
    for module in (openai, anthropic, ollama, embeddings, koboldcpp, typed_events, websocket, lmstudio, opaque, admin):
        app.register_blueprint(module.routes)
    _guard(app, state)
    _handle_errors(app, state)
    return app


def _guard(app: Quart, state: State) -> None:
    @app.before_request
    async def before_request() -> Response | None:
        scope, endpoint = cast(HTTPScope, request.scope), request.endpoint
        refusal = scope["state"].get(REFUSAL_KEY)
        if refusal is not None:
            raise refusal
        if scope["method"] == "OPTIONS":
            headers = guarding.preflight(state.guard, scope)
            if headers is not None:
                return Response(b"", status=204, headers=headers)
        elsewhere = scope["method"] == "GET" and endpoint != "websocket.chat"
        lost = elsewhere and is_handshake(scope["headers"])
        guarding.authorize(None if lost else endpoint)
        if lost:
            raise UnknownPath(f"no WebSocket is at {request.path[:SHOWN]}; there is one at /api/ws/chat")
        return None


def _handle_errors(app: Quart, state: State) -> None:
    @app.errorhandler(PenstockError)
    async def ours(error: PenstockError) -> Response:
        state.observer.refused(request.method, request.path, error)
        return error_response(error, request.path)

    @app.errorhandler(HTTPException)
    async def routing(error: HTTPException) -> Response:
        if error.code == 405:
            return await ours(not_so())
        where = request.path[:SHOWN]
        return await ours(UnknownPath(f"nothing is at {where}; the paths are in penstock's docs/endpoints.md"))

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        state.observer.bug(f"{request.method} {request.path}", error)
        return error_response(PenstockError("a bug in penstock; its log has the details"), request.path)


def error_response(error: PenstockError, path: str) -> Response:
    """The error in the dialect of whoever asks for this path."""
    response = Response(north_of(path).error(error), status=error.status)
    for name, value in error_headers(error):
        response.headers[name] = value
    if isinstance(error, UpgradeRequired):
        response.headers["Upgrade"] = "websocket"
        response.headers["Connection"] = "Upgrade"
        response.headers["Sec-WebSocket-Version"] = VERSION.decode()
    if isinstance(error, Unauthorized):
        response.headers["WWW-Authenticate"] = "Bearer"
    return response


def north_of(path: str) -> Northbound:
    """The language of whoever asks for this path."""
    for prefix, dialect in _DIALECTS:
        if path.startswith(prefix):
            return NORTHBOUND[dialect]
    return NORTHBOUND["openai"]


class HypercornLogger(Logger):
    """Hypercorn's own lines: errors to our log, access lines nowhere, since every stream's end is logged by itself."""

    def __init__(self, config: HypercornConfig) -> None:
        super().__init__(config)
        self.error_logger = logging.getLogger("hypercorn.error")


def hypercorn_config(state: State) -> HypercornConfig:
    """Hypercorn with everything off that is ours to decide."""
    config = HypercornConfig()
    config.logger_class = HypercornLogger
    config.accesslog = config.errorlog = None
    config.include_server_header = False
    config.h11_max_incomplete_size = state.config.limits.headers
    # It counts the client's silence during the answer and would kill healthy streams.
    config.read_timeout = None
    config.keep_alive_max_requests = 1_000_000_000
    return config
