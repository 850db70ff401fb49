"""From a parsed request to a stream at work: the same for every dialect."""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence
from itertools import count
from secrets import token_hex

import trio

from penstock.chat.request import Request
from penstock.dialects.base import Identity, Northbound
from penstock.errors import BadRequest, TooManyStreams, UnknownModel
from penstock.policy.routing import Target
from penstock.relay.backends import Backend
from penstock.relay.stream import Pace, Plan, Stream
from penstock.server.asgi import Work
from penstock.server.guarding import holder
from penstock.server.sink import Sink
from penstock.server.state import State

#: Ids are unique among all daemons by the first half and in order within one by the second.
_BOOT = token_hex(3)
_NUMBERS = count(1)


async def relay(
    state: State,
    north: Northbound,
    request: Request,
    *,
    targets: Sequence[Target] | None = None,
    speak: Callable[[Backend], Backend] | None = None,
    pace: Pace | None = None,
) -> Work:
    """The work of one stream.  Raises UnknownModel, BadRequest, TooManyStreams, Draining while nothing has begun.

    ``targets`` are those of the model's route as a rule, ``speak`` chooses another language for a backend.
    """
    state.refuse_while_draining()
    key = holder()
    plans = plan(state, request, targets or await targets_of(state, request.model), speak)
    if key.max_streams is not None and state.live.of_key(key.name) >= key.max_streams:
        raise TooManyStreams(f"key '{key.name}' has all the {key.max_streams} streams that it may have at a time")
    identity = Identity(stream=f"{_BOOT}{next(_NUMBERS):06x}", created=time.time())

    async def run(sink: Sink) -> object:
        return await Stream(
            identity=identity,
            key=key.name,
            request=request,
            north=north,
            plans=plans,
            client=sink,
            live=state.live,
            pace=pace or state.pace,
            report=state.report,
            failed=state.failed,
            bug=state.bug,
        ).run()

    return Work(run)


async def targets_of(state: State, model: str) -> list[Target]:
    """The targets of a model name, the best first.  Raises UnknownModel, also for what the key may not ask for."""
    key = holder()
    if not key.may_ask(model):
        raise UnknownModel(model, [])
    router = state.router
    found = router.route_of(model)
    if found is None or len(found[1].targets) > 1:
        # Which of several backends has the model, or which names are near, only their lists can tell.
        await state.catalogue.models()
    try:
        return router.targets(model, state.catalogue.known())
    except UnknownModel as error:
        raise UnknownModel(model, [name for name in error.near if key.may_ask(name)]) from None


def plan(
    state: State, request: Request, targets: Sequence[Target], speak: Callable[[Backend], Backend] | None = None
) -> list[Plan]:
    """The calls to all targets that can be asked this at all.  Raises BadRequest when none can."""
    plans = []
    refusal: BadRequest | None = None
    for target in state.health.order(targets, lambda target: target.backend, trio.current_time()):
        backend = state.backends[target.backend]
        try:
            if speak is not None:
                backend = speak(backend)
            call = backend.south.encode(request, target.model)
        except BadRequest as error:
            refusal = refusal or error
        else:
            plans.append(Plan(target=target, backend=backend, call=call))
    if not plans:
        assert refusal is not None
        raise refusal
    return plans
