"""The log: one readable line per event on stderr, or JSON; never per chunk, never a prompt or an answer.

Our own lines are rendered and written here directly.  What Hypercorn and Quart say through the standard library passes
through the same renderer.
"""

from __future__ import annotations

import logging
import sys
from typing import Literal

import structlog
from structlog.typing import EventDict, FilteringBoundLogger, Processor, WrappedLogger

COLOURS = {"debug": "2", "info": "32", "warning": "33", "error": "31", "critical": "31"}


def configure(level: str, form: Literal["console", "json"]) -> None:
    """Set up logging for the process."""
    renderer: Processor = structlog.processors.JSONRenderer() if form == "json" else Line(colours=sys.stderr.isatty())
    processors: list[Processor] = [
        structlog.processors.add_log_level,
        structlog.processors.TimeStamper(fmt="iso", utc=True),
        structlog.processors.format_exc_info,
        escape_controls,
    ]
    structlog.configure(
        processors=[*processors, renderer],
        wrapper_class=structlog.make_filtering_bound_logger(logging.getLevelNamesMapping()[level.upper()]),
        logger_factory=structlog.WriteLoggerFactory(sys.stderr),
        cache_logger_on_first_use=False,
    )
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(
        structlog.stdlib.ProcessorFormatter(
            foreign_pre_chain=processors,
            processors=[structlog.stdlib.ProcessorFormatter.remove_processors_meta, renderer],
        )
    )
    root = logging.getLogger()
    root.handlers[:] = [handler]
    root.setLevel(level.upper())


class Line:
    """``TIME level event key=value …``; values with spaces are quoted, a traceback follows on lines of its own."""

    def __init__(self, *, colours: bool) -> None:
        self._colours = colours

    def __call__(self, _: WrappedLogger, __: str, event: EventDict) -> str:
        level = event.pop("level")
        traceback = event.pop("exception", None)
        painted = f"\x1b[{COLOURS[level]}m{level:<7}\x1b[0m" if self._colours else f"{level:<7}"
        line = f"{event.pop('timestamp')} {painted} {event.pop('event')}"
        for key, value in event.items():
            text = str(value)
            line += f" {key}={text!r}" if not text or " " in text else f" {key}={text}"
        return line if traceback is None else f"{line}\n{traceback}"


def escape_controls(_: WrappedLogger, __: str, event: EventDict) -> EventDict:
    """What clients and backends wrote cannot forge a line or steer a terminal."""
    for key, value in event.items():
        if isinstance(value, str) and not value.isprintable() and key != "exception":
            event[key] = "".join(c if c.isprintable() else f"\\u{ord(c):04x}" for c in value)
    return event


def logger() -> FilteringBoundLogger:
    bound: FilteringBoundLogger = structlog.get_logger()
    return bound
