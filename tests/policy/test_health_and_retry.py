"""Backends rest after failures; the next target is tried only where it can help."""

from __future__ import annotations

import pytest

from penstock import errors
from penstock.chat.reasons import Reason
from penstock.policy.health import FIRST_REST, LONGEST_REST, Health, rested_first
from penstock.policy.retry import may_try_next


def test_rest_doubles_with_each_failure_and_ends_with_a_success() -> None:
    health = Health()
    health.note(Reason.CONNECT_FAILED, 100.0)
    assert health.resting(100.0 + FIRST_REST - 0.1)
    assert not health.resting(100.0 + FIRST_REST)
    health.note(Reason.CONNECT_FAILED, 150.0)
    assert health.resting(150.0 + 2 * FIRST_REST - 0.1)
    assert not health.resting(150.0 + 2 * FIRST_REST)
    for _ in range(2000):
        health.note(Reason.SILENCE, 200.0)
    assert health.resting(200.0 + LONGEST_REST - 0.1)
    assert not health.resting(200.0 + LONGEST_REST)
    health.note(Reason.COMPLETED, 201.0)
    assert not health.resting(201.0)


@pytest.mark.parametrize("reason", [Reason.CLIENT_GONE, Reason.CLIENT_STALLED, Reason.BACKEND_REFUSED, Reason.SHUTDOWN])
def test_what_is_not_the_backends_fault_does_not_make_it_rest(reason: Reason) -> None:
    health = Health()
    health.note(reason, 0.0)
    assert not health.resting(0.0)


def test_resting_backends_come_last_and_are_never_left_out() -> None:
    health = {name: Health() for name in "abc"}
    health["a"].note(Reason.CONNECT_FAILED, 0.0)
    assert rested_first(["a", "b", "c"], health.__getitem__, 1.0) == ["b", "c", "a"]
    assert rested_first(["a"], health.__getitem__, 1.0) == ["a"]


def refused(status: int) -> errors.BackendRefused:
    return errors.BackendRefused("no", status=status)


@pytest.mark.parametrize(
    ("error", "next_allowed"),
    [
        (errors.ConnectFailed("x"), True),
        (errors.ConnectTimeout("x"), True),
        (errors.FirstTokenTimeout("x"), True),
        (errors.BackendTruncated("x"), True),
        (errors.BackendGarbled("x", "parse"), True),
        (errors.QueueFull("x"), True),
        (errors.QueueTimeout("x"), True),
        (refused(500), True),
        (refused(503), True),
        (refused(429), True),
        (refused(404), True),
        (refused(400), False),  # the request itself is wrong: a context overflow, a bad schema
        (refused(413), False),
        (errors.DeadlineSpent("x"), False),
        (errors.ClientGone("x"), False),
        (errors.ClientStalled("x"), False),
        (errors.Ended("x", "killed"), False),
    ],
)
def test_the_table_of_fallbacks(error: errors.PenstockError, next_allowed: bool) -> None:
    assert may_try_next(error, content_sent=False) is next_allowed
    assert may_try_next(error, content_sent=True) is False
