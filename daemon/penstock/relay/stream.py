"""One stream, from the request read to the last byte, in one task: when that returns, all of it is gone.

Two scopes.  The outer one, the client's, is cancelled when it has left: nobody is there to be told.  The one inside it,
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
from penstock.dialects.base import Call, Identity, Northbound, Writer
from penstock.errors import BackendGarbled, ClientError, DeadlineSpent, Ended, PenstockError, StreamError
from penstock.policy.retry import may_try_next
from penstock.policy.routing import Target
from penstock.relay.account import Account
from penstock.relay.attempt import Attempt
from penstock.relay.backends import Backend
from penstock.relay.clocks import Clocks
from penstock.relay.content import Content, Recorded
from penstock.relay.delivery import Client, Delivery
from penstock.relay.live import Live
from penstock.relay.outcome import Outcome

#: Characters of a header that tells of the stream; clients give up at 8 to 16 KiB for all headers together.
LONGEST_MARK = 1000
#: Whoever is told that his stream is ended has this long to take it: a stalled reader gets no second write budget.
LAST_WORDS = 1.0


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
    followed by another; ``bug`` an exception that should not have been.  ``log_content``: what was asked and answered
    is part of the outcome; whoever wants that no more before the end gets nothing of it.
    """

    def __init__(
        self,
        *,
        identity: Identity,
        key: str | None = None,
        request: Request,
        north: Northbound,
        plans: Sequence[Plan],
        client: Client,
        live: Live,
        generation: int = 1,
        pace: Pace,
        log_content: Callable[[], bool] = lambda: False,
        report: Callable[[Outcome], None],
        failed: Callable[[str, Plan, Reason, str], None],
        bug: Callable[[str, Exception], None],
    ) -> None:
        self.id = identity.stream
        self.key = key
        self.generation = generation
        self.request = request
        self.plan: Plan | None = None
        self._identity = identity
        self._north = north
        self._plans = plans
        self._live = live
        self._report = report
        self._failed = failed
        self._bug = bug
        now = trio.current_time()
        self._work = trio.CancelScope(deadline=now + plans[0].target.timeouts.total)
        self._ending: StreamError | None = None
        self._reason: Reason | None = None
        self._message: str | None = None
        self._layer: str | None = None
        self._ended_in = Phase.QUEUED
        self._ended_at: float | None = None
        self._gone_at: float | None = None
        self._closed_at: float | None = None
        self._attempts = 0
        self._passthrough: bool | None = None  #: of the writer; None: there is none yet
        self._dropped: tuple[str, ...] = ()
        self._clocks = Clocks(now, grace=pace.grace, heartbeat=pace.heartbeat, timeouts=plans[0].target.timeouts)
        self._log_content = log_content
        self._account = Account(self._clocks, now, Recorded if log_content() else Life)
        self._delivery = Delivery(client)

    @property
    def phase(self) -> Phase:
        return self._account.life.phase

    @property
    def began(self) -> float:
        """When its request had been read; on trio's clock."""
        return self._account.started

    @property
    def backend(self) -> str | None:
        """The name of the one that is asked."""
        return self.plan.backend.name if self.plan else None

    @property
    def writer(self) -> Writer:
        """Of the answer, as far as it has come."""
        return self._delivery.writer

    @property
    def bytes_out(self) -> int:
        """What the client has been given."""
        return self._delivery.bytes_out

    def end(self, reason: Reason, message: str) -> None:
        """End the stream from outside; the client is told in-band.  The first reason stays."""
        if self._reason is None and self._ending is None:
            self._ending = Ended(message, reason.value)
            self._decided()
            self._work.cancel(reason=reason.value)

    async def run(self) -> Reason:
        """Live.  Leaves nothing behind: no task, no socket, no slot."""
        self._live.add(self)
        try:
            with self._delivery.client.while_here(self._left):
                error = await self._work_through()
                if error is not None:
                    await self._tell(error)
        finally:
            # only somebody outside of the stream can have cancelled what was not settled here
            self._settle(Reason.SHUTDOWN, "the daemon stopped at once")
            self._account.enter(Step.END)
            self._live.remove(self)
            self._report(self._outcome())
        assert self._reason is not None
        return self._reason

    def _left(self) -> None:
        """The client has left, and the outer scope is about to be cancelled."""
        self._gone_at = trio.current_time()
        self._settle(Reason.CLIENT_GONE, None)

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
            self._decided(self._work.deadline)
            total = self._clocks.timeouts.total
            return self._ending or DeadlineSpent(f"the stream took longer than its total budget of {total:g} s")
        return None

    async def _serve(self) -> None:
        """Try the targets in order until one answers."""
        for number, plan in enumerate(self._plans, start=1):
            self._begin(plan)
            attempt = Attempt(
                self.request,
                plan.backend,
                plan.call,
                account=self._account,
                delivery=self._delivery,
                completed=self._completed,
            )
            try:
                await attempt.run()
            except StreamError as error:
                if number == len(self._plans) or not may_try_next(error, content_sent=self._account.content_sent):
                    self._decided(attempt.failed_at)
                    raise
                self._failed(self.id, plan, Reason(error.code), self._told(error))
                self._account.start_over()
            else:
                return
            finally:
                self._closed_at = attempt.closed_at

    def _begin(self, plan: Plan) -> None:
        self.plan = plan
        self._attempts += 1
        timeouts = plan.target.timeouts
        if (deadline := self._account.started + timeouts.total) != self._work.deadline:
            self._work.deadline = deadline
        self._clocks.enter(Phase.QUEUED, trio.current_time(), timeouts)
        delivery = self._delivery
        passthrough = plan.backend.south.name == self.request.dialect
        self._identity.target, self._identity.dropped = str(plan.target), plan.call.dropped
        if passthrough is not self._passthrough:
            # else the last attempt's goes on, as a heartbeat may have opened the answer already
            self._passthrough = passthrough
            delivery.writer = self._north.writer(self.request, self._identity, passthrough=passthrough)
        self._dropped = plan.call.dropped
        delivery.marks = [("x-penstock-stream", self.id), ("x-penstock-target", header_text(str(plan.target)))]
        if plan.call.dropped:
            delivery.marks.append(("x-penstock-dropped", header_text(", ".join(plan.call.dropped))))

    async def _tell(self, error: PenstockError) -> None:
        """Tell the client why its stream ended."""
        reason = Reason(error.code) if isinstance(error, StreamError) else Reason.INTERNAL
        whole = self._reason is Reason.COMPLETED
        self._settle(reason, self._told(error), error.layer if isinstance(error, BackendGarbled) else None)
        client = self._delivery.client
        if whole or isinstance(error, ClientError):
            # Behind the end of an answer nothing can be told any more, nor to whoever takes nothing.
            client.cut()
            return
        write = self._clocks.timeouts.write
        if self._work.cancel_called:
            write = min(write, LAST_WORDS)
        try:
            await self._delivery.fail(error, self._north.error(error), write)
        except ClientError:
            client.cut()

    def _told(self, error: PenstockError) -> str:
        """What the log may say of it."""
        return error.message if self._log_content() else error.logged

    def _completed(self) -> None:
        """The client has accepted the whole answer, but for the end of the body."""
        self._settle(Reason.COMPLETED, None)

    def _settle(self, reason: Reason, message: str | None, layer: str | None = None) -> None:
        """The end has its one reason; whoever comes later has none."""
        if self._reason is None:
            self._reason = reason
            self._message = message
            self._layer = layer
            self._decided()

    def _decided(self, at: float | None = None) -> None:
        """The stream ends, and since when (None: since now): what the teardown is counted from."""
        if self._ended_at is None:
            self._ended_at = trio.current_time() if at is None else at
            self._ended_in = self.phase

    def _outcome(self) -> Outcome:
        account = self._account
        generates = self.request.operation.generates
        usage, first = account.life.usage, account.first_token_at
        reason = self._reason or Reason.INTERNAL
        closed, ended, gone = self._closed_at, self._ended_at, self._gone_at
        if reason is Reason.COMPLETED:
            closed = None
        return Outcome(
            stream=self.id,
            dialect=self.request.dialect,
            operation=self.request.operation.value,
            key=self.key,
            model=self.request.model,
            backend=self.backend,
            target=str(self.plan.target) if self.plan else None,
            label=self.plan.target.label if self.plan else None,
            route=self.plan.target.route if self.plan else None,
            streamed=self.request.stream,
            reason=reason,
            phase=self._ended_in,
            message=self._message,
            layer=self._layer,
            attempts=self._attempts,
            phases=account.phases,
            total=trio.current_time() - account.started,
            first_token=None if first is None else first - account.started,
            tokens=account.tokens if generates else 0,
            prompt_tokens=usage.prompt_tokens if usage is not None else None,
            tokens_per_second=account.tokens_per_second if generates else None,
            bytes_in=account.bytes_in,
            bytes_out=self._delivery.bytes_out,
            heartbeats=self._delivery.heartbeats,
            dropped=self._dropped,
            teardown=None if closed is None or ended is None else max(0.0, closed - ended),
            orphaned=closed - gone if closed is not None and gone is not None and gone <= closed else None,
            gaps=account.gaps,
            content=self._content(),
        )

    def _content(self) -> Content | None:
        """What the log gets of it, if it gets any."""
        life = self._account.life
        return life.content(self.request) if isinstance(life, Recorded) and self._log_content() else None


def header_text(text: str) -> str:
    """Text that may stand in a header: what a client or a backend wrote adds no line to it and fills no parser.

    White space around a value is none of it, and may not be written (RFC 9110 5.5).
    """
    shown = text.strip() if len(text) <= LONGEST_MARK else text[: LONGEST_MARK - 3].strip() + "..."
    if shown.isascii() and shown.isprintable():
        return shown
    return "".join(c if " " <= c <= "~" else "?" for c in shown)
