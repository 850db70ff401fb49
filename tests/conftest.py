"""Puts this folder on the path: what tests in several folders use lies beside this file.

And whatever a test is about: penstock connects to the backends of its configuration, and to nobody else.
"""

from __future__ import annotations

import os
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from outbound import recorder


def pytest_configure(config: pytest.Config) -> None:
    folder = str(Path(recorder.__file__).parent)
    os.environ["PYTHONPATH"] = os.pathsep.join([folder, *filter(None, [os.environ.get("PYTHONPATH")])])
    notes = tempfile.TemporaryDirectory(prefix="outbound-")
    config.add_cleanup(notes.cleanup)
    os.environ[recorder.NOTES] = os.path.join(notes.name, "notes")
    sys.addaudithook(recorder.hook)


@pytest.fixture(autouse=True)
def backends_alone_are_connected_to() -> Iterator[None]:
    yield
    assert recorder.taken() == []
