"""The numbers for Prometheus, in a registry of their own; docs/metrics.md lists them all.

Model names come from clients and are no label; what is a label comes from the configuration or from a closed list.
"""

from __future__ import annotations

from collections import Counter as Counts
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from itertools import accumulate
from typing import NamedTuple

import trio
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram
from prometheus_client.exposition import CONTENT_TYPE_LATEST, generate_latest
from prometheus_client.metrics_core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily, Metric
from prometheus_client.registry import Collector

from penstock.chat.lifecycle import Phase
from penstock.observe.log import lost
from penstock.relay.backends import Backend
from penstock.relay.live import Live
from penstock.relay.outcome import GAP_EDGES, Outcome

FIRST_TOKEN_EDGES = (0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300)
TOTAL_EDGES = (0.1, 0.5, 1, 2.5, 5, 10, 30, 60, 120, 300, 600, 1800)
WAIT_EDGES = (0.001, 0.01, 0.1, 0.5, 1, 5, 10, 30, 60)
TEARDOWN_EDGES = (0.0005, 0.001, 0.0025, 0.005, 0.01, 0.02, 0.05, 0.1, 1)


class Metrics:
    """All metrics of one daemon."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry()
        by_target = ("dialect", "target")
        self._streams = Counter(
            "penstock_streams",
            "Streams that ended, by reason.",
            ("reason", *by_target),
            registry=self.registry,
        )
        self._refused = Counter(
            "penstock_refused_requests",
            "Requests and connections refused before a stream began.",
            ("code",),
            registry=self.registry,
        )
        self._fallbacks = Counter(
            "penstock_fallbacks", "Targets given up for the next one.", ("backend", "reason"), registry=self.registry
        )
        self._first_token = Histogram(
            "penstock_time_to_first_token_seconds",
            "From the request read to the first token.",
            by_target,
            buckets=FIRST_TOKEN_EDGES,
            registry=self.registry,
        )
        self._total = Histogram(
            "penstock_stream_seconds",
            "From the request read to the last byte.",
            by_target,
            buckets=TOTAL_EDGES,
            registry=self.registry,
        )
        self._wait = Histogram(
            "penstock_queue_wait_seconds",
            "Waiting for a slot.",
            ("backend",),
            buckets=WAIT_EDGES,
            registry=self.registry,
        )
        self._teardown = Histogram(
            "penstock_teardown_seconds",
            "From the decision to end a stream to its backend connection closed.",
            ("reason",),
            buckets=TEARDOWN_EDGES,
            registry=self.registry,
        )
        self._orphaned = Counter(
            "penstock_orphan_seconds",
            "How long backend connections outlived their clients, in all.",
            ("backend",),
            registry=self.registry,
        )
        self._tokens = Counter(
            "penstock_tokens", "Tokens, as the backend counts them.", ("kind", "backend"), registry=self.registry
        )
        self._successful = Gauge(
            "penstock_config_last_reload_successful",
            "Whether the configuration could be used when it was last read: 1, or 0.",
            registry=self.registry,
        )
        self._taken_at = Gauge(
            "penstock_config_last_reload_success_timestamp_seconds",
            "When a configuration was last read that could be used, since the epoch.",
            registry=self.registry,
        )
        self._generation = Gauge(
            "penstock_config_generation",
            "The generation of the configuration that serves new requests.",
            registry=self.registry,
        )
        self._exhausted = Counter(
            "penstock_accept_pauses",
            "Connections not accepted at once, for want of a file descriptor or memory.",
            registry=self.registry,
        )
        self._gaps = GapCollector()
        self.registry.register(self._gaps)
        self.registry.register(LostCollector())
        # Looking a child up by its labels costs more than counting.
        self._target = cache(self._of_target)
        self._ends = cache(lambda reason, *target: self._streams.labels(reason.value, *target))

    def watch(self, live: Live, backends: Callable[[], Iterable[Backend]], lag: Callable[[], float]) -> None:
        """Read live numbers at every scrape.

        ``backends`` tells those of all generations of the configuration, the newest last; ``lag`` how late the event
        loop was.
        """
        self.registry.register(LiveCollector(live, backends))
        Gauge(
            "penstock_loop_lag_seconds",
            "How late the event loop woke up, at worst, in the last minute.",
            registry=self.registry,
        ).set_function(lag)
        Gauge("penstock_tasks", "Tasks of the event loop, its own included.", registry=self.registry).set_function(
            lambda: trio.lowlevel.current_statistics().tasks_living
        )

    def configured(self, generation: int) -> None:
        """A configuration was read and is in force, as this generation."""
        self._successful.set(1)
        self._taken_at.set_to_current_time()
        self._generation.set(generation)

    def misconfigured(self) -> None:
        """A configuration was read and cannot be used."""
        self._successful.set(0)

    def ended(self, outcome: Outcome) -> None:
        backend, label = outcome.backend or "none", outcome.label or "none"
        target = self._target(outcome.dialect, label, backend)
        self._ends(outcome.reason, outcome.dialect, label).inc()
        target.total.observe(outcome.total)
        if outcome.first_token is not None:
            target.first_token.observe(outcome.first_token)
        target.wait.observe(outcome.phases.get(Phase.QUEUED, 0.0))
        if outcome.teardown is not None:
            self._teardown.labels(outcome.reason.value).observe(outcome.teardown)
        if outcome.orphaned:
            target.orphaned.inc(outcome.orphaned)
        target.completion_tokens.inc(outcome.tokens)
        target.prompt_tokens.inc(outcome.prompt_tokens or 0)
        self._gaps.add(backend, outcome)

    def _of_target(self, dialect: str, label: str, backend: str) -> Target:
        return Target(
            total=self._total.labels(dialect, label),
            first_token=self._first_token.labels(dialect, label),
            wait=self._wait.labels(backend),
            orphaned=self._orphaned.labels(backend),
            completion_tokens=self._tokens.labels("completion", backend),
            prompt_tokens=self._tokens.labels("prompt", backend),
        )

    def refused(self, code: str) -> None:
        self._refused.labels(code).inc()

    def exhausted(self) -> None:
        self._exhausted.inc()

    def fell_back(self, backend: str, reason: str) -> None:
        self._fallbacks.labels(backend, reason).inc()

    def scrape(self) -> tuple[bytes, str]:
        """The text and its content type."""
        return generate_latest(self.registry), CONTENT_TYPE_LATEST


class Target(NamedTuple):
    """The metrics of one dialect and backend."""

    total: Histogram
    first_token: Histogram
    wait: Histogram
    orphaned: Counter
    completion_tokens: Counter
    prompt_tokens: Counter


class GapCollector(Collector):
    """Gaps between tokens: counted by the relay without a call per chunk, added up here at each stream's end."""

    def __init__(self) -> None:
        self._counts: dict[str, list[int]] = {}
        self._sums: dict[str, float] = {}

    def add(self, backend: str, outcome: Outcome) -> None:
        counts = self._counts.setdefault(backend, [0] * (len(GAP_EDGES) + 1))
        for i, count in enumerate(outcome.gaps.counts):
            counts[i] += count
        self._sums[backend] = self._sums.get(backend, 0.0) + outcome.gaps.total

    def collect(self) -> Iterator[Metric]:
        family = HistogramMetricFamily(
            "penstock_token_gap_seconds", "Between reads that brought tokens.", labels=("backend",)
        )
        for backend, counts in self._counts.items():
            edges = [*map(str, GAP_EDGES), "+Inf"]
            family.add_metric((backend,), list(zip(edges, accumulate(counts), strict=True)), self._sums[backend])
        yield family


