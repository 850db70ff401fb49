"""``penstock demo`` as a newcomer runs it, and what it says when something is wrong."""

from __future__ import annotations

import os
import pty
import re
import subprocess
import sys
from collections.abc import Iterator

import pytest

DEMO = [sys.executable, "-m", "penstock", "demo"]
#: The demo with other scripts: what stands before it is Python that changes the module.
CHANGED = "from penstock.cli import demo; {change}; demo.command()"
FAST = {"whole": "tokens=48,id=whole", "cut": "tokens=400,rate=200,id=cut"}


def figure(pattern: str, text: str) -> float:
    (found,) = re.findall(pattern, text)
    return float(found)


def test_both_streams_are_shown_with_sane_figures() -> None:
    result = subprocess.run(DEMO, capture_output=True, text=True, timeout=30)
    assert (result.returncode, result.stderr) == (0, "")
    whole, cut = result.stdout.split("Another, whose client leaves after 20 of 400 tokens")
    for part, tokens in ((whole, 48), (cut, 20)):
        assert re.findall(r" t(\d+)\b", part) == [str(i) for i in range(tokens)]
        assert 300 <= figure(r"time to first token (\d+) ms", part) < 2000
        assert 20 < figure(rf"{tokens} tokens, ([\d.]+) tokens/s", part) < 40
        moments = [int(ms) for ms in re.findall(r"^ +(\d+) ms  ", part, re.MULTILINE)]
        assert len(moments) == 4
        assert moments == sorted(moments)
    assert "ended by the backend: completed" in whole
    assert "ended by the client: client_gone" in cut
    assert figure(r"backend connection closed ([\d.]+) ms later", cut) <= 50
    assert "penstock serve --demo" in cut
    assert "\x1b" not in result.stdout
    assert all(len(line) <= 120 for line in result.stdout.splitlines())


def test_a_terminal_gets_colours() -> None:
    """…and nothing else does, as the test above says."""
    ours, theirs = pty.openpty()
    command = [sys.executable, "-c", CHANGED.format(change=f"demo.SCRIPTS = {FAST}")]
    with subprocess.Popen(command, stdout=theirs, stderr=theirs) as process:
        os.close(theirs)
        shown = b"".join(until_hung_up(ours))
        os.close(ours)
        assert process.wait(timeout=10) == 0
    assert b"\x1b[36m t0\x1b[0m\x1b[36m t1\x1b[0m" in shown


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
    ],
)
def test_what_is_not_as_it_should_be_is_told(changes: dict[str, str], fault: str) -> None:
    result = run(CHANGED.format(change=f"demo.SCRIPTS = {FAST | changes}"))
    assert result.returncode == 1
    assert fault in result.stderr.splitlines()[-1]
    assert "All as it should be" not in result.stdout


def test_a_late_teardown_is_a_fault() -> None:
    result = run(CHANGED.format(change=f"demo.SCRIPTS = {FAST}; demo.BOUND = 0.0"))
    assert result.returncode == 1
    assert re.search(r"the backend was stopped after [\d.]+ ms, not within 0.0 ms", result.stderr)


def run(code: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=30)
