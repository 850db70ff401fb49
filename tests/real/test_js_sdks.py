"""JavaScript clients before penstock: openai, ollama, the AI SDK (opencode, Kilo, Cline) and Continue's adapters.

Everything is asked directly too: an application sees through penstock what it sees before the backend, or better.
"""

from __future__ import annotations

import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from daemons import TEARDOWN, Penstock, Scripted, Simulated

pytestmark = pytest.mark.heavy

SOURCE = Path(__file__).with_name("js")
CACHE = Path(__file__).parents[2] / ".tools" / "js"

Seen = dict[str, Any]


@pytest.fixture(scope="session")
def node() -> Iterator[Scripted]:
    """The clients in a Node process, installed as the lock file says."""
    if shutil.which("npm") is None:
        pytest.skip("there is no Node.js")
    lock = CACHE / "package-lock.json"
    fresh = lock.exists() and lock.read_bytes() == (SOURCE / lock.name).read_bytes()
    if not fresh or not (CACHE / "node_modules").exists():
        shutil.rmtree(CACHE, ignore_errors=True)
        shutil.copytree(SOURCE, CACHE)
        try:
            command = ["npm", "ci", "--no-audit", "--no-fund", "--ignore-scripts", "--loglevel=error"]
            subprocess.run(command, cwd=CACHE, check=True, timeout=300)
        except subprocess.SubprocessError:
            lock.unlink()
            raise
    shutil.copy(SOURCE / "clients.mjs", CACHE)
    process = Scripted("node", "clients.mjs", folder=CACHE)
    yield process
    process.kill()


@pytest.fixture(params=["openai", "continue", "ai", "ollama"])
def client(request: pytest.FixtureRequest) -> str:
    client: str = request.param
    return client


@pytest.fixture
def urls(backend: Simulated, proxies: dict[str, Penstock]) -> dict[str, str]:
    return {"direct": backend.url} | {name: proxy.url for name, proxy in proxies.items()}


def ask(node: Scripted, client: str, url: str, script: str, stream: bool, leave_after: int | None = None) -> Seen:
    return node.ask({"client": client, "url": url, "script": script, "stream": stream, "leaveAfter": leave_after})


@pytest.mark.parametrize(
    "script",
    ["tokens=40", "tokens=9,text=awkward", "tokens=9,finish=length", "tokens=9,thinking=5", "tokens=4,fault=crlf"],
)
def test_an_answer_is_the_same(
    script: str, client: str, stream: bool, way: str, node: Scripted, urls: dict[str, str]
) -> None:
    through, direct = (ask(node, client, urls[name], script, stream) for name in (way, "direct"))
    assert through == direct
    assert (through["error"], through["usage"]) == (None, 14 if "thinking" in script else through["text"].count(" t"))


def test_continue_without_a_key(stream: bool, way: str, node: Scripted, urls: dict[str, str]) -> None:
    seen = ask(node, "continue's ollama", urls[way], "tokens=5", stream)
    assert (seen["text"], seen["finish"], seen["error"]) == (" t0 t1 t2 t3 t4", "stop", None)


@pytest.mark.parametrize("calls", [1, 2, 3])
def test_tool_calls_are_the_same(
    calls: int, client: str, stream: bool, way: str, node: Scripted, urls: dict[str, str]
) -> None:
    through, direct = (ask(node, client, urls[name], f"tokens=2,tools={calls}", stream) for name in (way, "direct"))
    # counted in the frames of each dialect
    assert through | {"usage": 0} == direct | {"usage": 0}
    assert through["error"] is None
    assert [(name, arguments["call"]) for name, arguments in through["calls"]] == [
        ("get_weather", 0),
        ("get_time", 1),
        ("get_weather", 2),
    ][:calls]


@pytest.mark.parametrize(
    ("fault", "said"),
    [
        ("error@3", "simulated failure after 3 tokens"),
        ("error-done@3", "simulated failure after 3 tokens"),
        ("truncate@3", "without a terminal marker"),
        ("cut@3", "closed the connection in mid-answer"),
        ("rst@3", "connection reset by peer"),
        ("garbage@3", "not JSON"),
        ("bad-chunk@3", "not a chunk size"),
    ],
)
def test_a_broken_answer_is_an_error_that_says_why(
    fault: str, said: str, client: str, stream: bool, way: str, node: Scripted, urls: dict[str, str]
) -> None:
    seen = ask(node, client, urls[way], f"tokens=9,rate=200,fault={fault}", stream)
    assert seen["error"] is not None
    assert said in seen["error"]
    assert seen["finish"] in (None, "error")
    assert seen["text"] == (" t0 t1 t2" if stream else "")


@pytest.mark.parametrize("status", [400, 404, 413])
def test_a_refusal_keeps_its_words(
    status: int, client: str, stream: bool, way: str, node: Scripted, urls: dict[str, str]
) -> None:
    through, direct = (ask(node, client, urls[name], f"status={status}", stream) for name in (way, "direct"))
    assert through["error"] == direct["error"]
    assert "simulated failure after 0 tokens" in through["error"]


def test_aborting_closes_the_backend(
    client: str,
    way: str,
    node: Scripted,
    urls: dict[str, str],
    backend: Simulated,
    proxies: dict[str, Penstock],
) -> None:
    name = f"js-{client}-{way}"
    script = f"tokens=1000,rate=100,id={name}"
    seen = ask(node, client, urls[way], script, True, leave_after=5)
    assert (seen["text"], seen["error"]) == (" t0 t1 t2 t3 t4", None)
    assert backend.closed_at(name) - seen["left"] <= TEARDOWN
    assert proxies[way].outcome(f"sim:{script}")["reason"] == "client_gone"


def test_heartbeats_say_nothing(
    client: str, stream: bool, way: str, node: Scripted, urls: dict[str, str], proxies: dict[str, Penstock]
) -> None:
    script = f"tokens=3,first=1200ms,id=js-{client}-heartbeat-{stream}"
    seen = ask(node, client, urls[way], script, stream)
    assert (seen["text"], seen["error"]) == (" t0 t1 t2", None)
    assert proxies[way].outcome(f"sim:{script}")["heartbeats"] >= 2
