"""The log's lines on a descriptor that takes them, takes some, or takes none."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator

import pytest

from penstock.observe.lines import PIECE, Lines
from penstock.observe.log import configure, logger, lost


def told(number: int) -> str:
    return f"{number} lost"


@pytest.fixture
def pipe() -> Iterator[tuple[int, int]]:
    """Its reading end, which does not wait, and its writing end, which would."""
    read, write = os.pipe()
    os.set_blocking(read, False)
    yield read, write
    for fd in (read, write):
        os.close(fd)


def everything(fd: int) -> str:
    data = b""
    try:
        while more := os.read(fd, 1 << 16):
            data += more
    except BlockingIOError:
        pass
    return data.decode()


def test_a_line_is_a_line(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1], told)
    lines.info("one")
    lines.warning("two é")
    assert everything(pipe[0]) == "one\ntwo é\n"
    assert lines.lost == 0


def test_a_pipe_that_nobody_reads_costs_lines_and_not_time(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1], told)
    for number in range(1000):
        lines.info(f"{number} " + "x" * 200)
    kept = everything(pipe[0]).splitlines()
    assert [line.split()[0] for line in kept] == [str(number) for number in range(len(kept))]
    assert lines.lost == 1000 - len(kept) > 0
    lines.info("again")
    assert everything(pipe[0]) == f"{lines.lost} lost\nagain\n"


def test_a_long_line_that_was_torn_ends_before_the_next(pipe: tuple[int, int]) -> None:
    lines = Lines(pipe[1], told)
    lines.info("y" * PIECE * 100)
    torn = everything(pipe[0])
    assert set(torn) == {"y"} and len(torn) < PIECE * 100
    lines.info("next")
    assert everything(pipe[0]) == "\n1 lost\nnext\n"


def test_a_reader_that_left_costs_lines() -> None:
    read, write = os.pipe()
    os.close(read)
    lines = Lines(write, told)
    lines.info("nobody")
    os.close(write)
    assert lines.lost == 1


def test_a_full_disk_costs_lines() -> None:
    with open("/dev/full", "wb", buffering=0) as full:
        lines = Lines(full.fileno(), told)
        for _ in range(3):
            lines.error("no space")
    assert lines.lost == 3


def test_what_was_lost_is_not_forgotten_when_the_log_is_set_up_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """…as a reload does it; streams that began before still write as they began."""
    with open("/dev/full", "w") as full:
        monkeypatch.setattr(sys, "stderr", full)
        configure("info", "console")
        before, earlier = lost(), logger()
        earlier.warning("no space")
        configure("info", "json")
        earlier.warning("no space")
        logger().warning("no space")
        assert lost() == before + 3
