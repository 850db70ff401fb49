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
from penstock.policy import counts
from penstock.policy.health import rested_first
from penstock.policy.routing import Target
from penstock.relay.backends import Backend
from penstock.relay.delivery import Client
from penstock.relay.stream import Pace, Plan, Stream
from penstock.server.asgi import Work
from penstock.server.guarding import holder
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
    """The work of one stream; see :func:`prepare`."""
    stream_for = await prepare(state, north, request, targets=targets, speak=speak, pace=pace)
    return Work(lambda sink: stream_for(sink).run())


async def prepare(
    state: State,
    north: Northbound,
    request: Request,
    *,
    targets: Sequence[Target] | None = None,
    speak: Callable[[Backend], Backend] | None = None,
    pace: Pace | None = None,
) -> Callable[[Client], Stream]:
    """What makes the one stream of this request for its client, to be called once.

    ``targets`` are those of the model's route as a rule, ``speak`` chooses another language for a backend.  Raises
    UnknownModel, BadRequest, TooManyStreams, Draining while nothing has begun.
    """
    state.refuse_while_draining()
    limits, key = state.config.limits, holder()
    counts.check(request, limits)
    if targets is None:
        targets = await targets_of(state, request.model)
        # which may have taken its time
        state.refuse_while_draining()
    # From here to the begin of the stream nobody waits, so that what is counted now is true then.
    if len(state.live) >= limits.streams:
        raise TooManyStreams(f"penstock has as many streams as limits.streams allows ({limits.streams})")
    if key.max_streams is not None and state.live.of_key(key.name) >= key.max_streams:
        raise TooManyStreams(f"key '{key.name}' has all the {key.max_streams} streams that it may have at a time")
    plans = plan(state, request, targets, speak)
    identity = Identity(stream=f"{_BOOT}{next(_NUMBERS):06x}", created=time.time())

    def stream_for(client: Client) -> Stream:
        return Stream(
            identity=identity,
            key=key.name,
            request=request,
            north=north,
            plans=plans,
            client=client,
            live=state.live,
            generation=state.number,
            pace=pace or state.pace,
            log_content=state.logs_content,
            report=state.report,
            failed=state.failed,
            bug=state.bug,
        )

    return stream_for


async def targets_of(state: State, model: str) -> list[Target]:
    """The targets of a model name, the best first.  Raises UnknownModel, also for what the key may not ask for."""
    key = holder()
    if not state.may_ask(key, model):
        raise UnknownModel(model, [])
    router = state.router
    found = router.route_of(model)
    if found is None or len(found[1].targets) > 1:
        # Which of several backends has the model, or which names are near, only their lists can tell.
        await state.catalogue.models()
    try:
        return router.targets(model, state.catalogue.known())
    except UnknownModel as error:
        raise UnknownModel(model, [name for name in error.near if state.may_ask(key, name)]) from None


def plan(
    state: State, request: Request, targets: Sequence[Target], speak: Callable[[Backend], Backend] | None = None
) -> list[Plan]:
    """The calls to all targets that can be asked this at all.  Raises BadRequest when none can."""
    plans = []
    refusal: BadRequest | None = None
    for target in rested_first(targets, lambda target: state.backends[target.backend].health, trio.current_time()):
        backend = state.backends[target.backend]
        try:
            if speak is not None:
                backend = speak(backend)
            call = backend.south.encode(request, target.model, backend.manner)
        except BadRequest as error:
            refusal = refusal or error
        else:
            plans.append(Plan(target=target, backend=backend, call=call))
    if not plans:
        assert refusal is not None
        raise refusal
    return plans
