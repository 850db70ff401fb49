"""What the doctor looks at: files, secrets, addresses, the service, backends, and one token through all of it."""

from __future__ import annotations

import os
import stat
from collections.abc import Mapping
from pathlib import Path as FilePath
from typing import Literal

import msgspec
import trio

from penstock.chat.models import Model
from penstock.config.addresses import TcpAddress, UnixAddress, parse_listen
from penstock.config.load import Loaded
from penstock.config.model import LOGS_CONTENT
from penstock.config.positions import Path
from penstock.config.secrets import Reference, resolve
from penstock.dialects.registry import SOUTHBOUND
from penstock.errors import BackendGarbled, BackendRefused, ConfigError, ConnectFailed, FirstTokenTimeout, PenstockError
from penstock.policy.keys import DIGEST
from penstock.relay.backends import Backend, build_backends
from penstock.relay.fetch import fetch
from penstock.service.daemon import Daemon
from penstock.service.discover import discover
from penstock.service.door import KEY_VARIABLE, Door, doors
from penstock.service.lane import can_chat, lane_config, names_of, one_token
from penstock.service.ports import holders
from penstock.service.probe import probe
from penstock.service.units import units

State = Literal["ok", "warning", "fault"]
#: Seconds for everything that is asked of one backend but the token.
PATIENCE = 5.0
_LOOPBACK = ("localhost", "127.0.0.1", "::1")


class Finding(msgspec.Struct, frozen=True):
    """One thing that was looked at."""

    subject: str
    state: State
    text: str
    todo: str = ""  #: what to do about it


