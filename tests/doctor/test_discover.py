"""Servers on their usual ports are found, and taken for what they are."""

from __future__ import annotations

import pytest
import standins
import trio

from penstock.service import probe as probing
from penstock.service.discover import CANDIDATES, discover


def test_the_usual_ports() -> None:
    assert [url.rpartition(":")[2] for url in CANDIDATES] == ["11434", "8080", "1234", "5001", "8000"]


async def test_each_is_named_after_what_it_is(nursery: trio.Nursery) -> None:
    """…and not after who usually has its port; of two of a kind the second is named after its port, too."""
    pages = (standins.KOBOLDCPP, standins.PLAIN, standins.VLLM, standins.OLLAMA, standins.PLAIN, {"/": b"hello"})
    urls = [await standins.serve(nursery, page) for page in pages]
    backends = (await discover((*urls, "http://127.0.0.1:1"))).backends
    second = f"openai-{urls[4].rpartition(':')[2]}"
    assert [(name, backend.kind, backend.url) for name, backend in backends.items()] == [
        ("koboldcpp", "koboldcpp", urls[0]),
        ("openai", "openai", urls[1]),
        ("vllm", "vllm", urls[2]),
        ("ollama", "ollama", urls[3]),
        (second, "openai", urls[4]),
    ]


async def test_nobody_waits_long_for_one_that_is_mute(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PATIENCE", 0.05)
    mute = await standins.serve(nursery, {"/api/extra/version": None})
    with trio.fail_after(20):
        assert not (await discover((mute,))).backends
