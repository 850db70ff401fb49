"""``python -m soak [MINUTES]``: run the daemon under mixed traffic, print a table and a verdict; 1 if it grows."""

from __future__ import annotations

import sys
import tempfile
from functools import partial
from pathlib import Path

import trio

from soak.running import soak
from soak.verdict import MIB, Sample, table, trends


def tell(sample: Sample) -> None:
    print(
        f"{sample.at / 60:6.1f} min {sample.requests:8} requests {sample.memory / MIB:8.2f} MiB "
        f"{sample.descriptors:4} descriptors {sample.tasks:4} tasks {sample.series:6} series",
        flush=True,
    )


def main() -> int:
    minutes = float(sys.argv[1]) if len(sys.argv) > 1 else 60.0
    with tempfile.TemporaryDirectory() as folder:
        samples = trio.run(partial(soak, minutes * 60, Path(folder), tell=tell))
    found = trends(samples)
    print(table(samples, found))
    return 0 if all(trend.good for trend in found) else 1


if __name__ == "__main__":
    sys.exit(main())
