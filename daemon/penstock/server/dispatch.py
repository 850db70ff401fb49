"""The way of one request through Quart: match, ask the guard, call the route, or else an error handler.

Quart's own way asks a session, four signals and five kinds of hooks, none of which is used here, and finds every path
by a state machine, though nearly all paths are plain.
"""

from __future__ import annotations

from functools import cached_property

from quart import Request, Response
from quart.ctx import AppContext, RequestContext
from quart.globals import _cv_app, _cv_request
from quart.routing import QuartRule
from quart_trio import QuartTrio
from werkzeug.routing import MapAdapter

from penstock.server.asgi import HTTPConnection


class Context(RequestContext):
    """What ``request`` and ``current_app`` stand for in the task of one request."""

    def __init__(self, app: App, request: Request) -> None:
        self.app = app
        self.request_websocket = request

    @cached_property
    def url_adapter(self) -> MapAdapter | None:  # type: ignore[override]
        return self.app.create_url_adapter(self.request)


class App(QuartTrio):
    """Quart with its routes, its error handlers and those ``before_request`` that are for every request."""

    asgi_http_class = HTTPConnection

    async def handle_request(self, request: Request) -> Response:
        """A request -> what answers it.  The request has its task for itself, so what is set here stays in it."""
        context = Context(self, request)
        _cv_app.set(self._app_context)
        _cv_request.set(context)
        result: object
        try:
            result = await self._dispatch(context)
        except Exception as error:
            result = await self.handle_user_exception(error)
        assert isinstance(result, Response)
        return result

    async def _dispatch(self, context: Context) -> object:
        request = context.request
        rule = self._plain.get((request.method, request.path))
        if rule is not None:
            request.url_rule, request.view_args = rule, {}
        else:
            context.match_request()
        for ask in self.before_request_funcs[None]:
            answer: object = await self.ensure_async(ask)()
            if answer is not None:
                return answer
        return await self.dispatch_request(context)

    @cached_property
    def _app_context(self) -> AppContext:
        return self.app_context()

    @cached_property
    def _plain(self) -> dict[tuple[str, str], QuartRule]:
        """The rules of paths without variables, by method and path; they win over all others."""
        rules: dict[tuple[str, str], QuartRule] = {}
        for rule in self.url_map.iter_rules():
            if isinstance(rule, QuartRule) and not rule.arguments and not rule.websocket:
                for method in (rule.methods or set()) - {"OPTIONS"}:
                    rules.setdefault((method, rule.rule), rule)
        return rules
