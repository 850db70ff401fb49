"""The log in the journal: fields to select by, and lines lost rather than time."""

from __future__ import annotations

import logging
import os
import socket
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest
from journald import parsed

from penstock.chat.lifecycle import Phase
from penstock.chat.reasons import Reason
from penstock.errors import BadRequest
from penstock.observe.journal import KINDS, LONGEST, Journal, encode, journal_of
from penstock.observe.log import configure, logger
from penstock.observe.observer import Observer
from penstock.relay.outcome import Gaps, Outcome

TRACEBACK = "Traceback (most recent call last):"


class Reader:
    """journald's part: takes datagrams apart as the protocol says."""

    def __init__(self, path: Path) -> None:
        self.path = str(path)
        self._sock = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK)
        self._sock.bind(self.path)

    def entries(self) -> list[dict[str, str]]:
        found = []
        while True:
            try:
                found.append(parsed(self._sock.recv(1 << 20), errors="replace"))
            except BlockingIOError:
                return found

    def close(self) -> None:
        self._sock.close()


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Reader]:
    reader = Reader(tmp_path / "journal")
    yield reader
    reader.close()


@pytest.fixture
def logged(journal: Reader) -> Iterator[Reader]:
    """Everything that is logged goes there."""
    with closing(Journal(journal.path)) as ours:
        configure("info", "console", ours)
        yield journal


def outcome(model: str = "coder", reason: Reason = Reason.SILENCE, message: str | None = "it fell silent") -> Outcome:
    return Outcome(
        stream="8c1f3a00002a",
        dialect="openai",
        operation="chat",
        key=None,
        model=model,
        backend="ollama",
        target="ollama/qwen:7b",
        label="ollama/qwen:7b",
        route="*",
        streamed=True,
        reason=reason,
        phase=Phase.STREAMING,
        message=message,
        attempts=1,
        phases={Phase.STREAMING: 2.5},
        total=2.7504,
        first_token=0.25,
        tokens=30,
        prompt_tokens=None,
        tokens_per_second=12.0,
        bytes_in=800,
        bytes_out=700,
        heartbeats=0,
        dropped=(),
        teardown=0.001,
        orphaned=None,
        gaps=Gaps(),
    )


@pytest.mark.parametrize(
    ("fields", "entry"),
    [
        ({}, b""),
        ({"MESSAGE": "one line", "PRIORITY": "6"}, b"MESSAGE=one line\nPRIORITY=6\n"),
        ({"MESSAGE": "two\nlines"}, b"MESSAGE\n\x09\0\0\0\0\0\0\0two\nlines\n"),
        ({"A": "=x=", "B": ""}, b"A==x=\nB=\n"),
        ({"A": "ä\udcff"}, b"A=\xc3\xa4?\n"),
        ({"A": "x" * (LONGEST + 1)}, b"A=" + b"x" * LONGEST + b"\n"),
    ],
)
def test_the_protocol(fields: dict[str, str], entry: bytes) -> None:
    assert encode(fields) == entry


def test_a_stream_ends(logged: Reader) -> None:
    Observer().ended(outcome())
    (entry,) = logged.entries()
    assert entry == {
        "MESSAGE": (
            "stream ended reason=silence stream=8c1f3a00002a model=coder target=ollama/qwen:7b dialect=openai "
            "phase=streaming total=2.7504 first_token=0.25 tokens=30 tokens_per_second=12.0 bytes_in=800 bytes_out=700 "
            "teardown=0.001 message='it fell silent' in_streaming=2.5"
        ),
        "PRIORITY": "4",
        "SYSLOG_IDENTIFIER": "penstock",
        "MESSAGE_ID": KINDS["stream ended"],
        "OUTCOME": "silence",
        "REQUEST_ID": "8c1f3a00002a",
        "MODEL": "coder",
        "BACKEND": "ollama",
        "DIALECT": "openai",
        "DURATION_MS": "2750",
        "PENSTOCK_TARGET": "ollama/qwen:7b",
        "PENSTOCK_PHASE": "streaming",
        "PENSTOCK_TOTAL": "2.7504",
        "PENSTOCK_FIRST_TOKEN": "0.25",
        "PENSTOCK_TOKENS": "30",
        "PENSTOCK_TOKENS_PER_SECOND": "12.0",
        "PENSTOCK_BYTES_IN": "800",
        "PENSTOCK_BYTES_OUT": "700",
        "PENSTOCK_TEARDOWN": "0.001",
        "PENSTOCK_MESSAGE": "it fell silent",
        "PENSTOCK_IN_STREAMING": "2.5",
    }


