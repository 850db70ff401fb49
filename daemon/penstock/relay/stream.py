"""One stream, from the request read to the last byte, in one nursery: leaving that proves that all of it is gone.

Two scopes.  The nursery's is cancelled when the client has left: nobody is there to be told.  The one inside it,
*work*, carries the total budget and is cancelled when the owner or the daemon ends the stream; what is left then is to
tell the client why.  Budgets inside an attempt are errors raised by its clocks, not scopes of their own.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import msgspec
import trio

from penstock.chat.lifecycle import Life, Phase, Step
from penstock.chat.reasons import Reason
from penstock.chat.request import Request
from penstock.dialects.base import Call, Identity, Northbound, Timing
from penstock.errors import ClientError, DeadlineSpent, Ended, PenstockError, StreamError
from penstock.policy.retry import may_try_next
from penstock.policy.routing import Target
from penstock.relay.attempt import Attempt
from penstock.relay.backends import Backend
from penstock.relay.clocks import Clocks
from penstock.relay.delivery import Client, Delivery
from penstock.relay.live import Live
from penstock.relay.outcome import Gaps, Outcome

#: Phases in which the client has got content.
SENT = frozenset({Phase.STREAMING, Phase.FINISHING})


class Plan(msgspec.Struct, frozen=True, kw_only=True):
    """One target with the call that asks it."""

    target: Target
    backend: Backend
    call: Call


class Pace(msgspec.Struct, frozen=True, kw_only=True):
    """How the daemon treats every client; seconds."""

    grace: float = 2.0
    heartbeat: float = 5.0


class Stream:
    """``run`` it once.  ``report`` gets the outcome, whatever happens; ``failed`` the outcome of an attempt that was
    followed by another; ``bug`` an exception that should not have been.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        request: Request,
        north: Northbound,
        plans: Sequence[Plan],
        client: Client,
        live: Live,
        pace: Pace,
        report: Callable[[Outcome], None],
        failed: Callable[[Plan, Reason, str], None],
        bug: Callable[[str, Exception], None],
    ) -> None:
        self.id = identity.stream
        self.request = request
        self.plan: Plan | None = None
        self.life = Life()
        self.started = trio.current_time()
        self.gaps = Gaps()
        self.bytes_in = 0
        self.first_token_at: float | None = None
        self.last_token_at: float | None = None
        self._identity = identity
        self._north = north
        self._plans = plans
        self._live = live
        self._pace = pace
        self._report = report
        self._failed = failed
        self._bug = bug
        self._work = trio.CancelScope()
        self._ending: StreamError | None = None
        self._reason: Reason | None = None
        self._message: str | None = None
        self._ended_in = Phase.QUEUED
        self._ended_at: float | None = None
        self._gone_at: float | None = None
        self._closed_at: float | None = None
        self._attempts = 0
        self._dropped: tuple[str, ...] = ()
        self._phases: dict[Phase, float] = {}
        self._phase_since = self.started
        self.delivery = Delivery(client)
        self.clocks = Clocks(
            self.started, grace=pace.grace, heartbeat=pace.heartbeat, timeouts=plans[0].target.timeouts
        )

    @property
    def phase(self) -> Phase:
        return self.life.phase

    def end(self, reason: Reason, message: str) -> None:
        """End the stream from outside; the client is told in-band.  The first reason stays."""
        if self._reason is None and self._ending is None:
            self._ending = Ended(message, reason.value)
            self._ended_now()
            self._work.cancel(reason=reason.value)

    async def run(self) -> Reason:
        """Live.  Leaves nothing behind: no task, no socket, no slot."""
        self._live.add(self)
        try:
            async with trio.open_nursery() as nursery:
                nursery.start_soon(self._watch, nursery.cancel_scope, name=f"stream {self.id} client watch")
                error = await self._work_through()
                if error is not None:
                    await self._tell(error)
                nursery.cancel_scope.cancel(reason="the stream is over")
        finally:
            # only somebody outside of the stream can have cancelled what was not settled here
            self._settle(Reason.SHUTDOWN, "the daemon stopped at once")
            self._enter(Step.END)
            self._live.remove(self)
            self._report(self._outcome())
        assert self._reason is not None
        return self._reason

    async def _watch(self, nursery_scope: trio.CancelScope) -> None:
        await self.delivery.client.gone()
        self._gone_at = trio.current_time()
        self._settle(Reason.CLIENT_GONE, None)
        nursery_scope.cancel(reason=Reason.CLIENT_GONE.value)

    async def _work_through(self) -> PenstockError | None:
        """Do the work; return the error that it ended with."""
        try:
            with self._work:
                await self._serve()
        except PenstockError as error:
            return error
        except Exception as error:
            self._bug(self.id, error)
            return PenstockError(f"a bug in penstock ended this stream; its log has the details under stream {self.id}")
        if self._work.cancelled_caught:
            total = self.clocks.timeouts.total
            return self._ending or DeadlineSpent(f"the stream took longer than its total budget of {total:g} s")
        return None

    async def _serve(self) -> None:
        """Try the targets in order until one answers."""
        for number, plan in enumerate(self._plans, start=1):
            self._begin(plan)
            attempt = Attempt(self, plan.backend, plan.call, self._enter)
            try:
                await attempt.run()
            except StreamError as error:
                if number == len(self._plans) or not may_try_next(error, content_sent=self.life.phase in SENT):
                    raise
                self._failed(plan, Reason(error.code), error.message)
                self._enter(Step.RETRY)
                self.life = Life()
            else:
                return
            finally:
                self._closed_at = attempt.closed_at

    def _begin(self, plan: Plan) -> None:
        self.plan = plan
        self._attempts += 1
        timeouts = plan.target.timeouts
        self._work.deadline = self.started + timeouts.total
        self.clocks.enter(Phase.QUEUED, trio.current_time(), timeouts)
        delivery = self.delivery
        delivery.writer = self._north.writer(
            self.request, self._identity, passthrough=plan.backend.south.name == self.request.dialect
        )
        self._dropped = plan.call.dropped
        delivery.marks = [("x-penstock-stream", self.id), ("x-penstock-target", header_text(str(plan.target)))]
        if plan.call.dropped:
            delivery.marks.append(("x-penstock-dropped", header_text(", ".join(plan.call.dropped))))

    async def _tell(self, error: PenstockError) -> None:
        """Tell the client why its stream ended."""
        reason = Reason(error.code) if isinstance(error, StreamError) else Reason.INTERNAL
        self._settle(reason, error.message)
        client = self.delivery.client
        if isinstance(error, ClientError):
            client.cut()
            return
        try:
            await self.delivery.fail(error, self._north.error(error), self.clocks.timeouts.write)
        except ClientError:
            client.cut()

    def completed(self) -> None:
        """The client has accepted the whole answer, but for the end of the body."""
        self._settle(Reason.COMPLETED, None)

    def _settle(self, reason: Reason, message: str | None) -> None:
        """The end has its one reason; whoever comes later has none."""
        if self._reason is None:
            self._reason = reason
            self._message = message
            self._ended_now()

    def _ended_now(self) -> None:
        if self._ended_at is None:
            self._ended_at = trio.current_time()
            self._ended_in = self.life.phase

    def _enter(self, step: Step) -> None:
        """Take a step of the life cycle, with the accounts that go with it."""
        before = self.life.phase
        self.life.step(step)
        self.entered(before)

    def entered(self, before: Phase) -> None:
        """The phase has changed from this one: start its clock, add up the time of the last."""
        now = trio.current_time()
        self._phases[before] = self._phases.get(before, 0.0) + now - self._phase_since
        self._phase_since = now
        self.clocks.enter(self.life.phase, now)

    def timing(self) -> Timing:
        """The durations for a dialect that tells them."""
        now = trio.current_time()
        first = self.first_token_at or now
        waited = sum(self._phases.get(phase, 0.0) for phase in (Phase.QUEUED, Phase.CONNECTING))
        return Timing(
            total_ns=nanoseconds(now - self.started),
            load_ns=nanoseconds(waited),
            prompt_ns=nanoseconds(first - self.started - waited),
            completion_ns=nanoseconds(now - first),
        )

    def _outcome(self) -> Outcome:
        now = trio.current_time()
        usage = self.life.usage
        tokens = usage.completion_tokens if usage is not None and usage.completion_tokens else self.life.tokens
        first, last = self.first_token_at, self.last_token_at
        speed = (tokens - 1) / (last - first) if first is not None and last is not None and last > first else None
        reason = self._reason or Reason.INTERNAL
        closed, ended, gone = self._closed_at, self._ended_at, self._gone_at
        if reason is Reason.COMPLETED:
            closed = None
        return Outcome(
            stream=self.id,
            dialect=self.request.dialect,
            operation=self.request.operation.value,
            key=None,
            model=self.request.model,
            backend=self.plan.backend.name if self.plan else None,
            target=str(self.plan.target) if self.plan else None,
            route=self.plan.target.route if self.plan else None,
            streamed=self.request.stream,
            reason=reason,
            phase=self._ended_in,
            message=self._message,
            attempts=self._attempts,
            phases=self._phases,
            total=now - self.started,
            first_token=None if first is None else first - self.started,
            tokens=tokens,
            prompt_tokens=usage.prompt_tokens if usage is not None else None,
            tokens_per_second=speed,
            bytes_in=self.bytes_in,
            bytes_out=self.delivery.bytes_out,
            heartbeats=self.delivery.heartbeats,
            dropped=self._dropped,
            teardown=None if closed is None or ended is None else max(0.0, closed - ended),
            orphaned=closed - gone if closed is not None and gone is not None and gone <= closed else None,
            gaps=self.gaps,
        )


def nanoseconds(seconds: float) -> int:
    return max(0, round(seconds * 1e9))


def header_text(text: str) -> str:
    """Text that may stand in a header: what a client or a backend wrote cannot add a line to it."""
    return "".join(c if " " <= c <= "~" else "?" for c in text)
