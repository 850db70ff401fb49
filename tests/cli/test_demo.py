"""``penstock demo`` as a newcomer runs it, and what it says when something is wrong."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

#: What the demo promises is for a machine that does nothing else; this, in seconds, is for any.
SOON = 0.9
#: The demo after a change, which is Python; and faster, with other scripts.
CHANGED = f"from penstock.cli import demo; demo.WORST = {SOON}; {{change}}; demo.command()"
FASTER = "demo.SILENCE, demo.HEARTBEAT = 0.5, 0.1; demo.SCRIPTS = "
FAST = {
    "whole": "tokens=48,id=whole",
    "cut": "tokens=400,rate=200,id=cut",
    "silent": "tokens=400,rate=200,fault=silence@12,id=silent",
}


def figure(pattern: str, text: str) -> float:
    (found,) = re.findall(pattern, text)
    return float(found)


def rows(part: str) -> list[tuple[int, str, str]]:
    """A timeline: milliseconds, who, what."""
    return [(int(ms), who, what) for ms, who, what in re.findall(r"^ +(\d+) ms  (\w+) +(.+)$", part, re.MULTILINE)]


def test_all_streams_are_shown_with_sane_figures() -> None:
    result = run(CHANGED.format(change="pass"), LC_ALL="C")
    assert (result.returncode, result.stderr) == (0, "")
    _, whole, cut, silent = re.split(r"^\d\. .*\n", result.stdout, flags=re.MULTILINE)
    for part, tokens, length in ((whole, 48, 5), (cut, 20, 5), (silent, 12, 8)):
        assert re.findall(r" t(\d+)\b", part) == [str(i) for i in range(tokens)]
        assert 300 <= figure(r"time to first token (\d+) ms", part) < 2000
        assert 20 < figure(rf"{tokens} tokens, ([\d.]+) tokens/s", part) < 40
        told = rows(part)
        assert len(told) == length
        assert told[0] == (0, "client", "asks")
        assert [moment for moment, _, _ in told] == sorted(moment for moment, _, _ in told)
    assert "ended by the backend: completed" in whole
    assert "ended by the client: client_gone" in cut
    assert figure(r"connection closed ([\d.]+) ms after the client left", cut) < SOON * 1000
    assert " . . [the backend sent no token for 1.5 s (silence budget)]" in " ".join(silent.split())
    assert "ended by penstock: silence" in silent
    assert figure(r"connection closed ([\d.]+) ms after the budget was spent", silent) < SOON * 1000
    assert "penstock serve --demo" in silent
    assert result.stdout.isascii()
    assert "\x1b" not in result.stdout
    assert all(len(line) <= 120 for line in result.stdout.splitlines())


def test_a_narrow_terminal_has_whole_words() -> None:
    result = run(CHANGED.format(change=f"{FASTER}{FAST}"), COLUMNS="44")
    assert result.returncode == 0
    silent = re.split(r"^\d\. .*\n", result.stdout, flags=re.MULTILINE)[3].partition("All as it")[0]
    assert "connection closed" in silent
    assert all(len(line) < 44 for line in silent.splitlines() if not line.startswith(" ["))


@pytest.mark.parametrize("no_color", ["", "1"])
def test_a_terminal_gets_colours_unless_it_wants_none(no_color: str) -> None:
    """…and nothing else does, as the first test says."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", CHANGED.format(change=f"{FASTER}{FAST}")]
    environ = os.environ | {"NO_COLOR": no_color}
    with subprocess.Popen(command, stdout=theirs, stderr=theirs, env=environ) as process:
        os.close(theirs)
        shown = b"".join(until_hung_up(ours))
        os.close(ours)
        assert process.wait(timeout=60) == 0
    assert (b"\x1b[36m t0\x1b[0m\x1b[36m t1\x1b[0m" in shown) is not bool(no_color)
    assert (b" t0 t1" in shown) is bool(no_color)


def until_hung_up(terminal: int) -> Iterator[bytes]:
    while True:
        try:
            data = os.read(terminal, 65536)
        except OSError:
            # Linux says EIO when the last process has left the terminal
            return
        if not data:
            return
        yield data


@pytest.mark.parametrize(
    ("changes", "fault"),
    [
        ({"whole": "tokens=48,id=whole,fault=error@5"}, "reason backend_refused, not completed"),
        ({"whole": "tokens=47,id=whole"}, "the first answer is not what the backend sent"),
        ({"whole": "tokens=48,id=whole,finish=length"}, "did not end with its finish reason"),
        ({"cut": "tokens=400,rate=200,id=cut,width=8"}, "the second answer is not what the backend sent"),
        ({"cut": "status=404,id=cut"}, "the client's request failed: Client error '404"),
        ({"silent": "tokens=400,rate=200,fault=truncate@12,id=silent"}, "reason backend_truncated, not silence"),
    ],
)
def test_what_is_not_as_it_should_be_is_told(changes: dict[str, str], fault: str) -> None:
    result = run(CHANGED.format(change=f"{FASTER}{FAST | changes}"))
    assert result.returncode == 1
    assert fault in result.stderr.splitlines()[-1]
    assert "All as it should be" not in result.stdout


def test_a_reader_that_has_seen_enough_is_no_fault_to_tell_of() -> None:
    command = [sys.executable, "-c", CHANGED.format(change=f"{FASTER}{FAST}")]
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE) as process:
        assert process.stdout and process.stderr
        assert b"penstock" in process.stdout.readline()
        process.stdout.close()
        assert (process.wait(timeout=60), process.stderr.read()) == (1, b"")


def test_a_late_teardown_is_a_fault() -> None:
    result = run(CHANGED.format(change=f"{FASTER}{FAST}; demo.WORST = 0.0"))
    assert result.returncode == 1
    assert re.search(r"the second backend was stopped after [\d.]+ ms, not within 50 ms", result.stderr)


def test_a_busy_machine_is_told_of() -> None:
    result = run(CHANGED.format(change=f"{FASTER}{FAST}; demo.BOUND = 0.0"))
    assert result.returncode == 0, result.stderr
    told = result.stdout.partition("All as it should be")[2].replace("\n", " ")
    assert re.search(r"stopped within [\d.]+ ms \(this machine is busy: 0.0 ms is the bound", told)


def run(code: str, **environ: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, env=os.environ | environ
    )
