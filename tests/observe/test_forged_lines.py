"""No text of a client or a backend makes a line of the log, a field of the journal, or a command to a terminal."""

from __future__ import annotations

import json
import logging
import re
import sys
from contextlib import closing
from typing import Any, Literal

import pytest
import structlog
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from journald import parsed

from penstock.errors import BadRequest
from penstock.observe.journal import Journal
from penstock.observe.log import configure
from penstock.observe.observer import Observer
from wellformed import HOSTILE

texts = st.lists(st.sampled_from([*HOSTILE, "\nMESSAGE=forged", "2026-01-01T00:00:00Z info forged"]), max_size=6).map(
    "".join
)
#: What the log is told, with the same text in every place.
TOLD = ["refused", "turned away", "ended", "fell back", "bug", "foreign"]


class Kept:
    """A logger that keeps what the last processor made."""

    def __init__(self) -> None:
        self.entries: list[Any] = []

    def info(self, entry: Any) -> None:
        self.entries.append(entry)

    debug = warning = error = critical = info


def logged(what: str, text: str, form: Literal["console", "json"], journal: Journal | None = None) -> str | bytes:
    """The one entry for this."""
    configure("debug", form, journal)
    kept = Kept()
    structlog.configure(logger_factory=lambda *_: kept)
    observer = Observer()
    match what:
        case "refused":
            observer.refused(text, text, BadRequest(text))
        case "turned away":
            observer.turned_away(text, BadRequest(text))
        case "ended":
            observer._log.warning("stream ended", **dict.fromkeys(OUTCOME, text))
        case "fell back":
            observer._log.warning("target failed, trying the next", target=text, reason=text, message=text)
        case "bug":
            try:
                raise ValueError(text)
            except ValueError as error:
                observer.bug(text, error)
        case "foreign":
            logging.getLogger("hypercorn.error").error("%s", text)
    (entry,) = kept.entries
    assert isinstance(entry, str | bytes)
    return entry


#: The fields of a stream's closing line that can hold text.
OUTCOME = ("reason", "stream", "key", "model", "target", "dialect", "phase", "dropped", "message")

EVERY = pytest.mark.parametrize("what", TOLD)
MANY = settings(deadline=None, max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])


@EVERY
@MANY
@given(text=texts)
def test_console(what: str, text: str) -> None:
    entry = logged(what, text, "console")
    assert isinstance(entry, str)
    first, *more = entry.splitlines()
    assert first.isprintable()
    assert re.match(r"\d{4}-\d\d-\d\dT[\d:.]+Z (debug|info|warning|error) ", first)
    # A traceback's lines cannot be taken for others.
    assert bool(more) == (what == "bug")
    assert all(line.startswith("  ") and line.isprintable() for line in more)


@EVERY
@MANY
@given(text=texts)
def test_json(what: str, text: str) -> None:
    entry = logged(what, text, "json")
    assert isinstance(entry, str)
    assert entry.isprintable() and len(entry.splitlines()) == 1
    said = json.loads(entry)
    assert said["level"] in ("debug", "info", "warning", "error")
    assert said.keys() <= {
        "event",
        "level",
        "timestamp",
        "peer",
        "method",
        "path",
        "status",
        "code",
        "where",
        "exception",
        *OUTCOME,
    }


@EVERY
@pytest.mark.parametrize("form", ["console", "json"])
@MANY
@given(text=texts)
def test_journal(what: str, form: Literal["console", "json"], text: str) -> None:
    with closing(Journal("/nowhere")) as journal:
        entry = logged(what, text, form, journal)
    assert isinstance(entry, bytes)
    fields = parsed(entry)
    names = {"peer", "method", "path", "status", "code", "where", "exception", *OUTCOME}
    own = {
        "MESSAGE",
        "MESSAGE_ID",
        "PRIORITY",
        "SYSLOG_IDENTIFIER",
        "REQUEST_ID",
        "MODEL",
        "DIALECT",
        "OUTCOME",
        "BACKEND",
    }
    assert fields.keys() <= own | {f"PENSTOCK_{name.upper()}" for name in names}
    assert fields["SYSLOG_IDENTIFIER"] == "penstock"
    assert not [value for value in fields.values() if not value.replace("\n", "").isprintable()]


def test_halves_of_surrogate_pairs_do_not_break_the_log(capfd: pytest.CaptureFixture[str]) -> None:
    """They come from JSON, and no stream takes them."""
    configure("info", "console")
    Observer().refused("POST", "/\ud800", BadRequest("\udfff"))
    sys.stderr.flush()
    assert "\\ud800" in capfd.readouterr().err
