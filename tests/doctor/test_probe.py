"""Each kind of server is known by what only it says."""

from __future__ import annotations

import pytest
import standins
import trio

from penstock.config.model import Backend, BackendKind, Config
from penstock.dialects.registry import SOUTHBOUND
from penstock.errors import ConnectFailed, ConnectTimeout
from penstock.relay.backends import build_backends
from penstock.service import probe as probing
from penstock.service.probe import Found, probe


async def probed(url: str, kind: BackendKind = "openai", key: str | None = None) -> Found | None:
    config = Config(backends={"a": Backend(kind=kind, url=url)})
    return await probe(build_backends(config, SOUTHBOUND, {"a": key} if key else {})["a"])


@pytest.mark.parametrize(
    ("pages", "found"),
    [
        (standins.OLLAMA, Found("Ollama", "ollama", "0.33.0")),
        (standins.KOBOLDCPP, Found("KoboldCpp", "koboldcpp", "1.115")),
        (standins.LLAMACPP, Found("llama.cpp", "llamacpp", "b7000-abc")),
        (standins.VLLM, Found("vLLM", "vllm", "0.12.0")),
        (standins.LM_STUDIO, Found("LM Studio", "lmstudio", None)),
        ({"/api/v1/models": {"models": []}}, Found("LM Studio", "lmstudio", None)),
        ({"/v1/models": {"data": [], "has_more": False}}, Found("a server that speaks anthropic", "anthropic", None)),
        (standins.PLAIN, Found("a server that speaks openai", "openai", None)),
        ({"/": b"hello", "/version": b"not json"}, None),
    ],
    ids=["ollama", "koboldcpp", "llamacpp", "vllm", "lmstudio", "lmstudio v1", "anthropic", "openai", "stranger"],
)
@pytest.mark.parametrize("path", ["", "/", "/v1"])
async def test_a_kind(pages: standins.Pages, found: Found | None, path: str, nursery: trio.Nursery) -> None:
    assert await probed(await standins.serve(nursery, pages) + path) == found


@pytest.mark.parametrize("kind", ["openai", "anthropic"])
async def test_a_server_that_wants_a_key(kind: BackendKind, nursery: trio.Nursery) -> None:
    """It is asked with the backend's, as its kind says it; without it nothing can be known."""
    url = await standins.serve(nursery, standins.PLAIN, key="opensesame", otherwise=401)
    assert await probed(url, kind, "opensesame") == Found("a server that speaks openai", "openai", None)
    assert await probed(url, kind, "wrong") is None
    assert await probed(url, kind) is None


async def test_nobody_is_there() -> None:
    with pytest.raises(ConnectFailed):
        await probed("http://127.0.0.1:1")


async def test_it_hangs(nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(probing, "PATIENCE", 0.05)
    with pytest.raises(ConnectTimeout):
        await probed(await standins.serve(nursery, {"/api/extra/version": None}))
