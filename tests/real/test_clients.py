"""Every client that editors are built on, in every situation, before penstock: what reaches the application.

One table, one test per cell: a client's way of asking, the backend's language (the client's own, or another one),
streamed or whole, and what happens.  All cells are asked at once, as a crowd, and each test looks at its own: what
waits, above all 20 s for a first token, waits together.
"""

from __future__ import annotations

import json
import shutil
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from itertools import product
from pathlib import Path
from typing import Any, NamedTuple
from urllib.parse import quote

import msgspec
import pytest
from daemons import TEARDOWN, Penstock, Scripted, Simulated, penstock
from leaving import leave
from sdks import PATIENCE, Ask, Sdks, Seen

SOURCE = Path(__file__).with_name("js")
CACHE = Path(__file__).parents[2] / ".tools" / "js"

#: The word for a good end, for one at the limit, and for calls of tools, in the language that a client speaks.
CHAT = ("stop", "length", "tool_calls")
COMPLETIONS = ("stop", "length", "")
RESPONSES = ("completed", "max_output_tokens", "completed")
OLLAMA = ("stop", "length", "stop")
ANTHROPIC = ("end_turn", "max_tokens", "tool_use")
AI = ("stop", "length", "tool-calls")

#: Each way of asking -> its words for the end, and the kinds of backends that it is tried with: one that speaks its
#: language, so that frames may pass as they are, and one for which all is translated.  Responses are chats to kind
#: "openai"; "vllm" has them itself.
WAYS = {
    "openai: chat": (CHAT, ("openai", "ollama")),
    "openai: completions": (COMPLETIONS, ("openai", "ollama")),
    "openai: responses": (RESPONSES, ("openai", "ollama", "vllm")),
    "openai js: chat": (CHAT, ("openai", "ollama")),
    "openai js: completions": (COMPLETIONS, ("openai", "ollama")),
    "openai js: responses": (RESPONSES, ("openai", "ollama", "vllm")),
    "ollama: chat": (OLLAMA, ("ollama", "openai")),
    "ollama: generate": (OLLAMA, ("ollama", "openai")),
    "ollama js: chat": (OLLAMA, ("ollama", "openai")),
    "ollama js: generate": (OLLAMA, ("ollama", "openai")),
    "anthropic: messages": (ANTHROPIC, ("anthropic", "openai")),
    "anthropic js: messages": (ANTHROPIC, ("anthropic", "openai")),
    "AI SDK: chat": (AI, ("openai", "ollama")),
    "Continue: chat": (CHAT, ("openai", "ollama")),
    "Continue's Ollama: chat": (CHAT, ("openai", "ollama")),
}
#: An embedding comes in one piece, without tokens, tools or thoughts.
EMBEDDERS = ("openai: embeddings", "openai js: embeddings", "ollama: embed", "ollama js: embed", "AI SDK: embed")
IN_PYTHON = ("openai", "ollama", "anthropic")
#: npm package -> client
JAVASCRIPT = {
    "openai": "openai js",
    "ollama": "ollama js",
    "@anthropic-ai/sdk": "anthropic js",
    "@ai-sdk/openai-compatible": "AI SDK",
    "@continuedev/openai-adapters": "Continue",
}
CLIENTS = {way.partition(":")[0] for way in WAYS} - {"Continue's Ollama"}


class Situation(NamedTuple):
    """What the backend does, and what is seen of it where nothing else is said."""

    script: str
    end: int | None = 0  #: which of the words for the end; None: it ends in an error
    text: str = "".join(f" t{number}" for number in range(9))
    thinking: str = ""
    calls: tuple[str, ...] = ()
    error: str | None = None  #: a part of it
    usage: int | None = 9  #: None: counted in the frames of each dialect
    patient: bool = False  #: asked of a daemon with the usual pace of heartbeats


