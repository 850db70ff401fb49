"""``penstock demo``: one stream to its end and one that is cut, seen from the client, from the backend and by penstock.

The daemon and a simulated backend run in this process, on free ports; the client is plain httpx in a thread, so that
what is timed is what a client sees.  Client and backend read the same clock, ``time.monotonic()``.
"""

from __future__ import annotations

import json
import time
from collections.abc import Iterator

import click
import httpx
import msgspec
import trio

import penstock
from penstock.chat.reasons import Reason
from penstock.config.model import Config, Server
from penstock.observe.log import configure
from penstock.relay.outcome import Outcome
from penstock.service.daemon import Daemon
from penstock.service.source import with_demo
from penstock.simulate import server as simulate
from penstock.simulate.records import RequestRecord

#: Tokens of the first answer; tokens after which the second client leaves, and how many it would have got; per second.
WHOLE, SEEN, CUT, RATE = 48, 20, 400, 30
#: The promise: a backend connection is closed within this time of the client's leaving; seconds.
BOUND = 0.05
#: Whatever is waited for comes within this time or never; seconds.
PATIENCE = 5.0
COLUMNS = 76

#: Model name -> what the simulated backend does.
SCRIPTS = {
    "whole": f"tokens={WHOLE},rate={RATE},first=300ms,id=whole",
    "cut": f"tokens={CUT},rate={RATE},first=300ms,id=cut",
}

NEXT = """Try next:  penstock serve --demo    and in another terminal
  curl -N http://127.0.0.1:11435/v1/chat/completions -H 'Content-Type: application/json' \\
    -d '{"model": "sim:tokens=50,rate=10", "stream": true, "messages": [{"role": "user", "content": "Hello"}]}'"""


class Heard(msgspec.Struct):
    """What a client saw; times of ``time.monotonic()``."""

    asked: float
    first: float = 0.0
    last: float = 0.0
    over: float = 0.0  #: the terminal marker came, or the client has decided to leave
    tokens: int = 0
    text: str = ""
    finish: str | None = None
    done: bool = False  #: the terminal marker came
    error: str | None = None  #: told in-band

    def note(self, data: str) -> str:
        """Take in the data of one event; returns its text."""
        if data == "[DONE]":
            self.done = True
            return ""
        event = json.loads(data)
        if "error" in event:
            self.error = event["error"]["message"]
            return ""
        choice = event["choices"][0]
        self.finish = choice["finish_reason"]
        token: str = choice["delta"].get("content", "")
        if token:
            self.last = time.monotonic()
            self.first = self.first or self.last
            self.tokens += 1
            self.text += token
        return token

    @property
    def speed(self) -> float:
        """Tokens per second, between the first and the last."""
        return (self.tokens - 1) / (self.last - self.first) if self.tokens > 1 else 0.0


class Told(msgspec.Struct, frozen=True, kw_only=True):
    """One stream, as its client, penstock and the backend tell it."""

    heard: Heard
    outcome: Outcome
    record: RequestRecord

    @property
    def closed_after(self) -> float:
        """Seconds from the client's leaving until the backend saw its connection closed."""
        assert self.record.peer_closed_at is not None
        return self.record.peer_closed_at - self.heard.over


@click.command("demo")
def command() -> None:
    """Show a stream and its teardown, without any backend.

    A chat goes through penstock to a simulated backend, token by token; a second one is cut in the middle by its
    client. Then both are told as timelines: time to first token, speed, the reason of the end, and how soon the
    backend was stopped. It takes four seconds and needs no configuration.

    Exit status: 0 when all was as it should be, 1 when not; the last lines say what.
    """
    configure("error", "console")
    try:
        faults = trio.run(show)
    except* KeyboardInterrupt:
        raise click.Abort from None
    except* trio.TooSlowError:
        raise click.ClickException(f"a stream had no end within {PATIENCE:g} s of its client's") from None
    except* httpx.HTTPError as errors:
        first = str(errors.exceptions[0]).partition("\n")[0]
        raise click.ClickException(f"the client's request failed: {first}") from None
    if faults:
        raise click.ClickException("not as it should be: " + "; ".join(faults))


