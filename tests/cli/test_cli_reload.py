"""``penstock reload`` against a running daemon: what it prints, and its exit status."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
import structlog
import trio
from click.testing import CliRunner

from penstock import __version__
from penstock.cli.main import main
from penstock.config.load import read
from penstock.service.daemon import Daemon
from penstock.service.source import Source
from penstock.simulate import server as simulate
from ports import free_port
from rawhttp import Client, ask, call


class Home:
    """A daemon in this process, and the file that it reads."""

    def __init__(self, file: Path, backend: str) -> None:
        self.file = file
        self._backend = backend
        self.listen = f"127.0.0.1:{free_port()}"
        self.write()
        self.daemon = Daemon(read(file, {}).config, source=Source(file))

    def write(self, *, slots: int = 8, listen: str = "", more: str = "") -> None:
        self.file.write_text(
            f'[server]\nlisten = ["{listen or self.listen}"]\n'
            f'[backends.sim]\nkind = "simulate"\nurl = "{self._backend}"\nslots = {slots}\n{more}'
        )

    async def stream(self) -> Client:
        """One that runs."""
        client = await ask(f"http://{self.listen}", call("sim:tokens=100000,rate=50"))
        await client.until(b" t1")
        return client

    async def reload(self, *options: str) -> tuple[int, str, str]:
        """Exit status, output and errors."""
        words = ["reload", "--config", str(self.file), *options]
        with trio.fail_after(20):
            # The command runs an event loop of its own.
            result = await trio.to_thread.run_sync(CliRunner().invoke, main, words)
        return result.exit_code, result.stdout, result.stderr


@pytest.fixture
def silent() -> Iterator[None]:
    """Else the daemon's log would stand among what the command prints."""
    structlog.configure(logger_factory=structlog.ReturnLoggerFactory())
    yield
    structlog.reset_defaults()


@pytest.fixture
async def home(silent: None, tmp_path: Path, nursery: trio.Nursery) -> Home:
    simulation = await nursery.start(simulate.serve, simulate.Settings())
    home = Home(tmp_path / "penstock.toml", simulation.url)
    await nursery.start(home.daemon.serve)
    return home


async def test_it_says_what_it_did(home: Home) -> None:
    there = f"penstock {__version__} on http://{home.listen}"
    stream = await home.stream()
    nothing = f"{there}: nothing has changed in {home.file}, generation 1 goes on\n"
    assert await home.reload() == (0, nothing, "")
    home.write(slots=4, more='[timeouts]\nsilence = "90s"\n[routes]\ncoder = ["sim/large"]\n')
    assert await home.reload() == (
        0,
        f"""\
{there}: generation 2, from {home.file}
~ timeouts.silence = "90s", was "1m"
~ backends.sim.slots = 4, was 8
+ routes.coder = {{ "targets" = ["sim/large"] }}
1 stream goes on as it began
""",
        "",
    )
    stream.leave("fin")


async def test_it_says_what_it_would_do(home: Home) -> None:
    there = f"penstock {__version__} on http://{home.listen}"
    nothing = f"{there}: nothing would change, {home.file} is in force\n"
    assert await home.reload("--dry-run") == (0, nothing, "")
    home.write(slots=4)
    first = f"{there}: {home.file} would change\n~ backends.sim.slots = 4, was 8\n"
    assert await home.reload("--dry-run") == (0, f"{first}No stream runs.\n", "")
    stream = await home.stream()
    status, told, _ = await home.reload("--dry-run")
    begun = r"These streams would go on as they began:\n  [0-9a-f]{12}  sim:tokens=100000,rate=50  sim  [0-9.]+ s\n"
    assert status == 0
    assert re.fullmatch(re.escape(first) + begun, told)
    assert home.daemon.state.number == 1
    stream.leave("fin")


async def test_a_wrong_file_is_not_taken(home: Home) -> None:
    home.write(slots=0)
    told = f"{home.file}:6:9: backends.sim.slots: must be at least 1, not 0\n    slots = 0\n            ^\n"
    assert await home.reload() == (78, "", told)
    assert await home.reload("--dry-run") == (78, "", told)
    # What only the daemon can see is told by it.
    home.write(more='api_key = "credential:none"\n')
    status, _, told = await home.reload()
    assert (status, told) == (
        78,
        "secret 'credential:none': none were passed; the unit lacks LoadCredential=none:/path\n",
    )


async def test_another_address_needs_a_restart(home: Home) -> None:
    home.write(listen="127.0.0.1:1")
    status, _, told = await home.reload()
    assert status == 1
    assert told == (
        "Error: no daemon answers: cannot connect to 127.0.0.1:1: connection refused\n"
        "If server.listen is what you changed, that needs a restart; "
        "--at ADDRESS asks the daemon where it listens now.\n"
    )
    there = f"penstock {__version__} on http://{home.listen}"
    change = f'server.listen = ["127.0.0.1:1"], was ["{home.listen}"]; needs a restart'
    would = f"{there}: {home.file} would change\n~ {change}\nNo stream runs.\n"
    assert await home.reload("--at", home.listen, "--dry-run") == (3, would, "")
    refused = f"{there}: a running penstock cannot change server.listen: restart it, or take that change back\n"
    assert await home.reload("--at", home.listen) == (3, "", refused)
    assert (await home.reload("--at", "nowhere"))[0] == 1


async def test_it_is_for_the_owner(home: Home) -> None:
    entry = '[[keys]]\nname = "{0}"\nkey = "sk-{0}"\nadmin = {1}\n'
    home.write(more=entry.format("guest", "false") + entry.format("owner", "true"))
    assert (await home.reload())[0] == 0
    # The owner's key stands in the file, so it is found; now it does not.
    home.write(more=entry.format("guest", "false"))
    status, _, told = await home.reload()
    assert (status, told) == (
        1,
        f"Error: penstock on http://{home.listen} wants a key with admin = true in PENSTOCK_KEY\n",
    )
