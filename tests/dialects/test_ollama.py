"""What an Ollama server's refusals mean."""

from __future__ import annotations

import pytest

from penstock.dialects.ollama import ollama_north, ollama_south
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND

REFUSALS: dict[str, tuple[int, bytes, int, str, str | None]] = {
    "Ollama's own": (404, b'{"error":"model \'x\' not found"}', 404, "model 'x' not found", None),
    "bad request": (400, b'{"error":"invalid think value"}', 400, "invalid think value", None),
    "busy": (503, b'{"error":"server busy"}', 503, "server busy", None),
    "crashed": (500, b'{"error":"llama runner terminated"}', 500, "llama runner terminated", None),
    "an object": (429, b'{"error":{"message":"slow","code":"rate"}}', 429, "slow", "rate"),
    "the context is full": (
        400,
        b'{"error":"the prompt is too long; exceeded max context length by 9 tokens"}',
        400,
        "the prompt is too long; exceeded max context length by 9 tokens",
        "context_length_exceeded",
    ),
    "words of llama.cpp in the text": (
        400,
        rb'{"error":"{\"error\":{\"code\":400,\"type\":\"exceed_context_size_error\"}}"}',
        400,
        '{"error":{"code":400,"type":"exceed_context_size_error"}}',
        "context_length_exceeded",
    ),
    "another form": (422, b'{"detail":"no"}', 422, "no", None),
    "text": (502, b"<html>\n Bad   Gateway", 502, "<html> Bad Gateway", None),
    "nothing": (500, b"", 500, "it says no more", None),
    "a redirect": (
        301,
        b"",
        502,
        "the backend answered with a redirect (HTTP 301): set the URL that it leads to",
        None,
    ),
    "no key": (
        401,
        b'{"error":"unauthorized","signin_url":"https://x"}',
        502,
        "the backend refused penstock's key (HTTP 401): unauthorized",
        None,
    ),
    "another key": (403, b"no", 502, "the backend refused penstock's key (HTTP 403): no", None),
    "an unknown host name": (
        403,
        b"",
        502,
        "the backend refused penstock's key (HTTP 403): it says no more; "
        "an Ollama without keys refuses a host name that it does not know in this way",
        None,
    ),
    "no status of HTTP": (600, b"", 502, "it says no more", None),
}


@pytest.mark.parametrize(("status", "body", "shown", "message", "code"), REFUSALS.values(), ids=REFUSALS)
def test_refusal(status: int, body: bytes, shown: int, message: str, code: str | None) -> None:
    error = ollama_south.refusal(status, body)
    assert (error.status, error.message, error.backend_code) == (shown, message, code)
    assert error.retry_after == (5.0 if status == 503 else None)


def test_a_long_page_is_cut() -> None:
    assert len(ollama_south.refusal(500, b"x" * 10_000).message) == 300


def test_registered() -> None:
    assert (ollama_north.name, ollama_south.name, ollama_south.root) == ("ollama", "ollama", "")
    assert NORTHBOUND["ollama"] is ollama_north
    assert SOUTHBOUND["ollama"] is ollama_south
