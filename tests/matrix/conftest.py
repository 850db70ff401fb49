from __future__ import annotations

from collections.abc import Iterator

import pytest

from matrix.estate import Estate, running


@pytest.fixture(scope="module")
def estate() -> Iterator[Estate]:
    with running() as estate:
        yield estate
