"""The load generator: one process for one cell of the table.

Reads a :class:`~.load.Job` as JSON from stdin and prints its figures, or ``{"fault": text}``, as JSON.
"""

from __future__ import annotations

import gc
import json
import sys
from collections.abc import Callable

from . import lifecycle, traffic
from .client import Fault
from .load import Figures, Job


def door(job: Job) -> Figures:
    """The one job that runs penstock's own code, which is loaded for no other: it takes longer than some of them."""
    from .door import door

    return door(job)


KINDS: dict[str, Callable[[Job], Figures]] = {
    "streams": traffic.streams,
    "requests": traffic.requests,
    "first_tokens": traffic.first_tokens,
    "teardown": lifecycle.teardown,
    "open_streams": lifecycle.open_streams,
    "stalled_reader": lifecycle.stalled_reader,
    "door": door,
}


def main() -> None:
    gc.disable()
    job = Job.from_json(sys.stdin.read())
    try:
        answer: Figures | dict[str, str] = KINDS[job.kind](job)
    except Fault as fault:
        answer = {"fault": str(fault)}
    print(json.dumps(answer))


if __name__ == "__main__":
    main()
