"""What guard and keys cost each request."""

from __future__ import annotations

import time
import timeit

import pytest

from bench.door import request

#: Seconds of processor time for a request, both together; a whole request takes some fifty times as much.
BOUND = 25e-6


@pytest.mark.heavy
@pytest.mark.parametrize("keys", [0, 1, 8])
def test_guard_and_keys_cost_less_than_25_microseconds(keys: int) -> None:
    took = timeit.repeat(request(keys), timer=time.process_time, number=2000, repeat=20)
    assert min(took) / 2000 < BOUND
