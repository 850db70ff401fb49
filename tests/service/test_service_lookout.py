"""A service that is there before its backends: it serves, says so, and takes the first one that answers."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio
from manager import LONG, Manager

from penstock.config.model import Backend, Config
from penstock.service import lookout, source
from penstock.service.daemon import Daemon
from penstock.service.lookout import look_out
from penstock.service.source import Source

FOUND = Config(backends={"ollama": Backend(kind="ollama", url="http://127.0.0.1:11434")})


async def test_it_looks_until_one_answers(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    # It may go away between the look and the reload; once it is there, nobody looks again.
    answers = [Config(), FOUND, Config(), FOUND, FOUND]

    async def discover() -> Config:
        return answers.pop(0)

    for module in (lookout, source):
        monkeypatch.setattr(module, "discover", discover)
        monkeypatch.setattr(module, "find", lambda environ: None)
    monkeypatch.setattr(lookout, "PERIOD", 0.001)
    monkeypatch.setattr(source, "load", lambda path: Config())
    daemon = Daemon(Config(), source=Source(None))
    await nursery.start(daemon.serve)
    assert daemon.reloader is not None and daemon.told() == {"STATUS": "0 streams; backends: none"}
    with trio.fail_after(LONG):
        await look_out(daemon, daemon.reloader)
    assert (daemon.told(), answers) == ({"STATUS": "0 streams; backends: ollama"}, [])


@pytest.mark.parametrize("managed", [True, False])
async def test_a_service_that_finds_nothing(managed: bool, tmp_path: Path) -> None:
    """It is ready for a service manager; somebody at a terminal is told what to do."""
    manager = Manager(str(tmp_path / "notify"))
    # Where a local server happens to run, it would be found.
    nothing = "import penstock.service.discover as d; d.CANDIDATES = (); d.discover.__defaults__ = ((),)"
    environ = {name: value for name, value in os.environ.items() if name not in ("PENSTOCK_CONFIG", "NOTIFY_SOCKET")}
    environ |= {"HOME": str(tmp_path), "XDG_CONFIG_HOME": "", "PENSTOCK__SERVER__LISTEN": '["127.0.0.1:0"]'}
    if managed:
        environ["NOTIFY_SOCKET"] = manager.address
    code = f"{nothing}; from penstock.cli.main import main; main(['serve'])"
    process = subprocess.Popen(
        [sys.executable, "-c", code], env=environ, stdin=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True
    )
    try:
        with trio.fail_after(LONG):
            if managed:
                ready = await manager.until(lambda message: "READY" in message)
                assert ready["STATUS"] == "0 streams; backends: none"
                process.send_signal(signal.SIGTERM)
            _, told = await trio.to_thread.run_sync(process.communicate)
    finally:
        process.kill()
        process.wait()
        manager.close()
    assert process.returncode == (0 if managed else 1)
    assert ("no backend yet" in told) is managed
    assert source.NOTHING_FOUND.splitlines()[0] in told
