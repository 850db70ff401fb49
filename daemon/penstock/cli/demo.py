"""``penstock demo``: a stream to its end, one that is cut and one that falls silent, as all three sides see them.

The daemon and a simulated backend run in this process, on free ports; the client is plain httpx in a thread, so that
what is timed is what a client sees.  Client, penstock and backend read the same clock, ``time.monotonic()``.
"""

from __future__ import annotations

import errno
import json
import os
import shutil
import time
from collections.abc import Iterator
from typing import Any

import click
import httpx
import msgspec
import trio

import penstock
from penstock.chat.reasons import Reason
from penstock.config.model import Config, Server, Timeouts
from penstock.observe.log import configure
from penstock.relay.outcome import Outcome
from penstock.service.daemon import Daemon
from penstock.service.source import with_demo
from penstock.simulate import server as simulate
from penstock.simulate.records import RequestRecord

#: Tokens of the first answer; tokens after which the second client leaves; those after which the third backend falls
#: silent; how many both would have made; tokens per second.
WHOLE, SEEN, SAID, MANY, RATE = 48, 20, 12, 400, 30
#: The promise: a backend connection is closed within this time of what ends its stream; seconds.
BOUND = 0.05
#: On a machine that is busy with other things all takes longer; what takes longer than this has another cause.
WORST = 0.5
#: The third backend may be silent for so long, and its client hears a heartbeat so often meanwhile; seconds.
SILENCE, HEARTBEAT = 1.5, 0.4
#: Whatever is waited for comes within this time or never; seconds.
PATIENCE = 5.0

#: Model name -> what the simulated backend does.
SCRIPTS = {
    "whole": f"tokens={WHOLE},rate={RATE},first=300ms,id=whole",
    "cut": f"tokens={MANY},rate={RATE},first=300ms,id=cut",
    "silent": f"tokens={MANY},rate={RATE},first=300ms,fault=silence@{SAID},id=silent",
}

NEXT = """Try next:  penstock serve --demo    and in another terminal, with Ctrl-C when you have seen enough,
  curl -N http://127.0.0.1:11435/api/generate -d '{"model": "sim:tokens=99,rate=10", "prompt": "Hello"}'"""

#: Who did something -> the colour of its rows.
COLOURS = {"client": "cyan", "penstock": "yellow", "backend": "magenta"}
#: None: coloured where the output is a terminal.
COLOURED = False if os.environ.get("NO_COLOR") else None
#: Paragraphs are no wider than this, and no wider than the terminal; rows begin with so many columns of when and who.
WIDEST, MARGIN = 78, 23

#: When on the common clock, who, what.
Row = tuple[float, str, str]


class Heard(msgspec.Struct):
    """What a client saw; times of ``time.monotonic()``."""

    asked: float
    first: float = 0.0
    last: float = 0.0
    over: float = 0.0  #: the terminal marker or an error came, or the client has decided to leave
    beats: list[float] = []  #: heartbeats
    tokens: int = 0
    text: str = ""
    finish: str | None = None
    done: bool = False  #: the terminal marker came
    error: dict[str, Any] | None = None  #: told in-band

    def note(self, data: str) -> str:
        """Take in the data of one event; returns its text."""
        if data == "[DONE]":
            self.done = True
            return ""
        event = json.loads(data)
        if "error" in event:
            self.error = event["error"]
            return f" [{event['error']['message']}]"
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
    reported: float  #: when penstock was done with it
    record: RequestRecord

    @property
    def reason(self) -> Reason:
        return self.outcome.reason

    @property
    def closed(self) -> float:
        """When the backend saw its connection closed, or had ended the stream itself."""
        closed = self.record.peer_closed_at or self.record.ended_at
        assert closed is not None
        return closed

    @property
    def silent(self) -> float:
        """When the backend had been silent for too long."""
        assert self.record.last_byte_at is not None
        return self.record.last_byte_at + SILENCE


@click.command("demo")
def command() -> None:
    """Show a stream and its teardown, without any backend.

    Three chats go through penstock to a simulated backend, token by token: one to its end, one whose client leaves in
    the middle, one whose backend falls silent. Each is then told as a timeline: time to first token, speed, who ended
    it and why, and how soon the backend's connection was closed. It takes seven seconds and needs no configuration.

    Exit status: 0 when all was as it should be, 1 when not; the last line says what was wrong.
    """
    configure("error", "console")
    try:
        faults = trio.run(show)
    except* KeyboardInterrupt:
        raise click.Abort from None
    except* BrokenPipeError:
        # click knows what that means: whoever read along has seen enough
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE)) from None
    except* trio.TooSlowError:
        raise click.ClickException(f"a stream had no end within {PATIENCE:g} s of its client's") from None
    except* httpx.HTTPError as errors:
        first = str(errors.exceptions[0]).partition("\n")[0]
        raise click.ClickException(f"the client's request failed: {first}") from None
    if faults:
        raise click.ClickException("not as it should be: " + "; ".join(faults))