def test_each_kind_of_event_has_an_id_and_a_priority(logged: Reader) -> None:
    observer = Observer()
    observer.ended(outcome(reason=Reason.COMPLETED))
    observer.refused("POST", "/v1/chat/completions", BadRequest("no"))
    observer.bug("here", ValueError("x"))
    logger().info("something else")
    told = [(entry["PRIORITY"], entry.get("MESSAGE_ID")) for entry in logged.entries()]
    assert told == [
        ("6", KINDS["stream ended"]),
        ("6", KINDS["request refused"]),
        ("3", KINDS["a bug in penstock"]),
        ("6", None),
    ]
    assert len(set(KINDS.values())) == len(KINDS)


def test_a_traceback_is_one_entry_of_several_lines(logged: Reader) -> None:
    try:
        raise ValueError("broken")
    except ValueError as error:
        Observer().bug("here", error)
    (entry,) = logged.entries()
    first, second, *_, last = entry["MESSAGE"].split("\n")
    assert (first, second, last) == ("a bug in penstock where=here", TRACEBACK, "ValueError: broken")
    assert entry["PENSTOCK_EXCEPTION"].startswith(TRACEBACK)


def test_what_a_client_wrote_cannot_forge_a_field(logged: Reader) -> None:
    Observer().ended(outcome(model="m\nPRIORITY=0\nMESSAGE=all is well"))
    (entry,) = logged.entries()
    assert entry["PRIORITY"] == "4"
    assert entry["MODEL"] == "m\\u000aPRIORITY=0\\u000aMESSAGE=all is well"


def test_what_libraries_log_goes_the_same_way(logged: Reader) -> None:
    logging.getLogger("hypercorn.error").warning("%s is odd", "this")
    logging.getLogger("quart").debug("not asked for")
    (entry,) = logged.entries()
    assert entry == {"MESSAGE": "this is odd", "PRIORITY": "4", "SYSLOG_IDENTIFIER": "penstock"}


def test_a_name_of_a_megabyte_still_fits(logged: Reader) -> None:
    Observer().ended(outcome(model="m" * 1_000_000, message="x" * 1_000_000))
    (entry,) = logged.entries()
    assert entry["MODEL"] == "m" * LONGEST
    assert entry["OUTCOME"] == "silence"


def test_a_journal_that_takes_nothing_costs_lines_and_never_time(logged: Reader) -> None:
    for number in range(1000):
        logger().info("line", number=number)
    kept = [int(entry["PENSTOCK_NUMBER"]) for entry in logged.entries()]
    assert 0 < len(kept) < 1000
    assert kept == list(range(len(kept)))
    logger().info("line", number=1000)
    lost, after = logged.entries()
    assert lost["PENSTOCK_LOST"] == str(1000 - len(kept))
    assert lost["MESSAGE"] == f"{1000 - len(kept)} lines were lost that the journal did not take"
    assert after["PENSTOCK_NUMBER"] == "1000"


def test_the_form_of_the_file_is_kept(journal: Reader) -> None:
    with closing(Journal(journal.path)) as ours:
        configure("info", "json", ours)
        logger().info("line", number=1)
    (entry,) = journal.entries()
    assert entry["MESSAGE"].startswith('{"number": 1, "event": "line", "level": "info", "timestamp": "2')
    assert entry["PENSTOCK_NUMBER"] == "1"


def test_only_a_stderr_that_leads_to_the_journal_is_replaced(journal: Reader, tmp_path: Path) -> None:
    with (tmp_path / "stderr").open("w") as stderr:
        state = os.fstat(stderr.fileno())
        ours = {"JOURNAL_STREAM": f"{state.st_dev}:{state.st_ino}"}
        found = journal_of(stderr, ours, journal.path)
        assert found is not None
        found.close()
        assert journal_of(stderr, {}, journal.path) is None
        assert journal_of(stderr, {"JOURNAL_STREAM": f"{state.st_dev}:1"}, journal.path) is None
        assert journal_of(stderr, ours, str(tmp_path / "none")) is None
    assert journal_of(stderr, ours, journal.path) is None