class LostCollector(Collector):
    """Lines of the log that could not be written."""

    def collect(self) -> Iterator[Metric]:
        yield CounterMetricFamily("penstock_log_lines_lost", "Lines of the log that could not be written.", lost())


class LiveCollector(Collector):
    """Numbers that are true at the moment of the scrape."""

    def __init__(self, live: Live, backends: Callable[[], Iterable[Backend]]) -> None:
        self._live = live
        self._backends = backends

    def collect(self) -> Iterator[Metric]:
        streams = GaugeMetricFamily("penstock_live_streams", "Streams alive now, by phase.", labels=("phase",))
        counts = self._live.by_phase()
        for phase in Phase:
            if phase is not Phase.ENDED:
                streams.add_metric((phase.value,), counts[phase])
        yield streams
        waiting = GaugeMetricFamily("penstock_queue_length", "Streams waiting for a slot.", labels=("backend",))
        busy = GaugeMetricFamily("penstock_slots_busy", "Slots in use.", labels=("backend",))
        open_ = GaugeMetricFamily(
            "penstock_backend_connections", "Connections to backends, in use or idle.", labels=("backend", "state")
        )
        backends = list(self._backends())
        queued, granted = Counts[str](), Counts[str]()
        for gate in {backend.gate for backend in backends}:
            queued[gate.backend] += gate.waiting
            granted[gate.backend] += gate.busy
        connections = Counts[tuple[str, str]]()
        # One that two generations share is told under its newest name.
        for transport, name in {backend.transport: backend.name for backend in backends}.items():
            connections[name, "used"] += transport.open
            connections[name, "idle"] += transport.idle
        for name in granted:
            waiting.add_metric((name,), queued[name])
            busy.add_metric((name,), granted[name])
        for labels, count in connections.items():
            open_.add_metric(labels, count)
        yield waiting
        yield busy
        yield open_