async def show() -> list[str]:
    """The whole demonstration; returns what was wrong."""
    hear, outcomes = trio.open_memory_channel[tuple[float, Outcome]](len(SCRIPTS))
    async with trio.open_nursery() as nursery:
        simulated = await nursery.start(simulate.serve, simulate.Settings(models=SCRIPTS))
        daemon = Daemon(configuration(simulated.url), lambda outcome: hear.send_nowait((time.monotonic(), outcome)))
        (address,) = await nursery.start(daemon.serve)

        async def chat(model: str, leave_after: int | None = None) -> Told:
            heard = await trio.to_thread.run_sync(converse, address, model, leave_after, abandon_on_cancel=True)
            with trio.fail_after(PATIENCE):
                reported, outcome = await outcomes.receive()
                record = simulated.records.stream(model)[-1]
                await simulated.records.until(lambda: record.end is not None)
            return Told(heard=heard, outcome=outcome, reported=reported, record=record)

        say(f"penstock {penstock.__version__} on {address}, a simulated backend on {simulated.url}")
        heading("1. A chat, to its end")
        whole = await chat("whole")
        timeline(whole, rows_of_whole(whole))
        heading(f"2. Another, whose client leaves after {SEEN} of {MANY} tokens")
        cut = await chat("cut", SEEN)
        timeline(cut, rows_of_cut(cut))
        heading(f"3. A third, whose backend falls silent after {SAID} of {MANY} tokens, its connection open")
        silent = await chat("silent")
        timeline(silent, rows_of_silent(silent))
        nursery.cancel_scope.cancel(reason="all is shown")
    faults = [*faults_of_whole(whole), *faults_of_cut(cut), *faults_of_silent(silent)]
    if not faults:
        late = max(cut.closed - cut.heard.over, silent.closed - silent.silent)
        busy = (
            "" if late <= BOUND else f" (this machine is busy: {milliseconds(BOUND)} is the bound of one that is not)"
        )
        bound = milliseconds(max(late, BOUND))
        said = f"All as it should be: no token lost, and each dead stream's backend stopped within {bound}{busy}."
        say(f"\n{click.wrap_text(said, WIDEST)}", fg="green")
    say(f"\n{NEXT}")
    return faults


def configuration(url: str) -> Config:
    """The defaults, but for a free port and a patience that can be watched."""
    server = Server(listen=("127.0.0.1:0",), heartbeat=HEARTBEAT)
    return with_demo(Config(server=server, timeouts=Timeouts(silence=SILENCE)), url)


# --- the client ------------------------------------------------------------------------------------------------------


def converse(address: str, model: str, leave_after: int | None) -> Heard:
    """Ask for a chat and print it as it comes, heartbeats as dots; leave after so many tokens."""
    body = {"model": model, "stream": True, "messages": [{"role": "user", "content": "Count."}]}
    column = 0
    with httpx.Client(timeout=PATIENCE, trust_env=False) as client:
        heard = Heard(asked=time.monotonic())
        with client.stream("POST", f"{address}/v1/chat/completions", json=body) as response:
            response.raise_for_status()
            for line in response.iter_lines():
                if line.startswith(":"):
                    heard.beats.append(time.monotonic())
                    column = type_out(" .", column, fg="yellow")
                elif line.startswith("data: "):
                    text = heard.note(line.removeprefix("data: "))
                    column = type_out(text, column, fg="red" if heard.error else "cyan")
                    # leaving the loop closes the connection
                    heard.over = time.monotonic()
                    if heard.tokens == leave_after or heard.error:
                        break
    say("")
    return heard


def type_out(text: str, column: int, fg: str) -> int:
    """Print a piece as part of a paragraph; returns the column after it."""
    if column + len(text) > width():
        say("")
        column = 0
    say(text, fg=fg, nl=False)
    return column + len(text)


# --- the timelines ---------------------------------------------------------------------------------------------------