class Examination:
    """One configuration, looked at from all sides; ``findings`` are in the order of the looking."""

    def __init__(self, loaded: Loaded, environ: Mapping[str, str], patience: float) -> None:
        self.findings: list[Finding] = []
        self.config = loaded.config
        self._merged = loaded.merged
        self._environ = environ
        self._patience = patience
        #: addresses on which a daemon answers
        self._answering: set[TcpAddress | UnixAddress] = set()
        #: by backend, where it told them
        self._models: dict[str, list[Model]] = {}
        self._keys: dict[str, str] = {}
        #: backends whose key only the service can read
        self._locked: set[str] = set()

    async def run(self) -> None:
        """All of it; backends are asked side by side."""
        if not self.config.backends:
            found = (await discover()).backends
            self.config = msgspec.structs.replace(self.config, backends=found)
            if found:
                self._note("backends", "ok", f"none are configured; found by themselves: {', '.join(found)}")
            else:
                self._note("backends", "fault", "there are none", "start a server, or name one in [backends]")
        door = await self._running()
        await self._units()
        if self.config.server.log_content:
            self._note("log", "warning", LOGS_CONTENT, "set it to false, and reload")
        self._addresses()
        self._secrets(running=door is not None)
        backends = build_backends(self.config, SOUTHBOUND, self._keys)
        async with trio.open_nursery() as nursery:
            for name, backend in backends.items():
                if name not in self._locked and not self._is_loop(backend):
                    nursery.start_soon(self._backend, backend)
        await self._tokens(door)
        order = {f"backend {name}": number for number, name in enumerate(backends)}
        self.findings.sort(key=lambda finding: order.get(finding.subject, -1))

    def _note(self, subject: str, state: State, text: str, todo: str = "") -> None:
        self.findings.append(Finding(subject, state, text, todo))

    # --- this machine

    async def _running(self) -> Door | None:
        """The door of the daemon that runs with this configuration and tells an owner all, if one does."""
        running = None
        for door in doors(self.config, self._environ):
            try:
                told = await door.health()
            except PenstockError:
                continue
            self._answering.add(door.address)
            if "version" in told:
                running = running or door
                self._note("daemon", "ok", f"penstock {told['version']} runs on {door.url}: {told['status']}")
            else:
                todo = f"for more than this put a key with admin = true into {KEY_VARIABLE}"
                self._note("daemon", "warning", f"it runs on {door.url}: {told['status']}", todo)
        return running

    async def _units(self) -> None:
        """The service of systemd, where one is installed."""
        with trio.move_on_after(PATIENCE):
            for unit in await units():
                option = " --user" if unit.user else ""
                if unit.state == "active":
                    self._note("service", "ok", f"{unit.name} is active: {unit.told}")
                elif unit.state == "inactive" and unit.waits:
                    self._note("service", "ok", f"{unit.name} starts with the first connection")
                elif unit.state == "inactive":
                    todo = f'run "systemctl{option} start penstock"'
                    self._note("service", "warning", f"{unit.name} is installed and does not run", todo)
                else:
                    text = f"{unit.name} is {unit.state} ({unit.result}, exit status {unit.status})"
                    self._note("service", "fault", text, f'look into "journalctl{option} -e -u penstock"')

    def _addresses(self) -> None:
        for text in self.config.server.listen:
            address = parse_listen(text)
            if isinstance(address, TcpAddress) and not address.port:
                continue
            processes = holders(address)
            taken = ", ".join(map(str, processes or []))
            if processes is None:
                self._note(text, "ok", "free")
            elif address in self._answering:
                self._note(text, "ok", f"held by {taken or 'a process of another user'}")
            elif not processes:
                self._note(text, "fault", "taken by a process of another user", "look again as root, to see which")
            elif {process.name for process in processes} == {"systemd"}:
                self._note(text, "ok", "held by systemd, which starts penstock for the first connection")
            else:
                self._note(text, "fault", f"taken by {taken}", "stop that, or change server.listen")

    def _secrets(self, *, running: bool) -> None:
        """Where keys are kept; those of the backends are remembered for asking them."""
        directory = self._environ.get("CREDENTIALS_DIRECTORY")
        references: list[tuple[str, Reference, Path]] = [
            (name, spec.api_key, ("backends", name, "api_key"))
            for name, spec in self.config.backends.items()
            if spec.api_key
        ]
        references += [("", key.key, ("keys", number, "key")) for number, key in enumerate(self.config.keys)]
        for name, reference, path in references:
            place = self._merged.origin(path).place
            if reference.reveal().startswith(DIGEST):
                continue
            if not reference.scheme:
                self._literal(place)
            try:
                secret = resolve(reference, self._environ, FilePath(directory) if directory else None)
            except ConfigError as error:
                # The service has what this shell has not: its credentials, its environment, its files.
                elsewhere = running or (reference.scheme == "credential" and directory is None)
                self._note(
                    "secrets", "warning" if elsewhere else "fault", error.message, f"provide it, or correct {place}"
                )
                if name:
                    self._locked.add(name)
            else:
                if name:
                    self._keys[name] = secret.reveal()

    def _literal(self, place: str) -> None:
        """A key that stands in a file, which nobody else should read then."""
        file, colon, _ = place.rpartition(":")
        if colon and os.path.exists(file) and stat.S_IMODE(os.stat(file).st_mode) & 0o077:
            todo = f'run "chmod 600 {file}", or keep the key elsewhere: docs/configuration.md'
            self._note("secrets", "fault", f"a key stands in {place}, and others may read that file", todo)

    def _is_loop(self, backend: Backend) -> bool:
        """Whether a backend is penstock itself, which would ask itself without end."""
        base = backend.transport.base
        for own in map(parse_listen, self.config.server.listen):
            if isinstance(own, TcpAddress) and own.loopback and own.port == base.port and base.host in _LOOPBACK:
                todo = f"correct backends.{backend.name}.url"
                self._note(f"backend {backend.name}", "fault", "is penstock's own address", todo)
                return True
        return False

    # --- the backends

    async def _backend(self, backend: Backend) -> None:
        subject, spec = f"backend {backend.name}", self.config.backends[backend.name]
        with trio.move_on_after(PATIENCE) as scope:
            try:
                found = await probe(backend) if spec.kind != "simulate" else None
                models = backend.south.models(await fetch(backend, backend.south.models_call()))
            except PenstockError as error:
                self._note(subject, "fault", f"{spec.url}: {error.message}", advice(error, backend.name))
                return
            finally:
                backend.transport.close_idle()
            self._models[backend.name] = models
            version = f" {found.version}" if found and found.version else ""
            what = f"{found.name}{version}" if found else f"a server that speaks {spec.kind}"
            count = "1 model" if len(models) == 1 else f"{len(models)} models"
            self._note(subject, "ok", f"{spec.url} is {what}, with {count}")
            if found and spec.kind not in (found.kind, "anthropic"):
                text = f'it is configured as "{spec.kind}"'
                self._note(subject, "warning", text, f'set backends.{backend.name}.kind = "{found.kind}"')
            if spec.kind == "koboldcpp" and spec.slots > 1:
                text = f"it has {spec.slots} slots, and KoboldCpp answers one request after the other by default"
                todo = f"set backends.{backend.name}.slots = 1, unless it runs with --parallelrequests"
                self._note(subject, "warning", text, todo)
            if not models:
                self._note(subject, "fault", "it has no model", "load or pull one")
        if scope.cancelled_caught:
            text = f"{spec.url} did not tell its models within {PATIENCE:g} s"
            self._note(subject, "fault", text, "it may be busy, or hang: look into the server's own log")

    # --- the whole lane

    async def _tokens(self, door: Door | None) -> None:
        """One token of each backend, through the daemon that runs, or through one of our own."""
        asked = names_of(self.config, self._models)
        for name, models in self._models.items():
            if name not in asked and any(map(can_chat, models)):
                self._note(f"backend {name}", "warning", "no route leads to it", "name it in [routes]")
        if not asked:
            return
        async with trio.open_nursery() as nursery:
            if door is None:
                (url,) = await nursery.start(Daemon(lane_config(self.config, self._locked)).serve)
                door = Door(parse_listen(url.removeprefix("http://")))
            async with trio.open_nursery() as askers:
                for name, model in asked.items():
                    askers.start_soon(self._token, door, name, model)
            nursery.cancel_scope.cancel(reason="all are asked")

    async def _token(self, door: Door, name: str, model: str) -> None:
        subject = f"backend {name}"
        try:
            token = await one_token(door, model, self._patience)
        except FirstTokenTimeout as error:
            todo = "it may be loading the model, or be busy: ask again, with a longer --timeout"
            self._note(subject, "fault", f"'{model}': {error.message}", todo)
        except PenstockError as error:
            self._note(subject, "fault", f"'{model}': {error.message}", advice(error, name))
        else:
            if token.target.partition("/")[0] == name:
                self._note(subject, "ok", f"'{model}': first token after {token.after:.2f} s, through penstock")
            else:
                text = f"'{model}' was answered by {token.target} in its place"
                self._note(subject, "fault", text, "the log of the daemon says why")


def advice(error: PenstockError, backend: str) -> str:
    """What to do about a backend that failed in this way."""
    match error:
        case ConnectFailed():
            return f"start the server, or correct backends.{backend}.url"
        case BackendRefused() | BackendGarbled():
            return f"look whether backends.{backend}.kind, .url and .api_key are right, and into the server's own log"
        case _:
            return "it may be busy, or hang: look into the server's own log"
