from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from daemons import Penstock, Server, Simulated, llama, penstock, simulated
from tiny_model import make


@pytest.fixture(scope="session")
def backend() -> Iterator[Simulated]:
    """A simulated backend with two models in its list."""
    with simulated("--model", "coder=tokens=5", "--model", "writer=tokens=7") as server:
        yield server


@pytest.fixture(scope="session")
def proxies(backend: Simulated, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Penstock]]:
    """A penstock before it by the dialect that it speaks to the backend."""
    with (
        penstock(tmp_path_factory.mktemp("openai"), before("openai", f"{backend.url}/v1"), eager=True) as openai,
        penstock(tmp_path_factory.mktemp("ollama"), before("ollama", backend.url), eager=True) as ollama,
    ):
        yield {"openai": openai, "ollama": ollama}


@pytest.fixture(params=["openai", "ollama"])
def way(request: pytest.FixtureRequest) -> str:
    """The dialect between penstock and the backend."""
    way: str = request.param
    return way


@pytest.fixture(params=[True, False], ids=["streamed", "whole"])
def stream(request: pytest.FixtureRequest) -> bool:
    stream: bool = request.param
    return stream


@pytest.fixture(scope="session")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The counting model, which could go on for long."""
    path = tmp_path_factory.mktemp("model") / "counting.gguf"
    make(path, context=262144)
    return path


@pytest.fixture(scope="session")
def llama_server(model: Path) -> Iterator[Server]:
    """A real llama.cpp server with four slots of 65536 tokens."""
    with llama(model, n_ctx=262144, n_parallel=4) as server:
        yield server


def before(kind: str, url: str, slots: int = 16) -> str:
    """The configuration of a penstock before one backend."""
    return f'[backends.{kind}]\nkind = "{kind}"\nurl = "{url}"\nslots = {slots}\n'
