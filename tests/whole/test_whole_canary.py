"""What was said and what is secret shows nowhere: not in the log at its loudest, nor in whatever else one can see."""

from __future__ import annotations

import hashlib
import json
import signal
from collections.abc import Callable
from pathlib import Path

import trio
from click.testing import CliRunner
from process import Process

from penstock.cli.main import main
from penstock.simulate.server import Settings, serve
from rawhttp import answered, call, get

CLIENT, BACKEND, PROMPT = "c1ient-canary", "b4ckend-canary", "pr0mpt-canary"
#: Tokens of 41 bytes, of which this is the last.
MODEL, ANSWER = "sim:id=said,tokens=3,width=41", f"t2{'.' * 38}"
CANARIES = (CLIENT, BACKEND, PROMPT, ANSWER)
OWNER = f"Authorization: Bearer {CLIENT}"


async def test_no_canary_shows_anywhere(
    serving: Callable[[str], Process], tmp_path: Path, nursery: trio.Nursery
) -> None:
    simulation = await nursery.start(serve, Settings())
    key = tmp_path / "key"
    key.write_text(f"{BACKEND}\n")
    key.chmod(0o600)
    process = serving(
        f'[server]\nlisten = ["127.0.0.1:0"]\nlog_level = "debug"\nlog_format = "json"\n'
        f'[backends.sim]\nkind = "openai"\nurl = "{simulation.url}/v1"\napi_key = "file:{key}"\n'
        f'[routes]\n"*" = ["sim"]\n'
        f'[[keys]]\nname = "laptop"\nkey = "sha256:{hashlib.sha256(CLIENT.encode()).hexdigest()}"\nadmin = true\n'
    )
    nursery.start_soon(process.read)
    asked = [{"role": "user", "content": PROMPT}]
    shown: dict[str, str] = {}
    with trio.fail_after(30):
        _, _, said = await answered(process.address, call(MODEL, OWNER, "Connection: close", messages=asked))
        # …and what goes wrong is told without it, too.
        await answered(process.address, call("sim:status=500", OWNER, "Connection: close", messages=asked))
        await answered(process.address, call("sim:fault=garbage@1", OWNER, "Connection: close", messages=asked))
        await answered(process.address, call(MODEL, f"Authorization: Bearer {CLIENT}x", messages=asked))
        await answered(process.address, call(MODEL, OWNER, messages=PROMPT))
        _, _, seen = await answered(simulation.url, get("/simulate/streams/said"))
        for path in ("/metrics", "/health", "/v1/models"):
            _, _, body = await answered(process.address, get(path, OWNER))
            shown[path] = body.decode()
        assert ANSWER in said.decode()
        assert f"Bearer {BACKEND}" in seen.decode()
        for name in ("environ", "cmdline"):
            shown[name] = Path(f"/proc/{process.pid}/{name}").read_text()
        config = next(tmp_path.glob("penstock-*.toml"))
        shown["check"] = CliRunner().invoke(main, ["check", "--explain", str(config)]).output
        process.signal(signal.SIGABRT)
        await process.exit()
        assert any("Fatal Python error: Aborted" in line for line in process.noise)
    shown["log"] = json.dumps(process.lines)
    shown["crash"] = "\n".join(process.noise)
    process.noise.clear()
    shown["written"] = "".join(path.read_text() for path in tmp_path.rglob("*") if path.is_file() and path != key)
    assert all(shown.values())
    assert len([line for line in process.lines if line["event"] == "stream ended"]) == 3
    assert [(place, canary) for place, text in shown.items() for canary in CANARIES if canary in text] == []
    nursery.cancel_scope.cancel()