THREE = " t0 t1 t2"
AWKWARD = '\n\ndata: "\\é€🚰\u2028'
SITUATIONS = {
    "an answer": Situation("tokens=9"),
    "awkward text": Situation(
        "tokens=3,text=awkward", text="".join(f" t{number}{AWKWARD}" for number in range(3)), usage=3
    ),
    "a limit": Situation("tokens=9,finish=length", end=1),
    "thinking": Situation("tokens=9,thinking=5", thinking=" r0 r1 r2 r3 r4", usage=14),
    "tools": Situation(
        "tokens=3,tools=3", end=2, text=THREE, calls=("get_weather", "get_time", "get_weather"), usage=None
    ),
    "an error in the middle": Situation(
        "tokens=9,rate=200,fault=error@3", None, THREE, error="simulated failure after 3 tokens"
    ),
    "a cut in the middle": Situation(
        "tokens=9,rate=200,fault=cut@3", None, THREE, error="closed the connection in mid-answer"
    ),
    "an end without a marker": Situation(
        "tokens=9,rate=200,fault=truncate@3", None, THREE, error="without a terminal marker"
    ),
    "a refusal": Situation("status=404", None, "", error="simulated failure after 0 tokens"),
    "a first token after 20 s": Situation("tokens=3,first=20s", text=THREE, usage=3, patient=True),
}
#: The cells that cannot be.
ABSENT = {
    ("completions", "thinking"): "completions have no place for it",
    ("completions", "tools"): "completions have no place for it",
    ("generate", "tools"): "Ollama's generate has no place for it",
}


class Cell(NamedTuple):
    way: str
    kind: str
    stream: bool
    situation: str

    def __str__(self) -> str:
        return f"{self.way}, {self.kind}, {'streamed' if self.stream else 'whole'}, {self.situation}"

    @property
    def model(self) -> str:
        return model(self.kind, SITUATIONS[self.situation].script, str(CELLS.index(self)))

    def ask(self, url: str) -> Ask:
        tools = self.situation == "tools"
        return Ask(client=self.way, url=url, model=self.model, stream=self.stream, tools=tools)


CELLS = [
    Cell(way, kind, stream, situation)
    for situation, (way, (_, kinds)), stream in product(SITUATIONS, WAYS.items(), (True, False))
    for kind in kinds
    if (way.partition(": ")[2], situation) not in ABSENT
]

#: Ways of asking, streamed or not, that can be left before the first token: before or after the answer's head.
LEAVINGS = [
    pytest.param(
        way,
        stream,
        begun,
        id=f"{way}-{'streamed' if stream else 'whole'}-{'after' if begun else 'before'}",
        marks=[pytest.mark.heavy] * (not stream),
    )
    for way, stream, begun in product(WAYS, (True, False), (False, True))
    # its abort() ends nothing but streams whose heads it has
    if (stream and begun) or not way.startswith("ollama js: ")
]


PATIENT = [cell for cell in CELLS if SITUATIONS[cell.situation].patient]


def model(kind: str, script: str, name: str) -> str:
    """The name that has the simulated backend play the script, asked as this kind; streams of it have that name."""
    return f"sim:id={kind}-{name},{script}"


@pytest.fixture(scope="module")
def node() -> Iterator[Scripted | None]:
    """The JavaScript clients in a Node process, installed as the lock file says; None: there is no Node.js."""
    if shutil.which("npm") is None:
        yield None
        return
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


Asker = Callable[[Ask], Seen]


@pytest.fixture(scope="module")
def asker(node: Scripted | None) -> Iterator[Asker]:
    """Has a client ask, in whichever language it is written."""

    def ask(question: Ask) -> Seen:
        if question.client.partition(":")[0] in IN_PYTHON:
            return leave(question) if question.leave_when else sdks.ask(question)
        if node is None:
            pytest.skip("there is no Node.js with npm: the JavaScript clients are not tried")
        return msgspec.convert(node.ask(msgspec.to_builtins(question), PATIENCE), Seen)

    with ExitStack() as stack:
        sdks = Sdks(stack)
        yield ask


