"""What an owner and his monitoring look at."""

from __future__ import annotations

import datetime

import msgspec
import trio
from quart import Blueprint, Response, current_app

import penstock
from penstock.config.faults import FaultyFile
from penstock.errors import ConfigError, RestartNeeded, UnknownPath
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
    """The generation of the configuration and what runs on older ones, streams by phase, and each backend.

    Of a backend its slots, queue, connections and rest.
    """
    now = trio.current_time()
    loaded = datetime.datetime.fromtimestamp(state.loaded, datetime.UTC)
    return {
        "version": penstock.__version__,
        "generation": state.number,
        "loaded": loaded.isoformat(timespec="seconds"),
        "log_content": state.config.server.log_content,
        "older_generations": {
            number: streams for number, streams in sorted(state.live.by_generation().items()) if number != state.number
        },
        "streams": {phase.value: number for phase, number in state.live.by_phase().items()},
        "backends": {
            name: {
                "slots": backend.gate.slots,
                "busy": backend.gate.busy,
                "waiting": backend.gate.waiting,
                "connections": backend.transport.open,
                "idle_connections": backend.transport.idle,
                "resting": backend.health.resting(now),
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


@routes.post("/reload")
async def reload() -> Response:
    """Read the configuration anew and put it in force."""
    return await _read_anew(rehearsal=False)


@routes.get("/reload")
async def rehearse() -> Response:
    """Say what a reload would change, and change nothing."""
    return await _read_anew(rehearsal=True)


async def _read_anew(*, rehearsal: bool) -> Response:
    """200 with :class:`penstock.server.state.Difference`, 422 with the faults, or 409 with what wants a restart."""
    state: State = current_app.config[KEY]
    if state.reloads is None:
        raise UnknownPath("this penstock was started with a configuration that cannot be read again")
    told: dict[str, object]
    try:
        found = await (state.reloads.rehearse() if rehearsal else state.reloads.reload())
    except ConfigError as error:
        faults = [fault.display() for fault in error.found] if isinstance(error, FaultyFile) else error.faults
        status, told = 422, {"message": error.message, "faults": faults}
    except RestartNeeded as error:
        status, told = error.status, {"message": error.message, "keys": error.keys}
    else:
        status, told = 200, msgspec.to_builtins(found) | {"streams": streams(state)}
    return Response(msgspec.json.encode(told), status=status, content_type="application/json")


def streams(state: State) -> list[dict[str, object]]:
    """Every running stream: where it goes, under which generation, for how many seconds."""
    now = trio.current_time()
    return [
        {
            "stream": stream.id,
            "model": stream.request.model,
            "backend": stream.backend,
            "generation": stream.generation,
            "age": round(now - stream.began, 1),
        }
        for stream in state.live
    ]
