"""From files and environment to the frozen configuration, or to all of its faults at once."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path

import msgspec

from penstock.config.document import Document
from penstock.config.faults import Fault, FaultyFile
from penstock.config.include import included
from penstock.config.merge import Merged
from penstock.config.model import Config
from penstock.config.overrides import Variable, variables
from penstock.config.reader import Reader


class Loaded(msgspec.Struct, frozen=True):
    """A configuration, and what it was made from."""

    config: Config
    merged: Merged


def load(path: Path | None, environ: Mapping[str, str] | None = None) -> Config:
    """Read a file, what ``conf.d`` beside it adds, and what the environment overrides (None: the process's own).

    Without a file the defaults, under what the environment says.  Raises ConfigError: FaultyFile where the faults have
    places.
    """
    return read(path, environ).config


def loads(text: str, filename: str) -> Config:
    """The text of one file -> the configuration; ``filename`` is for the faults.  Raises FaultyFile."""
    return _read([Document.parse(text, filename)], []).config


def read(path: Path | None, environ: Mapping[str, str] | None = None) -> Loaded:
    """As :func:`load`, with the sources."""
    documents: list[Document] = []
    found: list[Fault] = []
    for file in [path, *included(path)] if path else []:
        try:
            documents.append(Document.open(file))
        except FaultyFile as error:
            found += error.found
    if found:
        raise FaultyFile(found)
    return _read(documents or [Document.parse("", "no file")], variables(os.environ if environ is None else environ))


def _read(documents: Sequence[Document], overrides: Sequence[Variable]) -> Loaded:
    main, *further = documents
    merged = Merged(main)
    for document in further:
        merged.include(document)
    for variable in overrides:
        merged.override(variable)
    reader = Reader()
    config = reader.config(merged.table)
    found = [
        *merged.faults,
        *(merged.origin(problem.path).fault(problem.message, at_key=problem.at_key) for problem in reader.problems),
    ]
    if config is None or found:
        order = [*(document.name for document in documents), *(variable.name for variable in overrides)]
        raise FaultyFile(sorted(found, key=lambda fault: (order.index(fault.file), fault.line, fault.column)))
    return Loaded(config, merged)