def rows_of_whole(told: Told) -> Iterator[Row]:
    heard = told.heard
    yield from rows_of_start(heard)
    yield heard.last, "client", f"last token: {heard.tokens} tokens, {heard.speed:.1f} tokens/s"
    yield told.reported, "penstock", f"ended by the backend: {told.reason}"
    if told.record.peer_closed_at is None:
        yield told.reported, "backend", "its connection is kept for the next stream"


def rows_of_cut(told: Told) -> Iterator[Row]:
    heard = told.heard
    yield from rows_of_start(heard)
    yield heard.over, "client", f"leaves: {heard.tokens} tokens, {heard.speed:.1f} tokens/s"
    yield told.reported, "penstock", f"ended by the client: {told.reason}"
    late = milliseconds(told.closed - heard.over)
    yield told.closed, "backend", f"connection closed {late} after the client left"


def rows_of_silent(told: Told) -> Iterator[Row]:
    heard = told.heard
    yield from rows_of_start(heard)
    yield heard.last, "client", f"last token: {heard.tokens} tokens, {heard.speed:.1f} tokens/s"
    if heard.beats:
        yield heard.beats[0], "client", f"the first of {len(heard.beats)} heartbeats, the dots above"
    yield told.silent, "penstock", f"has waited {SILENCE:g} s, its silence budget"
    yield told.reported, "penstock", f"ended by penstock: {told.reason}"
    late = milliseconds(told.closed - told.silent)
    yield told.closed, "backend", f"connection closed {late} after the budget was spent"
    if heard.error:
        yield heard.over, "client", f"is told why: {heard.error['code']}"


def rows_of_start(heard: Heard) -> Iterator[Row]:
    yield heard.asked, "client", "asks"
    yield heard.first, "client", f"first token; time to first token {milliseconds(heard.first - heard.asked)}"


def timeline(told: Told, rows: Iterator[Row]) -> None:
    """Rows in the order of their moments, in milliseconds since the request."""
    say("")
    for moment, who, event in sorted(rows, key=lambda row: row[0]):
        lines = click.wrap_text(event, width() - MARGIN).splitlines()
        say(f"{(moment - told.heard.asked) * 1e3:8.0f} ms  ", nl=False)
        say(f"{who:8}  ", nl=False, fg=COLOURS[who])
        say(f"\n{'':{MARGIN}}".join(lines))


def heading(title: str) -> None:
    say(f"\n{title}", bold=True)


def say(text: str, *, nl: bool = True, **style: Any) -> None:
    click.secho(text, nl=nl, color=COLOURED, **style)


def width() -> int:
    """Columns for text."""
    return max(MARGIN + 20, min(WIDEST, shutil.get_terminal_size().columns - 1))


def milliseconds(seconds: float) -> str:
    return f"{seconds * 1e3:.{1 if seconds < 0.01 else 0}f} ms"


# --- what was wrong --------------------------------------------------------------------------------------------------


def faults_of_whole(told: Told) -> Iterator[str]:
    heard = told.heard
    if heard.text != counted(WHOLE):
        yield "the first answer is not what the backend sent"
    if not heard.done or heard.finish != "stop":
        yield "the first answer did not end with its finish reason and its terminal marker"
    if told.reason is not Reason.COMPLETED:
        yield f"the first stream ended with reason {told.reason}, not {Reason.COMPLETED}: {told.outcome.message}"


def faults_of_cut(told: Told) -> Iterator[str]:
    if told.heard.text != counted(SEEN):
        yield "the second answer is not what the backend sent"
    if told.reason is not Reason.CLIENT_GONE:
        yield f"the second stream ended with reason {told.reason}, not {Reason.CLIENT_GONE}"
    yield from faults_of_close("second", told.closed - told.heard.over)


def faults_of_silent(told: Told) -> Iterator[str]:
    if told.heard.text != counted(SAID):
        yield "the third answer is not what the backend sent"
    if told.reason is not Reason.SILENCE:
        yield f"the third stream ended with reason {told.reason}, not {Reason.SILENCE}"
    if (told.heard.error or {}).get("code") != Reason.SILENCE:
        yield "the third client was not told why its stream ended"
    yield from faults_of_close("third", told.closed - told.silent)


def faults_of_close(which: str, late: float) -> Iterator[str]:
    if late > WORST:
        yield f"the {which} backend was stopped after {milliseconds(late)}, not within {milliseconds(BOUND)}"


def counted(tokens: int) -> str:
    """What the backend says."""
    return "".join(f" t{i}" for i in range(tokens))
