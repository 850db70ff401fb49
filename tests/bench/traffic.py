"""Jobs about throughput: what a frame, a request and a first token cost."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from time import monotonic, monotonic_ns

from .client import Client, Fault
from .load import Figures, Job, Load, Reading, quantile
from .plan import Plan


def streams(job: Job) -> Figures:
    """Streams side by side: frames a second, CPU per frame, latency of a paced frame; perhaps beside the relay's."""
    load = Load(job)
    everyone = opened(load, load.open, 0)
    relayed = opened(load, load.open_beside, job.clients) if job.beside else []
    load.until(lambda: False, "warming up", job.warm)
    start, before, before_relayed = load.reading(), frames_of(everyone), frames_of(relayed)
    for client in everyone:
        client.latencies.clear()
    # One that is over earlier than it should be, on a machine that is busy otherwise, ends the window.
    streams = len(everyone) + len(relayed)
    load.until(lambda: len(load.clients) < streams, "measuring", job.window)
    end, count, count_relayed = load.reading(), frames_of(everyone) - before, frames_of(relayed) - before_relayed
    if not count or (relayed and not count_relayed):
        raise Fault("the streams were over before they could be measured")
    figures = end.since(start, count)
    if relayed:
        figures["cpu_beside_us"] *= count / count_relayed
        figures["times_beside"] = figures["cpu_target_us"] / figures["cpu_beside_us"]
    latencies = [value / 1000 for client in everyone for value in client.latencies]
    if latencies:
        figures |= {"p50_us": quantile(latencies, 0.5), "p99_us": quantile(latencies, 0.99)}
    load.until(lambda: not load.clients, "end of every stream")
    return figures


def opened(load: Load, connect: Callable[[Plan], Client], first_id: int) -> list[Client]:
    """As many streams as the job has, spread over the time that it says, once each has its first frame."""
    job, begin = load.job, monotonic()
    clients: list[Client] = []
    for number in range(job.clients):
        load.until(lambda: False, "opening", begin + job.spread * number / job.clients - monotonic())
        clients.append(connect(replace(job.plan, id=first_id + number)))
    load.until(lambda: all(client.frames for client in clients), "first frame of every stream")
    return clients


def frames_of(clients: Sequence[Client]) -> int:
    return sum(client.frames for client in clients)


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
