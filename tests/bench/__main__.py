"""``python -m tests.bench [SCENARIO...] [--quick] [--check] [--write PAGE]``: measure, print, judge."""

from __future__ import annotations

import argparse
import signal
import sys
import tempfile
from collections.abc import Sequence
from contextlib import nullcontext
from datetime import UTC, datetime
from pathlib import Path

from . import report
from .load import Figures
from .machine import Clock, checkpoint_us, describe
from .processes import BenchError
from .scenarios import SCENARIOS, Results, Scenario
from .targets import DIRECT, TARGETS, TRANSLATED, Bench, Target


def arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.bench", description=__doc__)
    parser.add_argument("scenarios", nargs="*", metavar="SCENARIO", help=f"of {' '.join(SCENARIOS)}; all by default")
    parser.add_argument(
        "--targets", help=f"of {','.join(TARGETS)}; translated: {' and '.join(target.name for target in TRANSLATED)}"
    )
    parser.add_argument("--quick", action="store_true", help="a minute or two, coarse")
    parser.add_argument("--repeats", type=int, help="instead of the number that each scenario has")
    parser.add_argument("--check", action="store_true", help="exit with 1 when a must is missed")
    parser.add_argument("--write", type=Path, metavar="PAGE", help="put the tables between the markers of this file")
    options = parser.parse_args()
    both = ",".join(target.name for target in TRANSLATED)
    every = ",".join(name for name in TARGETS if name != DIRECT.name or not options.quick)
    names = (options.targets or every).replace("translated", both).split(",")
    for kind, given, known in (("scenario", options.scenarios, SCENARIOS), ("target", names, TARGETS)):
        if unknown := [name for name in given if name not in known]:
            parser.error(f"no {kind} {unknown[0]!r}; there are {' '.join(known)}")
    options.scenarios = [SCENARIOS[letter] for letter in options.scenarios or SCENARIOS]
    options.targets = [target for name, target in TARGETS.items() if name in names]
    return options


def measure(bench: Bench, scenario: Scenario, targets: Sequence[Target], quick: bool, repeats: int | None) -> Results:
    """Every variant, target and repeat; the targets take turns, and another one begins each time."""
    jobs = scenario.variants(quick)
    taking_part = [target for target in scenario.targets if target in targets]
    results: dict[tuple[str, str], list[Figures]] = {
        (variant, target.name): []
        for variant, job in jobs.items()
        for target in taking_part
        if job.dialect not in target.refuses
    }
    for turn in range(repeats or scenario.repeats[quick]):
        shift = turn % len(taking_part) if taking_part else 0
        for variant, job in jobs.items():
            for target in taking_part[shift:] + taking_part[:shift]:
                if (variant, target.name) not in results:
                    continue
                with bench.fresh(target) if scenario.fresh else nullcontext():
                    results[variant, target.name].append(bench.measure(target, job))
    return results


def run(options: argparse.Namespace) -> dict[str, Results]:
    with tempfile.TemporaryDirectory(prefix="penstock-bench-") as folder, Bench(Path(folder)) as bench:
        bench.start(options.targets)
        results = {}
        for scenario in options.scenarios:
            print(f"{scenario.letter}: {scenario.title} ...", file=sys.stderr, flush=True)
            measured = measure(bench, scenario, options.targets, options.quick, options.repeats)
            if measured:
                results[scenario.letter] = measured
        return results


def main() -> int:
    options = arguments()
    # so that the children are ended however the harness ends
    signal.signal(signal.SIGTERM, lambda number, frame: sys.exit(143))
    yardstick = checkpoint_us()
    start = Clock.now()
    try:
        results = run(options)
    except BenchError as error:
        print(f"The run is void: {error}", file=sys.stderr)
        return 2
    date = datetime.now(UTC).date().isoformat()
    mood = f"{date}, {'quick' if options.quick else 'full'}; {Clock.now().since(start)}"
    text = report.render(results, f"{describe()}; one Trio checkpoint takes {yardstick:.1f} µs", mood)
    print(text)
    if options.write:
        report.write(options.write, text)
    missed = [verdict for verdict in report.judge_all(results) if verdict.word == "**missed**"]
    return 1 if options.check and missed else 0


if __name__ == "__main__":
    sys.exit(main())
