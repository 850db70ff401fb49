"""The Quart application: routes, error handlers, and what every request meets first."""

from __future__ import annotations

import logging

from hypercorn.config import Config as HypercornConfig
from hypercorn.logging import Logger
from quart import Quart, Response, request
from quart_trio import QuartTrio
from werkzeug.exceptions import HTTPException

from penstock.dialects.base import Northbound
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import MethodNotAllowed, PenstockError, UnknownPath
from penstock.relay.delivery import error_headers
from penstock.server import admin, ollama, openai
from penstock.server.asgi import LIMITS_KEY, REFUSAL_KEY, HTTPConnection
from penstock.server.state import KEY, State


def create_app(state: State) -> QuartTrio:
    """The application for one daemon."""
    app = QuartTrio("penstock", static_folder=None)
    app.asgi_http_class = HTTPConnection
    app.config[KEY] = state
    app.config[LIMITS_KEY] = state.config.limits
    # Budgets and limits are ours (server/asgi.py, relay): Quart's would cut streams without a word.
    app.config["RESPONSE_TIMEOUT"] = None
    app.config["BODY_TIMEOUT"] = None
    app.config["MAX_CONTENT_LENGTH"] = None
    app.config["PROPAGATE_EXCEPTIONS"] = False
    app.url_map.strict_slashes = False
    app.url_map.merge_slashes = False
    for blueprint in (openai.routes, ollama.routes, admin.routes):
        app.register_blueprint(blueprint)
    _handle_errors(app, state)
    return app


def _handle_errors(app: Quart, state: State) -> None:
    @app.before_request
    async def refuse() -> None:
        refusal = request.scope["state"].get(REFUSAL_KEY)
        if refusal is not None:
            raise refusal

    @app.errorhandler(PenstockError)
    async def ours(error: PenstockError) -> Response:
        state.observer.refused(request.method, request.path, error)
        return error_response(error)

    @app.errorhandler(HTTPException)
    async def routing(error: HTTPException) -> Response:
        if error.code == 405:
            return await ours(MethodNotAllowed(f"{request.method} is not how {request.path} is asked"))
        return await ours(UnknownPath(f"nothing is at {request.path}; the paths are in penstock's docs/dialects.md"))

    @app.errorhandler(Exception)
    async def bug(error: Exception) -> Response:
        state.observer.bug(f"{request.method} {request.path}", error)
        return error_response(PenstockError("a bug in penstock; its log has the details"))


def error_response(error: PenstockError) -> Response:
    """The error in the caller's dialect."""
    response = Response(north_of(request.path).error(error), status=error.status)
    for name, value in error_headers(error):
        response.headers[name] = value
    return response


def north_of(path: str) -> Northbound:
    """The language of whoever asks for this path."""
    return NORTHBOUND["ollama" if path.startswith("/api/") else "openai"]


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
