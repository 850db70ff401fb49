"""Refused requests in the log and the metrics: each one counted, and no more told than somebody may want to read."""

from __future__ import annotations

import json

import pytest

from penstock.errors import BadRequest, PenstockError, UnknownPath
from penstock.observe.log import configure
from penstock.observe.observer import REFUSALS_AT_ONCE, Observer
from penstock.observe.throttle import Throttle


def test_some_at_once_then_few_a_second() -> None:
    throttle = Throttle(burst=3, rate=2.0)
    assert [throttle.admit(100.0) for _ in range(5)] == [0, 0, 0, None, None]
    # half a second makes room for one more, which tells of those that were left out
    assert [throttle.admit(100.5) for _ in range(2)] == [2, None]
    assert throttle.admit(101.0) == 1
    # what is not used is kept, but no more than a burst of it
    assert [throttle.admit(1000.0) for _ in range(4)] == [0, 0, 0, None]


@pytest.fixture
def lines(capfd: pytest.CaptureFixture[str]) -> pytest.CaptureFixture[str]:
    configure("info", "json")
    return capfd


def test_a_flood_is_counted_and_not_told(lines: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    now = 1000.0
    monkeypatch.setattr("penstock.observe.observer.time.monotonic", lambda: now)
    observer, flood = Observer(), 50 * REFUSALS_AT_ONCE

    def told(error: PenstockError, times: int = 1) -> list[dict[str, object]]:
        for _ in range(times):
            observer.turned_away("127.0.0.1", error)
        return [json.loads(line) for line in lines.readouterr().err.splitlines()]

    first = told(BadRequest("no"), flood)
    assert len(first) == REFUSALS_AT_ONCE
    assert {"peer", "status", "code", "message"} < first[0].keys() and "left_out" not in first[0]
    # a flood of one kind does not hide another
    assert [line["code"] for line in told(UnknownPath("no"))] == ["path_not_found"]
    assert told(BadRequest("no")) == []
    now += 1
    (after,) = told(BadRequest("no"))
    assert after["left_out"] == flood - REFUSALS_AT_ONCE + 1
    text, _ = observer.scrape()
    assert f'penstock_refused_requests_total{{code="bad_request"}} {flood + 2:.1f}'.encode() in text


def test_what_clients_make_up_is_cut(lines: pytest.CaptureFixture[str]) -> None:
    Observer().refused("A" * 60_000, "/" + "b" * 8000, UnknownPath("no"))
    (line,) = lines.readouterr().err.splitlines()
    assert len(line) < 1000