async def show() -> list[str]:
    """The whole demonstration; returns what was wrong."""
    hear, outcomes = trio.open_memory_channel[Outcome](len(SCRIPTS))
    async with trio.open_nursery() as nursery:
        simulated = await nursery.start(simulate.serve, simulate.Settings(models=SCRIPTS))
        config = with_demo(Config(server=Server(listen=("127.0.0.1:0",))), simulated.url)
        (address,) = await nursery.start(Daemon(config, hear.send_nowait).serve)

        async def chat(model: str, leave_after: int | None) -> Told:
            heard = await trio.to_thread.run_sync(converse, address, model, leave_after, abandon_on_cancel=True)
            with trio.fail_after(PATIENCE):
                outcome = await outcomes.receive()
                if leave_after is not None:
                    await simulated.records.until(
                        lambda: any(r.peer_closed_at for r in simulated.records.stream(model))
                    )
            return Told(heard=heard, outcome=outcome, record=simulated.records.stream(model)[-1])

        click.echo(f"penstock {penstock.__version__} on {address}, before a simulated backend on {simulated.url}")
        heading("A chat, to its end")
        whole = await chat("whole", None)
        timeline(whole, rows_of_whole(whole))
        heading(f"Another, whose client leaves after {SEEN} of {CUT} tokens")
        cut = await chat("cut", SEEN)
        timeline(cut, rows_of_cut(cut))
        nursery.cancel_scope.cancel(reason="all is shown")
    faults = [*faults_of_whole(whole), *faults_of_cut(cut)]
    if not faults:
        verdict = f"All as it should be: no token lost, and the backend stopped within {milliseconds(BOUND)}."
        click.secho(f"\n{verdict}", fg="green")
    click.echo(f"\n{NEXT}")
    return faults


def converse(address: str, model: str, leave_after: int | None) -> Heard:
    """Ask for a chat and print it as it comes; leave after so many tokens."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Count."}]}
    column = 0
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        heard = Heard(asked=time.monotonic())
        with client.stream("POST", f"{address}/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                # what does not begin like this is a comment, or the blank line after an event
                if line.startswith("data: "):
                    column = type_out(heard.note(line.removeprefix("data: ")), column)
                    # leaving the loop closes the connection
                    heard.over = time.monotonic()
                    if heard.tokens == leave_after or heard.error:
                        break
    click.echo()
    return heard


def type_out(token: str, column: int) -> int:
    """Print a token as part of a paragraph; returns the column after it."""
    if column + len(token) > COLUMNS:
        click.echo()
        column = 0
    click.secho(token, fg="cyan", nl=False)
    return column + len(token)


def heading(title: str) -> None:
    click.secho(f"\n{title}", bold=True)


def timeline(told: Told, rows: list[tuple[float, str]]) -> None:
    """Rows of moment and event, in milliseconds since the request."""
    click.echo()
    for moment, event in rows:
        click.echo(f"{(moment - told.heard.asked) * 1e3:8.0f} ms  {event}")


def rows_of_whole(told: Told) -> list[tuple[float, str]]:
    heard = told.heard
    kept = "; its connection is kept for the next stream" if told.record.peer_closed_at is None else ""
    return [
        *rows_of_start(heard),
        (heard.last, f"last token: {heard.tokens} tokens, {heard.speed:.1f} tokens/s"),
        (heard.over, f"ended by the backend: {told.outcome.reason}{kept}"),
    ]


def rows_of_cut(told: Told) -> list[tuple[float, str]]:
    heard, late = told.heard, told.closed_after
    return [
        *rows_of_start(heard),
        (heard.over, f"the client leaves: {heard.tokens} tokens, {heard.speed:.1f} tokens/s"),
        (
            heard.over + late,
            f"ended by the client: {told.outcome.reason}; backend connection closed {milliseconds(late)} later",
        ),
    ]


def rows_of_start(heard: Heard) -> list[tuple[float, str]]:
    return [
        (heard.asked, "request sent"),
        (heard.first, f"first token; time to first token {milliseconds(heard.first - heard.asked)}"),
    ]


def faults_of_whole(told: Told) -> Iterator[str]:
    heard = told.heard
    if heard.text != "".join(f" t{i}" for i in range(WHOLE)):
        yield "the first answer is not what the backend sent"
    if not heard.done or heard.finish != "stop":
        yield "the first answer did not end with its finish reason and its terminal marker"
    if told.outcome.reason is not Reason.COMPLETED:
        yield f"the first stream ended with reason {told.outcome.reason}, not {Reason.COMPLETED}: {heard.error}"


def faults_of_cut(told: Told) -> Iterator[str]:
    heard = told.heard
    if heard.text != "".join(f" t{i}" for i in range(SEEN)):
        yield "the second answer is not what the backend sent"
    if told.outcome.reason is not Reason.CLIENT_GONE:
        yield f"the second stream ended with reason {told.outcome.reason}, not {Reason.CLIENT_GONE}"
    if told.closed_after > BOUND:
        yield f"the backend was stopped after {milliseconds(told.closed_after)}, not within {milliseconds(BOUND)}"


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.{1 if seconds < 0.01 else 0}f} ms"
