"""``penstock ide``: what an editor or a coding tool must be told to use penstock."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from string import Template

import click
import msgspec
import trio

from penstock.cli.faults import report
from penstock.cli.options import AS_SERVE, config_option
from penstock.cli.tools import TOOLS, Tool
from penstock.config.addresses import TcpAddress, parse_listen
from penstock.config.find import find
from penstock.config.load import load
from penstock.config.model import Config
from penstock.errors import ConfigError, PenstockError
from penstock.policy.routing import spelled_out
from penstock.service.door import EVERY, doors

#: Of a daemon that lists many, so many are shown.
MOST = 10


class Setting(msgspec.Struct, frozen=True, kw_only=True):
    """What is put into a template."""

    base: str  #: such as ``http://127.0.0.1:11435``
    models: tuple[str, ...]  #: the one to begin with first
    autocomplete: tuple[str, ...]  #: those of the models that are for it
    has_keys: bool

    @property
    def key(self) -> str:
        return "YOUR-KEY" if self.has_keys else "none"


@click.command("ide")
@click.argument("tool", required=False, type=click.Choice(list(TOOLS)), metavar="[TOOL]")
@config_option(AS_SERVE)
@click.pass_context
def command(ctx: click.Context, tool: str | None, file: Path | None) -> None:
    """Show how a tool is pointed at penstock; without TOOL, which tools are known.

    Nothing is changed.  The address is the one in the configuration.  The models are those that its routes spell out,
    or else those that the running daemon lists.

    Exit status: 0 when it was shown, 78 when the configuration is wrong, 1 for any other failure.

    Examples:

    \b
        penstock ide
        penstock ide continue
    """
    if tool is None:
        width = max(map(len, TOOLS))
        click.echo("\n".join(f"{name:{width}}  {known.name}" for name, known in TOOLS.items()))
        return
    try:
        config = load(file or find(os.environ))
    except ConfigError as error:
        ctx.exit(report(error))
    base = address_of(config)
    if base is None:
        raise click.ClickException("server.listen has no TCP address with a fixed port, and editors want one")
    click.echo(guide(TOOLS[tool], setting_of(config, base, os.environ)))


def guide(tool: Tool, setting: Setting) -> str:
    """The whole of what is shown."""
    parts = [f"{tool.name}: {tool.place}", snippet(tool, setting), f"Then: {filled(tool.then, setting)}"]
    parts += [filled(note, setting) for note in remarks(tool, setting)]
    return "\n\n".join(parts[:3]) + "".join(f"\n{note}" for note in parts[3:])


def remarks(tool: Tool, setting: Setting) -> Iterator[str]:
    """What is worth knowing, about the tool and about what is still to be filled in."""
    yield from tool.notes
    if setting.has_keys:
        yield f"{setting.key} stands for a key: penstock key new"
    if setting.models == ("MODEL",):
        yield "MODEL stands for a model's name: no route spells one out, and no daemon runs that could be asked."


def snippet(tool: Tool, setting: Setting) -> str:
    """The tool's own text, ready to be pasted."""
    entries = []
    for model in setting.models:
        is_short = model in setting.autocomplete and tool.each_autocomplete
        each = tool.each_autocomplete if is_short else tool.each
        entries.append(filled(each, setting, model=model))
    return filled(tool.template, setting, models=tool.joint.join(entries))


def filled(template: str, setting: Setting, *, model: str | None = None, models: str = "") -> str:
    """A template with everything in its place."""
    name = model or setting.models[0]
    quoted = json.dumps(name, ensure_ascii=False)
    return Template(template).substitute(
        base=setting.base,
        v1=f"{setting.base}/v1",
        model=quoted,
        bare=quoted[1:-1],
        key=setting.key,
        models=models,
    )


def address_of(config: Config) -> str | None:
    """Where tools on this machine reach penstock."""
    for address in map(parse_listen, config.server.listen):
        if isinstance(address, TcpAddress) and address.port:
            return f"http://{TcpAddress(EVERY.get(address.host, address.host), address.port)}"
    return None


def setting_of(config: Config, base: str, environ: Mapping[str, str]) -> Setting:
    """What this configuration, and the daemon that runs with it, have to say."""
    spelled = spelled_out(config.routes)
    autocomplete = tuple(name for name in spelled if config.routes[name].class_ == "autocomplete")
    # the model to begin with is one to talk to
    names = sorted(spelled, key=autocomplete.__contains__) or listed(config, environ) or ["MODEL"]
    return Setting(base=base, models=tuple(names), autocomplete=autocomplete, has_keys=bool(config.keys))


def listed(config: Config, environ: Mapping[str, str]) -> list[str]:
    """The names in a running daemon's list, of models to talk to."""
    for door in doors(config, environ):
        try:
            status, told = trio.run(door.ask, "GET", "/v1/models")
        except PenstockError:
            continue
        if status == 200:
            return [name for name in (str(model["id"]) for model in told["data"]) if "embed" not in name][:MOST]
    return []
