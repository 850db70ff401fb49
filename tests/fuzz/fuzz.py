"""Coverage-guided fuzzing of the targets with atheris: ``python tests/fuzz/fuzz.py [--seconds N] [TARGET …]``.

Every target runs in a process of its own for so many seconds, begins with its corpus, and ends by keeping of old and
new inputs the smallest set that reaches as much.  What breaks a target is left as ``found-…`` in its corpus; the exit
status is 1 then.  ``test_fuzz_corpus.py`` replays the corpus without atheris.
"""

from __future__ import annotations

import argparse
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).parent
CORPUS = HERE / "corpus"
#: An input that takes longer hangs; so much memory is growth.
SECONDS_EACH, MEGABYTES = 10, 1024
LONGEST = 8192

sys.path[:0] = [str(HERE.parent), str(HERE.parent / "docs")]


def run(name: str, seconds: int) -> bool:
    """Fuzz one target; whether it held."""
    from seeds import seeds

    kept = CORPUS / name
    kept.mkdir(parents=True, exist_ok=True)
    if not any(kept.iterdir()):
        for number, seed in enumerate(seeds(name)):
            (kept / f"seed-{number}").write_bytes(seed)
    with tempfile.TemporaryDirectory(prefix="penstock-fuzz-") as folder:
        found = Path(folder) / "found"
        found.mkdir()
        # libFuzzer starts itself anew when it merges, by one path and with nothing before its own arguments.
        command = Path(folder) / "run"
        command.write_text(f'#!/bin/sh\nexec "{sys.executable}" "{HERE / "fuzz.py"}" --one {name} --as "$0" "$@"\n')
        command.chmod(0o700)
        limits = [f"-timeout={SECONDS_EACH}", f"-rss_limit_mb={MEGABYTES}", f"-max_len={LONGEST}", "-verbosity=0"]
        limits += ["-print_final_stats=1", f"-artifact_prefix={kept}/found-"]
        print(f"{name}: {seconds} s from {len(list(kept.iterdir()))} inputs", flush=True)
        fuzzed = subprocess.run([command, *limits, f"-max_total_time={seconds}", str(found), str(kept)], check=False)
        if fuzzed.returncode:
            print(f"{name}: BROKEN, see {kept}/found-…", flush=True)
            return False
        merged = Path(folder) / "merged"
        merged.mkdir()
        subprocess.run(
            [command, *limits, "-use_counters=0", "-merge=1", str(merged), str(kept), str(found)], check=True
        )
        shutil.rmtree(kept)
        shutil.copytree(merged, kept)
        print(f"{name}: held, {len(list(kept.iterdir()))} inputs kept", flush=True)
    return True


def one(name: str, path: str, rest: list[str]) -> None:
    """Become libFuzzer for one target, under this path; never returns."""
    import atheris

    with atheris.instrument_imports(include=["penstock"]):
        from targets import TARGETS
    atheris.Setup([path, *rest], TARGETS[name])
    atheris.Fuzz()


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--seconds", type=int, default=60, help="for each target")
    parser.add_argument("--one", help=argparse.SUPPRESS)
    parser.add_argument("--as", dest="path", help=argparse.SUPPRESS)
    arguments, rest = parser.parse_known_args()
    if arguments.one:
        one(arguments.one, arguments.path, rest)
    from targets import TARGETS

    unknown = set(rest) - TARGETS.keys()
    if unknown:
        parser.error(f"no such target: {', '.join(sorted(unknown))}; there are {', '.join(TARGETS)}")
    held = [run(name, arguments.seconds) for name in rest or TARGETS]
    return int(not all(held))


if __name__ == "__main__":
    sys.exit(main())
