"""Jobs about throughput: what a frame, a request and a first token cost."""

from __future__ import annotations

from time import monotonic, monotonic_ns

from .client import Fault
from .load import Figures, Job, Load, Reading, quantile


def streams(job: Job) -> Figures:
    """Streams side by side: frames a second, CPU per frame, latency of a paced frame."""
    load = Load(job)
    everyone = []
    begin = monotonic()
    for number in range(job.clients):
        load.until(lambda: False, "opening", begin + job.spread * number / job.clients - monotonic())
        everyone.append(load.open(job.plan))
    load.until(lambda: all(client.frames for client in everyone), "first frame of every stream")
    load.until(lambda: False, "warming up", job.warm)
    start, before = load.reading(), sum(client.frames for client in everyone)
    for client in everyone:
        client.latencies.clear()
    load.until(lambda: False, "measuring", job.window)
    end, after = load.reading(), sum(client.frames for client in everyone)
    figures = end.since(start, after - before)
    latencies = [value / 1000 for client in everyone for value in client.latencies]
    if latencies:
        figures |= {"p50_us": quantile(latencies, 0.5), "p99_us": quantile(latencies, 0.99)}
    load.until(lambda: not load.clients, "end of every stream")
    return figures


def requests(job: Job) -> Figures:
    """Requests for one whole answer, one after the other on each of the kept connections."""
    load = Load(job)
    load.stream = False
    for _ in range(job.clients):
        load.open(job.plan)
    started = monotonic()
    edges: list[tuple[Reading, int]] = []
    latencies = []
    count = 0
    while len(edges) < 2:
        for client in load.turn(load.deadline - monotonic()):
            if client.read_whole():
                count += 1
                latencies.append((monotonic_ns() - client.asked_ns) / 1000)
                client.reset()
                client.ask(stream=False)
        if monotonic() > started + job.warm + job.window * len(edges):
            if not edges:
                latencies.clear()
            edges.append((load.reading(), count))
        if monotonic() > load.deadline:
            raise Fault(f"{count} answers in {job.patience} s")
    (start, before), (end, after) = edges
    figures = end.since(start, after - before)
    return figures | {"p50_us": quantile(latencies, 0.5), "p99_us": quantile(latencies, 0.99)}


def first_tokens(job: Job) -> Figures:
    """All clients at once on new connections, several rounds: when the first token came, of the middle and the last."""
    middles, lasts = [], []
    for _ in range(job.rounds):
        load = Load(job)
        everyone = [load.open(job.plan) for _ in range(job.clients)]
        load.until(lambda load=load: not load.clients, "end of every stream")  # type: ignore[misc]
        waits = [(client.first_ns - client.asked_ns) / 1e6 for client in everyone]
        middles.append(quantile(waits, 0.5))
        lasts.append(max(waits))
        load.epoll.close()
    return {"p50_ms": quantile(middles, 0.5), "last_ms": quantile(lasts, 0.5), "best_ms": min(middles)}
