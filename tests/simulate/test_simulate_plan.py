"""What happens when, without a clock or a socket."""

from __future__ import annotations

import itertools
import math

import pytest

from penstock.simulate.openai import OpenAI
from penstock.simulate.plan import End, Step, answer
from penstock.simulate.script import BadScript, parse
from penstock.simulate.voice import Asked


def plan(text: str, *, stream: bool = True, loading: bool = False) -> list[Step]:
    """The first steps of a plan, at most 50."""
    script = parse(text)
    voice = OpenAI(script, Asked(kind="chat", model="m", stream=stream))
    return list(itertools.islice(answer(script, voice, loading=loading, http10=False), 50))


def times(steps: list[Step]) -> list[float]:
    return [round(step.at, 6) for step in steps]


def tokens_at(steps: list[Step]) -> list[tuple[float, int]]:
    return [(round(step.at, 6), step.tokens) for step in steps if step.tokens]


def test_tokens_are_due_by_rate_from_the_first() -> None:
    steps = plan("tokens=3,rate=10,first=2s")
    assert tokens_at(steps) == [(2.0, 1), (2.1, 1), (2.2, 1)]
    assert times(steps)[0] == 0.0, "OpenAI's head goes out when work begins"
    assert steps[-1].end is End.REUSE
    assert times(steps)[-1] == 2.3


def test_a_late_head_delays_the_first_token() -> None:
    assert tokens_at(plan("tokens=1,first=1s,headers=3s")) == [(3.0, 1)]


def test_bursts_keep_the_rate() -> None:
    assert tokens_at(plan("tokens=5,rate=10,burst=2")) == [(0.0, 2), (0.2, 2), (0.4, 1)]


def test_a_fault_parts_a_burst() -> None:
    steps = plan("tokens=100,fault=garbage@7,fault=silence@20")
    assert tokens_at(steps) == [(0.0, 7), (0.0, 13)]
    assert steps[-1] == Step(math.inf)


def test_at_rate_0_writes_are_large() -> None:
    steps = plan("tokens=100000")
    assert sum(step.tokens for step in steps) > 20_000
    assert all(100_000 < len(step.data) < 160_000 for step in steps if step.tokens > 1)


def test_thinking_comes_before_content_and_counts() -> None:
    steps = plan("tokens=1,thinking=2,fault=rst@3")
    texts = [step.data for step in steps if step.tokens]
    assert [b" r0" in texts[0], b" r1" in texts[0], b" t0" in texts[1]] == [True, True, True]
    assert steps[-1].end is End.RESET


def test_pings_fill_silences_only() -> None:
    steps = plan("tokens=2,rate=2,first=3s,ping=1s")
    assert [step.at for step in steps if step.data.startswith(b"3\r\n:")] == [1.0, 2.0]


def test_pings_never_end_while_nothing_follows() -> None:
    steps = plan("fault=silence,ping=2s")
    assert times(steps[1:4]) == [2.0, 4.0, 6.0]
    assert len(steps) == 50


def test_progress_is_spread_over_the_prefill() -> None:
    steps = plan("tokens=1,first=4s,progress=3")
    assert [step.at for step in steps if b"prompt_progress" in step.data] == [1.0, 2.0, 3.0]


def test_a_fault_beyond_the_end_happens_before_the_finish_reason() -> None:
    steps = plan("tokens=2,fault=truncate@99")
    assert b'finish_reason":"stop' not in b"".join(step.data for step in steps)
    assert steps[-1].end is End.REUSE


def test_dribbling_spaces_every_byte() -> None:
    steps = plan("tokens=3,gap=10ms,fault=dribble@1")
    dribbled = [step for step in steps if len(step.data) == 1]
    assert [round(step.at, 6) for step in dribbled[:3]] == [0.0, 0.01, 0.02]


def test_what_is_too_large_to_be_whole_is_refused() -> None:
    with pytest.raises(BadScript, match="ask with stream: true"):
        plan("tokens=1000001", stream=False)


def test_a_whole_answer_comes_when_its_last_token_would() -> None:
    steps = plan("tokens=10,rate=10,first=1s", stream=False)
    assert times(steps) == [2.0, 2.0]
