"""Which headers a request to a backend carries."""

from __future__ import annotations

import httpx
import pytest

from penstock.dialects.registry import SOUTHBOUND
from penstock.relay.transport import Transport


def sent(kind: str, key: str | None, *more: tuple[str, str]) -> httpx.Headers:
    transport = Transport("http://backend/v1", headers=SOUTHBOUND[kind].auth(key))
    return transport.request("POST", "/messages", b"{}", more).headers


@pytest.mark.parametrize("kind", ["openai", "ollama", "llamacpp", "koboldcpp", "simulate"])
def test_a_key_is_a_bearer_token(kind: str) -> None:
    assert sent(kind, "k")["authorization"] == "Bearer k"
    assert "authorization" not in sent(kind, None)


def test_anthropic_has_a_header_of_its_own() -> None:
    headers = sent("anthropic", "k")
    assert (headers["x-api-key"], headers["anthropic-version"]) == ("k", "2023-06-01")
    assert "authorization" not in headers
    assert "x-api-key" not in sent("anthropic", None)


def test_those_of_one_request_win() -> None:
    headers = sent("anthropic", None, ("anthropic-version", "2026-10-21"), ("anthropic-beta", "a,b"))
    assert headers.get_list("anthropic-version") == ["2026-10-21"]
    assert headers["anthropic-beta"] == "a,b"
    assert headers["accept-encoding"] == "identity"
