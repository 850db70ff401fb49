"""What guard and keys cost each request."""

from __future__ import annotations

import timeit

import pytest

from bench.door import request

#: Seconds for a request, both together; a whole request takes some fifty times as much.
BOUND = 25e-6


@pytest.mark.heavy
@pytest.mark.parametrize("keys", [0, 1, 8])
def test_guard_and_keys_cost_less_than_25_microseconds(keys: int) -> None:
    assert min(timeit.repeat(request(keys), number=2000, repeat=10)) / 2000 < BOUND
