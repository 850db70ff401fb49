"""What is measured, in which columns it is shown, and what must be reached."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from .frames import ENCODINGS
from .load import Figures, Job
from .plan import After, Plan
from .targets import DIRECT, FROM_OLLAMA, NAIVE, RELAY, SAME, SOUTH, TO_OLLAMA, TRANSLATED, Target

EVERY = (DIRECT, RELAY, SAME, *TRANSLATED)
WITH_NAIVE = (RELAY, NAIVE, SAME, *TRANSLATED)

#: the figures of one scenario: by variant and target, one for each repeat
Results = Mapping[tuple[str, str], Sequence[Figures]]


@dataclass(frozen=True)
class Column:
    head: str
    key: str
    digits: int = 0
    divisor: float = 1.0


@dataclass(frozen=True)
class Scenario:
    """One job, perhaps in variants, for several targets."""

    letter: str
    title: str
    targets: Sequence[Target]
    columns: Sequence[Column]
    variants: Callable[[bool], Mapping[str, Job]]  #: of ``quick``
    repeats: tuple[int, int] = (1, 1)  #: of a full run, of a quick one
    fresh: bool = False  #: in a new process each time
    variants_head: str = "when, how"
    label: Callable[[Target], str] = lambda target: target.title


_CPU = "cpu_target_us"
_PAIR = "times_beside"


def _cpu(head: str, digits: int = 1) -> Column:
    return Column(head, _CPU, digits)


def _one(job: Callable[[bool], Job]) -> Callable[[bool], Mapping[str, Job]]:
    return lambda quick: {"": job(quick)}


def _one_stream(quick: bool) -> Job:
    window = 0.8 if quick else 2.5
    return Job(kind="streams", plan=Plan(rate=50, frames=int(50 * (window + 0.4))), warm=0.2, window=window)


def _paced(quick: bool) -> Job:
    warm, window = (0.2, 0.8) if quick else (0.4, 3.0)
    plan = Plan(rate=50, frames=int(50 * (warm + window + 0.2)))
    return Job(kind="streams", clients=64, plan=plan, warm=warm, window=window, spread=0.02)


def _backend(target: Target) -> str:
    return f"penstock, {target.backend} backend"


def _pairs(quick: bool) -> Mapping[str, Job]:
    """A client of every language; the targets are what they talk to.  Nothing but the ratio to the relay counts, so
    both are measured at the same time: what disturbs the one then disturbs the other.
    """
    warm, window = (0.15, 0.3) if quick else (0.2, 1.0)
    # The target's streams begin before the relay's, and all have to last until the end.
    plan = Plan(rate=50, frames=int(50 * (warm + window + 0.4)))
    return {
        dialect: Job(
            kind="streams", dialect=dialect, clients=64, plan=plan, warm=warm, window=window, spread=0.02, beside=True
        )
        for dialect in ENCODINGS
    }


def _door(quick: bool) -> Mapping[str, Job]:
    rounds = 5 if quick else 20
    return {f"{keys} key{'s' * (keys != 1)}": Job(kind="door", clients=keys, rounds=rounds) for keys in (0, 1, 8)}


def _full_speed(quick: bool) -> Job:
    warm, window = (0.2, 0.5) if quick else (0.4, 1.5)
    millis = int(1000 * (warm + window + 0.3))
    return Job(kind="streams", clients=64, plan=Plan(millis=millis), warm=warm, window=window)


def _requests(quick: bool) -> Job:
    return Job(kind="requests", clients=4, plan=Plan(frames=3), warm=0.2, window=0.5 if quick else 1.5)


def _at_once(quick: bool) -> Job:
    return Job(kind="first_tokens", clients=64, plan=Plan(frames=1), rounds=3 if quick else 10)


def _ends(quick: bool) -> Mapping[str, Job]:
    phases = {
        "streaming": Plan(rate=200, frames=1_000_000),
        "silent": Plan(frames=1, after=After.HOLD),
        "before headers": Plan(after=After.MUTE),
    }
    closes = {"FIN": "fin", "RST": "rst", "half-close": "half"}
    return {
        f"{phase}, {name}": Job(kind="teardown", plan=plan, close=close, rounds=10 if quick else 100)
        for phase, plan in phases.items()
        for name, close in closes.items()
    }


def _stalled(quick: bool) -> Job:
    return Job(kind="stalled_reader", plan=Plan(frames=210_000), window=0.5 if quick else 2.0)


def _open(quick: bool) -> Job:
    return Job(kind="open_streams", clients=200, plan=Plan(frames=1, after=After.HOLD), window=0.5)


_SHARES = (
    Column("mock, core", "cpu_mock_share", 2),
    Column("load generator, core", "cpu_client_share", 2),
)

SCENARIOS = {
    scenario.letter: scenario
    for scenario in (
        Scenario(
            "a", "one stream, 50 chunks/s", EVERY,
            (Column("p50 µs", "p50_us"), Column("p99 µs", "p99_us"), _cpu("CPU µs/chunk", 0)),
            _one(_one_stream), (3, 1),
        ),
        Scenario(
            "b", "64 streams, 50 chunks/s each", WITH_NAIVE,
            (
                _cpu("CPU µs/chunk"), Column("chunks/s", "rate"),
                Column("p50 µs", "p50_us"), Column("p99 µs", "p99_us"), *_SHARES,
            ),
            _one(_paced), (5, 2),
        ),
        Scenario(
            "p", "64 streams, 50 chunks/s each, every client's language before every backend's", SOUTH,
            (_cpu("CPU µs/chunk"), Column("the relay's meanwhile", "cpu_beside_us", 1), Column("× relay", _PAIR, 2)),
            _pairs, (4, 1), variants_head="client's language", label=_backend,
        ),
        Scenario(
            "c", "64 streams at full speed", EVERY,
            (Column("chunks/s", "rate"), _cpu("CPU µs/chunk", 2), *_SHARES), _one(_full_speed), (4, 1),
        ),
        Scenario(
            "d", "short requests, not streamed, 4 connections", (DIRECT, *WITH_NAIVE),
            (_cpu("CPU µs/request", 0), Column("requests/s", "rate"), Column("p50 ms", "p50_us", 2, 1000)),
            _one(_requests), (3, 1),
        ),
        Scenario(
            "e", "first token, 64 new connections at once", (DIRECT, *WITH_NAIVE),
            (Column("p50 ms", "p50_ms", 1), Column("last ms", "last_ms", 1), Column("best p50 ms", "best_ms", 1)),
            _one(_at_once), (3, 1),
        ),
        Scenario(
            "f", "the client leaves: until the backend sees it", (DIRECT, RELAY, SAME),
            (Column("p50 ms", "p50_ms", 2), Column("p99 ms", "p99_ms", 2), Column("max ms", "max_ms", 2)), _ends,
        ),
        Scenario(
            "g", "a reader that stops under a 50 MB answer", (RELAY, SAME), (Column("grown by MiB", "grown_mib", 2),),
            _one(_stalled), fresh=True,
        ),
        Scenario(
            "m", "200 open, silent streams", (RELAY, SAME),
            (Column("idle MiB", "idle_mib", 1), Column("KiB/stream", "stream_kib", 1)), _one(_open), fresh=True,
        ),
        Scenario(
            "k", "guard and keys, for one request", (SAME,), (Column("CPU µs/request", "door_us", 1),), _door, (3, 1),
            variants_head="keys",
        ),
    )
}  # fmt: skip


@dataclass(frozen=True)
class Must:
    """A bound, and how the figure that it bounds is made from a target's figures and those ``beside`` it in the same
    repeat.
    """

    letter: str
    text: str
    target: Target
    value: Callable[[Figures, Figures], float]
    limit: float
    unit: str
    digits: int = 2
    at_least: bool = False
    worst: bool = False  #: of all variants and repeats, instead of the median
    each: bool = False  #: of each variant the median, and of the variants the worst
    beside: Target | None = None  #: the figure needs this yardstick in the same repeat

    def met(self, value: float) -> bool:
        return value >= self.limit if self.at_least else value <= self.limit


def _own(key: str) -> Callable[[Figures, Figures], float]:
    return lambda own, beside: own[key]


def _ratio(key: str) -> Callable[[Figures, Figures], float]:
    return lambda own, beside: own[key] / beside[key]


def _added_ms(own: Figures, relay: Figures) -> float:
    return (own["p50_us"] - relay["p50_us"]) / 1000


_TIMES = "× relay"
_TIMES_NAIVE = "× obvious"

MUSTS = (
    Must("a", "chunk latency of one stream, p50 above the relay's", SAME, _added_ms, 0.1, "ms", beside=RELAY),
    Must("b", "CPU per chunk", SAME, _ratio(_CPU), 1.2, _TIMES, beside=RELAY),
    Must("b", "CPU per chunk, OpenAI to Ollama", TO_OLLAMA, _ratio(_CPU), 1.35, _TIMES, beside=RELAY),
    Must("b", "CPU per chunk, Ollama to OpenAI", FROM_OLLAMA, _ratio(_CPU), 1.35, _TIMES, beside=RELAY),
    *(
        Must(
            "p", f"CPU per chunk, {target.backend} backend to each client", target, _own(_PAIR), 1.35, _TIMES,
            each=True,
        )
        for target in SOUTH
    ),
    Must("c", "chunks/s at full speed", SAME, _ratio("rate"), 1.0, _TIMES, at_least=True, beside=RELAY),
    Must("c", "CPU per chunk at full speed", SAME, _own(_CPU), 5, "µs", 1),
    Must("d", "CPU per short request", SAME, _own(_CPU), 750, "µs", 0),
    Must("d", "the same, beside the obvious way", SAME, _ratio(_CPU), 0.62, _TIMES_NAIVE, beside=NAIVE),
    Must("e", "first token of 64 at once, p50", SAME, _own("p50_ms"), 40, "ms", 1),
    Must("e", "the same, beside the obvious way", SAME, _ratio("p50_ms"), 0.58, _TIMES_NAIVE, beside=NAIVE),
    Must("f", "leaving reaches the backend, worst p99", SAME, _own("p99_ms"), 20, "ms", 1, worst=True),
    Must("f", "leaving reaches the backend, worst of all", SAME, _own("max_ms"), 50, "ms", 1, worst=True),
    Must("g", "growth under a stopped reader", SAME, _own("grown_mib"), 2, "MiB"),
    Must("m", "idle memory", SAME, _own("idle_mib"), 56, "MiB", 1),
    Must("m", "memory per open silent stream", SAME, _own("stream_kib"), 40, "KiB", 1),
    Must("k", "guard and keys", SAME, _own("door_us"), 25, "µs", 1, worst=True),
)  # fmt: skip
