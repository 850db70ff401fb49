"""The parts of the pages that are made by running the code, and the manual pages, which are made of these.

``python tests/docs/generate.py`` writes them.  Each part stands between ``<!-- NAME:begin -->`` and
``<!-- NAME:end -->``; test_docs_generated.py tells when one is stale, and test_docs_man.py when a manual page is.
"""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Callable, Iterable
from contextlib import chdir
from pathlib import Path
from tempfile import TemporaryDirectory

# As a script it has this folder alone on its path.
sys.path.append(str(Path(__file__).parents[1]))

import trio
from click.testing import CliRunner
from full_requests import fullest, smallest
from manpages import PAGES
from prometheus_client import CollectorRegistry, Metric

from matrix.beside import page as beside
from matrix.table import page as matrix
from penstock.chat.events import Event, Opened, Text
from penstock.chat.lifecycle import TABLE, Phase, Step
from penstock.chat.reasons import Reason
from penstock.cli.ide import Setting, filled, snippet
from penstock.cli.main import VERBS
from penstock.cli.main import main as cli
from penstock.cli.tools import TOOLS
from penstock.config.model import MANNER, Backend, Config, Timeouts
from penstock.dialects.base import Identity, Northbound
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.dialects.responses import south_for
from penstock.errors import BadRequest, StreamError
from penstock.observe.observer import line
from penstock.relay.clocks import Clocks
from penstock.relay.delivery import error_headers
from penstock.relay.outcome import Gaps, Outcome
from penstock.service.daemon import Daemon

ROOT = Path(__file__).parents[2]

# --- README.md -------------------------------------------------------------------------------------------------------


def verbs() -> str:
    """The commands."""
    return table(("command", ""), [(f"`penstock {verb}`", line) for verb, line in VERBS.items()])


# --- docs/streams.md -------------------------------------------------------------------------------------------------


def lifecycle() -> str:
    """The table of transitions as a Mermaid diagram."""
    lines = ["stateDiagram-v2", "    direction LR", f"    [*] --> {Phase.QUEUED}"]
    for phase, steps in TABLE.items():
        by_goal: dict[Phase, list[Step]] = {}
        for step, goal in steps.items():
            by_goal.setdefault(goal, []).append(step)
        lines += [f"    {phase} --> {goal}: {', '.join(taken)}" for goal, taken in by_goal.items()]
    lines.append(f"    {Phase.ENDED} --> [*]")
    return fenced("mermaid", "\n".join(lines))


def errors() -> str:
    """What a client of each dialect gets when the backend falls silent: after two tokens, and before anything."""
    return "\n\n".join(
        f"### {name}\n\n"
        f"In mid-answer, after two tokens:\n\n{fenced('text', streamed_failure(north))}\n\n"
        f"Before anything was sent:\n\n{fenced('http', early_failure(north))}"
        for name, north in NORTHBOUND.items()
    )


def streamed_failure(north: Northbound) -> str:
    request = smallest(north.name, stream=True)
    writer = north.writer(request, Identity(stream="8c1f3a00002a", created=1_767_225_600.0), passthrough=False)
    told: list[Event] = [Opened(), Text("Hel"), Text("lo")]
    return (writer.write(told) + writer.fail(spent(Phase.STREAMING))).decode()


def early_failure(north: Northbound) -> str:
    error = spent(Phase.PREFILL)
    headers = "".join(f"{name}: {value}\n" for name, value in error_headers(error))
    return f"HTTP/1.1 {error.status}\n{headers}\n{north.error(error).decode()}"


def spent(phase: Phase) -> StreamError:
    """The error of the budget that runs in this phase, made by the clocks themselves."""
    clocks = Clocks(0.0, grace=2.0, heartbeat=5.0, timeouts=Timeouts())
    clocks.enter(phase, 0.0)
    error = clocks.spent(1e6)
    assert error is not None
    return error


def heartbeats() -> str:
    """A sign of life in each dialect."""
    rows = []
    for name, north in NORTHBOUND.items():
        told = []
        for stream in (True, False):
            request = smallest(name, stream=stream)
            writer = north.writer(request, Identity(stream="s", created=1.0), passthrough=False)
            writer.write([Opened()])
            told.append(f"`{brief(json.dumps(writer.heartbeat().decode()))}`")
        rows.append((name, *told))
    return table(("client's dialect", "in a stream", "before a whole answer"), rows)


def brief(text: str, most: int = 100) -> str:
    return text if len(text) <= most else f"{text[:most]}…"


# --- docs/metrics.md -------------------------------------------------------------------------------------------------


def metrics() -> str:
    """Every metric with its type, its labels and its help, as a scrape of one ended stream tells them."""
    daemon = Daemon(Config(backends={"b": Backend(kind="openai", url="http://127.0.0.1:9")}))
    collected = daemon.state.observer.metrics
    collected.ended(outcome())
    collected.refused("bad_request")
    collected.fell_back("b", Reason.CONNECT_FAILED)
    rows = []
    for metric in trio.run(scraped, collected.registry):
        labels = dict.fromkeys(label for sample in metric.samples for label in sample.labels if label != "le")
        name = f"{metric.name}_total" if metric.type == "counter" else metric.name
        told = ", ".join(f"`{label}`" for label in labels)
        rows.append((f"`{name}`", metric.type, told or "–", metric.documentation))
    return table(("metric", "type", "labels", "what"), sorted(rows))


async def scraped(registry: CollectorRegistry) -> list[Metric]:
    """Some numbers are the event loop's."""
    return list(registry.collect())


