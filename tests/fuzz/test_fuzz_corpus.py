"""What fuzzing has found so far, replayed: every input of the corpus at its target, and a few of its neighbours."""

from __future__ import annotations

import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from targets import TARGETS

CORPUS = Path(__file__).parent / "corpus"
#: Of processor time; generous: what takes so long here hangs.
LONGEST = 5.0


def inputs(name: str) -> list[bytes]:
    return [path.read_bytes() for path in sorted((CORPUS / name).iterdir())]


@pytest.mark.parametrize("name", TARGETS)
def test_the_corpus_holds(name: str) -> None:
    for data in inputs(name):
        begun = time.process_time()
        TARGETS[name](data)
        assert time.process_time() - begun < LONGEST, data


def test_every_corpus_has_its_target() -> None:
    assert {folder.name for folder in CORPUS.iterdir()} == TARGETS.keys()
    assert not list(CORPUS.glob("*/found-*")), "these broke a target and are not mended yet"


@pytest.mark.parametrize("name", TARGETS)
@settings(deadline=None, max_examples=15)
@given(st.data())
def test_what_is_near_the_corpus_holds(name: str, data: st.DataObject) -> None:
    """The same targets without a fuzzer: pieces of inputs put together anew, and anything in between."""
    parts = st.sampled_from(inputs(name) or [b""]) | st.binary(max_size=20)
    cut = st.integers(0, 200)
    TARGETS[name](b"".join(part[: data.draw(cut)] for part in data.draw(st.lists(parts, max_size=4))))
