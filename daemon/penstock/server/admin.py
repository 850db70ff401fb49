"""What an owner and his monitoring look at."""

from __future__ import annotations

import msgspec
import trio
from quart import Blueprint, Response, current_app

import penstock
from penstock.server.guarding import holder
from penstock.server.state import KEY, State

routes = Blueprint("admin", __name__)


@routes.get("/health")
async def health() -> Response:
    """200 while requests are taken, 503 while the daemon drains; an owner also gets :func:`details`."""
    state: State = current_app.config[KEY]
    body: dict[str, object] = {"status": "draining" if state.draining else "ok"}
    if holder().admin:
        body |= details(state)
    return Response(msgspec.json.encode(body), status=503 if state.draining else 200, content_type="application/json")


def details(state: State) -> dict[str, object]:
    """Streams by phase; of each backend its slots, queue, connections and rest."""
    now = trio.current_time()
    return {
        "version": penstock.__version__,
        "streams": {phase.value: number for phase, number in state.live.by_phase().items()},
        "backends": {
            name: {
                "slots": backend.gate.slots,
                "busy": backend.gate.busy,
                "waiting": backend.gate.waiting,
                "connections": backend.transport.open,
                "idle_connections": backend.transport.idle,
                "resting": state.health.resting(name, now),
            }
            for name, backend in state.backends.items()
        },
    }


@routes.get("/metrics")
async def metrics() -> Response:
    """Prometheus text."""
    state: State = current_app.config[KEY]
    text, content_type = state.observer.scrape()
    return Response(text, content_type=content_type)
