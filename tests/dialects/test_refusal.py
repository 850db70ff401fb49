"""What a backend's refusals mean, in whatever form it words them."""

from __future__ import annotations

import pytest

from penstock.dialects.refusal import leads_to
from penstock.dialects.registry import SOUTHBOUND

#: status and body of the backend; status, message, code and type of the error
REFUSALS: dict[str, tuple[int, bytes, tuple[int, str, str | None, str | None]]] = {
    "OpenAI's form": (
        404,
        b'{"error":{"message":"no m","type":"t","code":"model_not_found"}}',
        (404, "no m", "model_not_found", "t"),
    ),
    "Ollama's form": (404, b'{"error":"model \'x\' not found"}', (404, "model 'x' not found", None, None)),
    "Anthropic's form": (
        529,
        b'{"type":"error","error":{"type":"overloaded_error","message":"busy"}}',
        (529, "busy", None, "overloaded_error"),
    ),
    "FastAPI's list": (422, b'{"detail":[{"loc":["n"],"msg":"too many"}]}', (422, "too many", None, None)),
    "FastAPI's text": (400, b'{"detail":"bad"}', (400, "bad", None, None)),
    "the bare object": (400, b'{"object":"error","message":"bad","code":40001}', (400, "bad", "40001", None)),
    "busy": (503, b'{"error":"server busy"}', (503, "server busy", None, None)),
    "loading": (
        503,
        b'{"error":{"code":503,"message":"Loading model","type":"unavailable_error"}}',
        (503, "Loading model", "503", "unavailable_error"),
    ),
    "the context is full (llama.cpp)": (
        400,
        b'{"error":{"code":400,"message":"too long","type":"exceed_context_size_error","n_ctx":8}}',
        (400, "too long", "context_length_exceeded", "exceed_context_size_error"),
    ),
    "the context is full (Ollama)": (
        400,
        b'{"error":"the prompt is too long; exceeded max context length by 9 tokens"}',
        (400, "the prompt is too long; exceeded max context length by 9 tokens", "context_length_exceeded", None),
    ),
    "words of llama.cpp in the text of Ollama": (
        400,
        rb'{"error":"{\"error\":{\"code\":400,\"type\":\"exceed_context_size_error\"}}"}',
        (400, '{"error":{"code":400,"type":"exceed_context_size_error"}}', "context_length_exceeded", None),
    ),
    "no words": (503, b'{"error":{}}', (503, 'the backend failed: {"error":{}}', None, None)),
    "a page": (502, b"<html>\n Bad   Gateway", (502, "<html> Bad Gateway", None, None)),
    "a long page": (502, b"x" * 10_000, (502, "x" * 300, None, None)),
    "nothing": (500, b"", (500, "HTTP 500 without a word", None, None)),
    "a redirect": (
        307,
        b"",
        (502, "the backend answered with a redirect (HTTP 307): set the URL that it leads to", None, None),
    ),
    "no key": (
        401,
        b'{"error":{"message":"bad key"}}',
        (502, "the backend refused penstock's key (HTTP 401): bad key", None, None),
    ),
    "another key": (403, b"no", (502, "the backend refused penstock's key (HTTP 403): no", None, None)),
    "an unknown host name": (
        403,
        b"",
        (
            502,
            "the backend refused penstock's key (HTTP 403): HTTP 403 without a word; "
            "an Ollama without keys refuses a host name that it does not know in this way",
            None,
            None,
        ),
    ),
    "a status that is no error": (
        204,
        b"",
        (502, "the backend answered with HTTP 204: HTTP 204 without a word", None, None),
    ),
}


@pytest.mark.parametrize(
    ("location", "told"),
    [
        ("http://evil.test:8/v1", " (to evil.test:8)"),
        ("//evil.test/v1", " (to evil.test)"),
        ("https://me:secret@[::1]:8", " (to [::1]:8)"),
        ("/elsewhere", ""),
        ("", ""),
        ("http://\x1b[31m/", ""),
    ],
)
def test_a_redirect_is_told_with_its_host_alone(location: str, told: str) -> None:
    assert leads_to(location) == told


@pytest.mark.parametrize("kind", sorted(SOUTHBOUND))
@pytest.mark.parametrize(("status", "body", "told"), REFUSALS.values(), ids=REFUSALS)
def test_refusal(kind: str, status: int, body: bytes, told: tuple[int, str, str | None, str | None]) -> None:
    error = SOUTHBOUND[kind].refusal(status, body)
    assert (error.status, error.message, error.backend_code, error.backend_type) == told
    assert error.retry_after == (5.0 if status == 503 else None)
