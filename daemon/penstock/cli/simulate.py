"""``penstock simulate``: run the stand-in backend."""

from __future__ import annotations

import signal
import socket

import click
import trio

from penstock.simulate.script import BadScript, parse
from penstock.simulate.server import Settings, listen, serve


def _address(context: click.Context, parameter: click.Parameter, value: str) -> tuple[str, int]:
    host, colon, port = value.rpartition(":")
    if not colon or not port.isdecimal() or int(port) > 65535:
        raise click.BadParameter(f"{value!r} is no HOST:PORT, for example 127.0.0.1:11500 or [::1]:0")
    return host.strip("[]") or "127.0.0.1", int(port)


def _models(context: click.Context, parameter: click.Parameter, values: tuple[str, ...]) -> dict[str, str]:
    """``coder=tokens=200,rate=50`` -> name and script."""
    models = dict(value.partition("=")[::2] for value in values)
    for script in models.values():
        _script(context, parameter, script)
    return models or {"sim": ""}


def _script(context: click.Context, parameter: click.Parameter, value: str) -> str:
    try:
        parse(value)
    except BadScript as error:
        raise click.BadParameter(str(error)) from None
    return value


@click.command()
@click.option(
    "--listen",
    "address",
    default="127.0.0.1:11500",
    show_default=True,
    metavar="HOST:PORT",
    callback=_address,
    help="Where to listen; port 0 takes one that is free.",
)
@click.option(
    "--slots", type=click.IntRange(1), metavar="N", help="Answers at a time; further requests wait without a byte."
)
@click.option(
    "--script",
    default="",
    metavar="SCRIPT",
    callback=_script,
    help="For model names that are neither a script nor listed.",
)
@click.option(
    "--model",
    "models",
    multiple=True,
    metavar="NAME[=SCRIPT]",
    callback=_models,
    help="List this model, with a script of its own; may be repeated.",
)
def command(address: tuple[str, int], slots: int | None, script: str, models: dict[str, str]) -> None:
    """Run a stand-in backend that answers as it is told, and misbehaves on demand.

    It speaks OpenAI's, Ollama's, Anthropic's and KoboldCpp's dialect, at the paths of each, and generates counting
    text, " t0 t1 t2 ...", so that a lost, doubled or reordered token shows.  The first line of output is the URL it
    listens on.  SIGINT and SIGTERM end it at once, with exit status 0.

    What happens is scripted by the model name, or by the request header x-simulate, which wins:

    \b
        sim:tokens=200,rate=50,first=300ms
        sim:tokens=50,rate=20,thinking=20,tools=2
        sim:tokens=100,rate=50,fault=silence@10
        sim:status=503,retry-after=2

    docs/simulate.md lists every parameter and every fault.

    What the stand-in saw, peers' closes included, with times of CLOCK_MONOTONIC:

    \b
        GET  /simulate/connections     every connection, newest last
        GET  /simulate/streams/ID      the requests named ID (header x-simulate-id, id=ID, or "user" in the body)
        GET  /simulate/counters        totals
        POST /simulate/reset           forget
    """
    host, port = address
    settings = Settings(host=host, port=port, slots=slots, script=script, models=models)
    try:
        listener = listen(settings)
    except OSError as error:
        raise click.ClickException(f"cannot listen on {host}:{port}: {error.strerror or error}") from None
    trio.run(_run, settings, listener)


async def _run(settings: Settings, listener: socket.socket) -> None:
    with trio.open_signal_receiver(signal.SIGINT, signal.SIGTERM) as signals:
        async with trio.open_nursery() as nursery:
            simulation = await nursery.start(serve, settings, listener)
            print(simulation.url, flush=True)
            async for _ in signals:
                nursery.cancel_scope.cancel()