def outcome() -> Outcome:
    """An end of which there is something to say in every field."""
    return Outcome(
        stream="8c1f3a00002a",
        dialect="openai",
        operation="chat",
        key="laptop",
        model="coder",
        backend="b",
        target="b/coder",
        route="*",
        label="b/coder",
        streamed=True,
        reason=Reason.CLIENT_GONE,
        phase=Phase.STREAMING,
        message="because",
        layer="parse",
        attempts=2,
        phases={phase: 1.0 for phase in Phase if phase is not Phase.ENDED},
        total=6.0,
        first_token=5.0,
        tokens=30,
        prompt_tokens=12,
        tokens_per_second=29.0,
        bytes_in=8000,
        bytes_out=7000,
        heartbeats=1,
        dropped=("tool_choice",),
        teardown=0.001,
        orphaned=0.001,
        gaps=Gaps(),
    )


def line_fields() -> list[str]:
    """The names in a stream's closing line, those of single phases as ``in_PHASE``."""
    return list(dict.fromkeys("in_PHASE" if name.startswith("in_") else name for name in line(outcome())))


# --- docs/dialects.md ------------------------------------------------------------------------------------------------


def dropped() -> str:
    """What each kind of backend cannot be told of a request that says everything; kinds that agree share a row."""
    rows = []
    for asked, request in fullest():
        kinds: dict[str, list[str]] = {}
        for kind, south in SOUTHBOUND.items():
            if kind == "simulate":
                continue
            try:
                asked_by = south_for(request, south, MANNER) if request.dialect == "responses" else south
                told = ", ".join(f"`{field}`" for field in asked_by.encode(request, "m").dropped) or "nothing"
            except BadRequest as error:
                told = f"refused: {error.message}"
            kinds.setdefault(told, []).append(kind)
        rows += [(asked, ", ".join(agreed), told) for told, agreed in kinds.items()]
    return table(("client says", "to a backend of kind", "left out, and named in `x-penstock-dropped`"), rows)


# --- docs/ides.md ----------------------------------------------------------------------------------------------------


def ides() -> str:
    """What each tool is told, for penstock at its usual address with one model to chat and one to complete."""
    setting = Setting(base="http://127.0.0.1:11435", models=("coder", "fim"), autocomplete=("fim",), has_keys=False)
    return "\n\n".join(
        f"## {tool.name}\n\n`penstock ide {name}`; {tool.place}:\n\n{fenced(tool.language, snippet(tool, setting))}\n\n"
        + "\n".join(f"- {filled(note, setting)}" for note in (tool.then, *tool.notes))
        for name, tool in TOOLS.items()
    )


# --- docs/commands.md ------------------------------------------------------------------------------------------------

SAMPLE = """\
[backends.ollama]
kind = "ollama"
url = "http://127.0.0.1:11434"
[backends.cloud]
kind = "openai"
url = "https://api.example.com/v1"
api_key = "credential:cloud"
slots = 4
[routes]
"*" = ["ollama"]
coder = ["ollama/qwen2.5-coder:7b", "cloud/coder-large"]
"""


def shown(*words: str, faulty: bool = False, last: int = 0, **environ: str) -> str:
    """A command and what it prints, as a terminal shows them; ``last``: of a long output, only so many lines of it."""
    with TemporaryDirectory() as directory, chdir(directory):
        Path("penstock.toml").write_text(SAMPLE.replace('["ollama"]', '["olama"]') if faulty else SAMPLE)
        told = CliRunner().invoke(cli, words, env=environ).output.splitlines()
    assignments = "".join(f"{name}={value} " for name, value in environ.items())
    cut = ["…", *told[-last:]] if last else told
    return "\n".join(f"    {line}" for line in (f"$ {assignments}penstock {' '.join(words)}", *cut))


# --- the machinery ---------------------------------------------------------------------------------------------------

BLOCKS: dict[str, dict[str, Callable[[], str]]] = {
    "README.md": {"verbs": verbs},
    "docs/streams.md": {"lifecycle": lifecycle, "heartbeats": heartbeats, "errors": errors},
    "docs/metrics.md": {"metrics": metrics},
    "docs/dialects.md": {"matrix": matrix, "beside": beside, "dropped": dropped},
    "docs/ides.md": {"ides": ides},
    "docs/commands.md": {
        "check": lambda: shown("check", "penstock.toml"),
        "faults": lambda: shown("check", "penstock.toml", faulty=True),
        "explain": lambda: shown("check", "--explain", "penstock.toml", last=16, PENSTOCK__BACKENDS__CLOUD__SLOTS="8"),
        "ide": lambda: shown("ide"),
        "ide-tool": lambda: shown("ide", "aider", "--config", "penstock.toml"),
    },
}


def table(head: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    columns = list(head)
    return "\n".join(f"| {' | '.join(row)} |" for row in [columns, ["---"] * len(columns), *rows])


def fenced(language: str, text: str) -> str:
    return f"```{language}\n{text.rstrip(chr(10))}\n```"


def replaced(text: str, name: str, block: str) -> str:
    """The page with this block in its place."""
    new, found = re.subn(
        f"(<!-- {name}:begin -->\n).*?(<!-- {name}:end -->)",
        lambda match: f"{match[1]}\n{block}\n\n{match[2]}",
        text,
        flags=re.DOTALL,
    )
    if found != 1:
        raise ValueError(f"the marks of the block '{name}' stand {found} times")
    return new


def main() -> None:
    for page, blocks in BLOCKS.items():
        path = ROOT / page
        text = path.read_text()
        for name, make in blocks.items():
            text = replaced(text, name, make())
        path.write_text(text)
    for page, make in PAGES.items():
        (ROOT / page).write_text(make())


if __name__ == "__main__":
    main()