@pytest.fixture(scope="module")
def hasty(backend: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """A daemon that commits to an answer soon, and gives heartbeats often."""
    with penstock(tmp_path_factory.mktemp("hasty"), configuration(backend.url), eager=True) as server:
        yield server


@pytest.fixture(scope="module")
def prompt(backend: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """A daemon that commits to an answer as it asks for it."""
    settings = f"grace = 0\n{configuration(backend.url)}"
    with penstock(tmp_path_factory.mktemp("prompt"), settings) as server:
        yield server


@pytest.fixture(scope="module")
def usual(backend: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """A daemon that commits and gives heartbeats when the defaults say so."""
    with penstock(tmp_path_factory.mktemp("usual"), configuration(backend.url)) as server:
        yield server


@pytest.fixture(scope="module")
def patient(backend: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    """The same for those whose first token is late, whose ends are looked for in its log at last."""
    with penstock(tmp_path_factory.mktemp("patient"), configuration(backend.url)) as server:
        yield server


def configuration(url: str) -> str:
    """One backend, known as each kind; the model's name says as which one it is meant."""
    parts = []
    for kind in ("openai", "ollama", "anthropic", "vllm"):
        parts.append(f'[backends.{kind}]\nkind = "{kind}"\nurl = "{url}"\nslots = 64\n')
        parts.append(f'[routes."sim:id={kind}-*"]\ntargets = ["{kind}"]\n')
        parts.append(f'[routes."{kind}"]\ntargets = ["{kind}"]\n')
    return "".join(parts)


@pytest.fixture(scope="module")
def crowd(
    request: pytest.FixtureRequest, asker: Asker, hasty: Penstock, patient: Penstock
) -> Iterator[dict[Cell, Future[Seen]]]:
    """What each cell that is to be tested sees, all of them under way; those that take long began first."""
    chosen = [item.callspec.params["cell"] for item in request.session.items if "cell" in params(item)]
    chosen.sort(key=lambda cell: cell not in PATIENT)
    with ThreadPoolExecutor(96) as pool:
        yield {cell: pool.submit(asker, cell.ask((patient if cell in PATIENT else hasty).url)) for cell in chosen}


def params(item: Any) -> dict[str, Any]:
    found: dict[str, Any] = item.callspec.params if hasattr(item, "callspec") else {}
    return found


@pytest.mark.parametrize("cell", [cell for cell in CELLS if cell not in PATIENT], ids=str)
def test_what_the_application_sees(cell: Cell, crowd: dict[Cell, Future[Seen]]) -> None:
    seen = crowd[cell].result(PATIENCE)
    ends, _ = WAYS[cell.way]
    situation = SITUATIONS[cell.situation]
    if situation.error is not None:
        assert seen.error is not None
        assert situation.error in seen.error
        assert seen.finish in (None, "error")
        assert seen.text == (situation.text if cell.stream else "")
        return
    assert (seen.text, seen.error) == (situation.text, None)
    assert seen.finish == ends[situation.end]
    assert [(name, arguments["call"]) for name, arguments in seen.calls] == [
        (name, number) for number, name in enumerate(situation.calls)
    ]
    # what has no place for thoughts is told without them
    assert seen.thinking == ("" if cell.way.endswith(": completions") else situation.thinking)
    assert situation.usage in (None, seen.usage)


@pytest.mark.parametrize(("way", "kind"), [(way, kind) for way, (_, kinds) in WAYS.items() for kind in kinds])
def test_aborting_closes_the_backend(way: str, kind: str, asker: Asker, hasty: Penstock, backend: Simulated) -> None:
    name = f"aborted {way}"
    wanted = model(kind, "tokens=1000,rate=100", name)
    seen = asker(Ask(client=way, url=hasty.url, model=wanted, stream=True, leave_after=5))
    assert (seen.text, seen.error) == (" t0 t1 t2 t3 t4", None)
    assert seen.left is not None
    assert backend.closed_at(f"{kind}-{name}") - seen.left <= TEARDOWN
    outcome = hasty.outcome(wanted)
    assert (outcome["reason"], outcome["phase"]) == ("client_gone", "streaming")


@pytest.mark.parametrize(("way", "stream", "begun"), LEAVINGS)
def test_aborting_before_the_first_token_closes_the_backend(
    way: str, stream: bool, begun: bool, asker: Asker, prompt: Penstock, usual: Penstock, backend: Simulated
) -> None:
    """…whether or not the answer has begun with a head by then, with the means that the client has for it."""
    # one kind of backend for each place of the abort: the client's own, and another
    kind = WAYS[way][1][begun]
    name = f"left {way} {stream} {begun}"
    wanted = model(kind, "first=1h", name)
    daemon = prompt if begun else usual
    asked = f"{backend.url}/simulate/streams/{quote(f'{kind}-{name}')}?wait=10&for=asked"
    # what the daemon answers after that comes after the head
    pages = (asked, f"{daemon.url}/health") if begun else (asked,)
    seen = asker(Ask(client=way, url=daemon.url, model=wanted, stream=stream, leave_when=pages))
    assert (seen.text, seen.error) == ("", None)
    assert seen.left is not None
    # the answer would come in an hour: nothing but the client's leaving can have closed it
    assert backend.closed_at(f"{kind}-{name}") >= seen.left
    outcome = daemon.outcome(wanted)
    assert outcome["reason"] == "client_gone"
    assert outcome["phase"] in ("headers", "prefill")
    assert outcome["bytes_out"] > 0 or not begun


@pytest.mark.parametrize("kind", ["openai", "ollama"])
@pytest.mark.parametrize("way", EMBEDDERS)
def test_embeddings(way: str, kind: str, asker: Asker, hasty: Penstock) -> None:
    """The number of characters, and three more numbers; some clients ask for it as base64."""
    seen = asker(Ask(client=way, url=hasty.url, model=kind, stream=False))
    assert (seen.text, seen.usage, seen.error) == ("[6,0.5,-0.25,0.125]", 6, None)
    seen = asker(Ask(client=way, url=hasty.url, model="missing", stream=False))
    assert seen.error is not None
    assert "missing" in seen.error


@pytest.mark.parametrize("cell", PATIENT, ids=str)
def test_what_the_application_sees_at_last(cell: Cell, crowd: dict[Cell, Future[Seen]]) -> None:
    """What has waited for long, beside all of the above."""
    test_what_the_application_sees(cell, crowd)


def test_a_slow_first_token_has_heartbeats(crowd: dict[Cell, Future[Seen]], patient: Penstock) -> None:
    """…as often as the defaults say: 2 s after the request, then every 5 s."""
    waited = [cell for cell in crowd if cell in PATIENT]
    for cell in waited:
        crowd[cell].result(PATIENCE)
    outcomes = [patient.logged("stream ended") for _ in waited]
    assert {outcome["model"] for outcome in outcomes} == {cell.model for cell in waited}
    assert all(outcome["heartbeats"] >= 3 for outcome in outcomes)


def test_no_client_lacks_a_situation() -> None:
    """…in all of its ways of asking; and every client is there that the packages for these tests bring."""
    for client, situation, stream in product(CLIENTS, SITUATIONS, (True, False)):
        cells = [cell for cell in CELLS if cell.way.startswith(f"{client}: ")]
        assert any((cell.situation, cell.stream) == (situation, stream) for cell in cells), (client, situation, stream)
    assert {situation for _, situation in ABSENT} <= set(SITUATIONS)
    for client in ("openai", "openai js"):
        asked = {way.partition(": ")[2] for way in (*WAYS, *EMBEDDERS) if way.startswith(f"{client}: ")}
        assert asked == {"chat", "completions", "responses", "embeddings"}
    packages = json.loads((SOURCE / "package.json").read_text())["dependencies"]
    assert {*IN_PYTHON, *JAVASCRIPT.values()} == CLIENTS
    # "ai" is what the provider plugs into
    assert set(packages) - {"ai"} == set(JAVASCRIPT)
