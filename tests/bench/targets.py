"""What is measured: the mock itself, two yardsticks, and penstock in three settings, each a process of its own."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Self

from .frames import ENCODINGS
from .load import Figures, Job
from .processes import ROOT, BenchError, Child, free_port


@dataclass(frozen=True)
class Target:
    """One way from the load generator to the mock."""

    name: str
    title: str
    dialect: str = "openai"  #: of the client
    backend: str = "openai"  #: what penstock is told that the mock is
    #: of the clients in :mod:`.frames`, those whose language cannot be told to this backend, or whose row another has
    refuses: tuple[str, ...] = ("llamacpp",)


DIRECT = Target("direct", "no proxy at all", refuses=())
RELAY = Target("relay", "bare Trio relay", refuses=())
NAIVE = Target("naive", "Quart-Trio and httpx, the obvious way")
SAME = Target("penstock", "penstock")
TO_OLLAMA = Target("to-ollama", "penstock, OpenAI backend to Ollama client", dialect="ollama")
FROM_OLLAMA = Target("from-ollama", "penstock, Ollama backend to OpenAI client", backend="ollama")
FROM_LLAMACPP = Target("from-llamacpp", "penstock, llama.cpp backend", backend="llamacpp", refuses=())
FROM_KOBOLDCPP = Target("from-koboldcpp", "penstock, KoboldCpp backend", backend="koboldcpp")
FROM_ANTHROPIC = Target(
    "from-anthropic",
    "penstock, Anthropic backend",
    backend="anthropic",
    refuses=("llamacpp", "completions", "koboldcpp"),
)
#: It is read as OpenAI's is (tests/dialects/test_openai_kinds.py), but has the Responses API itself; so is LM Studio.
FROM_VLLM = Target(
    "from-vllm",
    "penstock, vLLM backend",
    backend="vllm",
    refuses=tuple(dialect for dialect in ENCODINGS if dialect != "responses"),
)
TRANSLATED = (TO_OLLAMA, FROM_OLLAMA)
#: one for each language that backends speak
SOUTH = (SAME, FROM_LLAMACPP, FROM_OLLAMA, FROM_KOBOLDCPP, FROM_ANTHROPIC, FROM_VLLM)
TARGETS = {target.name: target for target in (DIRECT, RELAY, NAIVE, SAME, *TRANSLATED, *SOUTH)}

_CONFIG = """\
[server]
listen = ["127.0.0.1:{port}"]

[backends.mock]
kind = "{kind}"
url = "http://127.0.0.1:{mock}"
slots = 1000

[routes]
"*" = ["mock"]
"""


class Bench:
    """A mock backend, and the targets in front of it."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.stack = ExitStack()
        self.running: dict[str, Child] = {}
        self.mock = self.stack.enter_context(Child("the mock backend", ["tests.bench.mock"], folder / "mock.log"))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *reason: object) -> None:
        self.stack.close()

    def child(self, target: Target) -> Child:
        """The process of a target, not waited for."""
        log = self.folder / f"{target.name}.log"
        if target is RELAY:
            return Child(target.title, ["tests.bench.relay", str(self.mock.port)], log)
        if target is NAIVE:
            return Child(target.title, ["tests.bench.naive", str(self.mock.port)], log)
        port = free_port()
        config = self.folder / f"{target.name}.toml"
        config.write_text(_CONFIG.format(port=port, kind=target.backend, mock=self.mock.port))
        return Child(target.title, ["penstock", "serve", "--config", str(config)], log, port)

    def start(self, targets: Iterable[Target]) -> None:
        for target in targets:
            if target is DIRECT:
                self.running[target.name] = self.mock
            else:
                self.running[target.name] = self.stack.enter_context(self.child(target))
        for child in self.running.values():
            _ = child.port

    @contextmanager
    def fresh(self, target: Target) -> Iterator[None]:
        """A new process for this target alone, as memory has to be measured."""
        before = self.running.get(target.name)
        with self.child(target) as child:
            self.running[target.name] = child
            yield
        if before is not None:
            self.running[target.name] = before

    def measure(self, target: Target, job: Job) -> Figures:
        """Have the load generator do the job; raises BenchError on a fault."""
        child = self.running[target.name]
        pids = {"mock": self.mock.pid} | ({} if child is self.mock else {"target": child.pid})
        job = replace(job, port=child.port, dialect=job.dialect or target.dialect, mock_port=self.mock.port, pids=pids)
        if job.beside:
            if RELAY.name not in self.running:
                self.start([RELAY])
            relay = self.running[RELAY.name]
            job = replace(job, beside_port=relay.port, pids=pids | {"beside": relay.pid})
        command = [sys.executable, "-m", "tests.bench.loadgen"]
        try:
            done = subprocess.run(
                command,
                input=json.dumps(asdict(job)),
                capture_output=True,
                text=True,
                cwd=ROOT,
                timeout=job.patience + 5,
            )
        except subprocess.TimeoutExpired:
            raise BenchError(f"{target.title}: the load generator did not come to an end") from None
        if done.returncode:
            raise BenchError(f"{target.title}: the load generator failed\n{done.stderr}\n{child.last_words()}")
        figures: dict[str, float | str] = json.loads(done.stdout)
        if "fault" in figures:
            raise BenchError(f"{target.title}, {job.kind}: {figures['fault']}\n{child.last_words()}")
        return {name: float(value) for name, value in figures.items()}
