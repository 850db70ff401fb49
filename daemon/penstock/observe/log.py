"""The log: one readable line per event on stderr, or JSON; never per chunk, no prompt or answer that is not asked for.

Where stderr leads to systemd's journal, it gets fields instead (:mod:`penstock.observe.journal`).
"""

from __future__ import annotations

import logging
import sys
from functools import partial
from typing import Literal, TextIO

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

from penstock.observe.journal import Entry, Journal
from penstock.observe.lines import Lines

COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31"}
LEVELS = (logging.DEBUG, logging.INFO, logging.WARNING, logging.ERROR, logging.CRITICAL)


def configure(level: str, form: Literal["console", "json"], journal: Journal | None = None) -> None:
    """Set up logging for the process, to stderr or to a journal."""
    renderer: Processor
    if form == "json":
        renderer = structlog.processors.JSONRenderer()
    else:
        renderer = Line(colours=sys.stderr.isatty(), bare=journal is not None)
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        escape_controls,
    ]
    structlog.configure(
        processors=[*processors, renderer if journal is None else Entry(renderer)],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=Where(journal or where(sys.stderr, renderer)),
        cache_logger_on_first_use=False,
    )
    root = logging.getLogger()
    root.handlers[:] = [Foreign()]
    root.setLevel(level.upper())


class Where:
    """structlog's factory of loggers: always the same one."""

    def __init__(self, logger: Journal | Lines | structlog.WriteLogger) -> None:
        self.logger = logger

    def __call__(self, *_: object) -> Journal | Lines | structlog.WriteLogger:
        return self.logger


def where(stderr: TextIO, render: Processor) -> Lines | structlog.WriteLogger:
    """Where lines go: to the descriptor, without waiting; into a stream that has none, as somebody embeds us."""
    try:
        lines = Lines(stderr.fileno(), partial(lines_lost, render))
    except (OSError, ValueError):
        return structlog.WriteLogger(stderr)
    if isinstance(before := present(), Lines) and before.fd == lines.fd:
        # A descriptor has one, so that what it has lost is known of in whatever form it was to be written.
        before.tell = lines.tell
        return before
    return lines


def present() -> object:
    """What is logged to now; None before :func:`configure`."""
    factory = structlog.get_config()["logger_factory"]
    return factory.logger if isinstance(factory, Where) else None


def lines_lost(render: Processor, number: int) -> str:
    """What is told when lines can be written again."""
    event = {"event": "lines were lost that could not be written", "lost": number, "level": "warning"}
    return str(render(None, "warning", structlog.processors.TimeStamper(fmt="iso", utc=True)(None, "warning", event)))


def lost() -> int:
    """How many lines were lost since the process began."""
    return getattr(present(), "lost", 0)


class Foreign(logging.Handler):
    """What Hypercorn and Quart say through the standard library goes the way of our own lines."""

    def emit(self, record: logging.LogRecord) -> None:
        known = max((level for level in LEVELS if level <= record.levelno), default=logging.DEBUG)
        logger().log(known, record.getMessage(), exc_info=record.exc_info)


class Line:
    """``TIME level event key=value …``; values with spaces are quoted, a traceback follows on lines that are indented.

    ``bare``: without time and level, for a reader who has them anyway.
    """

    def __init__(self, *, colours: bool, bare: bool = False) -> None:
        self._colours = colours
        self._bare = bare

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        level, time = event.pop("level"), event.pop("timestamp")
        traceback = event.pop("exception", None)
        painted = f"\x1b[{COLOURS[level]}m{level:<7}\x1b[0m" if self._colours else f"{level:<7}"
        line = event.pop("event") if self._bare else f"{time} {painted} {event.pop('event')}"
        for key, value in event.items():
            text = str(value)
            line += f" {key}={text!r}" if not text or " " in text else f" {key}={text}"
        if traceback is None:
            return line
        # Indented, so that the last of its lines, which may be in a client's words, is taken for no other.
        return ("\n" if self._bare else "\n  ").join([line, *traceback.split("\n")])


def escape_controls(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What clients and backends wrote cannot forge a line or steer a terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable():
            # A traceback has lines, and the last of them may be in a client's words.
            kept = "\n" if key == "exception" else ""
            event[key] = "".join(c if c.isprintable() or c in kept else f"\\u{ord(c):04x}" for c in value)
    return event


def logger() -> FilteringBoundLogger:
    """A logger as :func:`configure` set it up; call it afterwards."""
    # Bound now: the lazy kind looks its configuration up at every line.
    bound: FilteringBoundLogger = structlog.get_logger().bind()
    return bound
