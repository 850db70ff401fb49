"""Everything that is not generation: what a backend tells of itself, and the records."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterable
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import msgspec
import trio

from penstock.simulate import embeddings, rerank
from penstock.simulate.asked import characters
from penstock.simulate.connection import Request
from penstock.simulate.records import Records, RequestRecord

ADMIN = "/simulate"

#: The longest a reader of the records may wait for a state; seconds.
_LONGEST_WAIT = 600.0

_JSON = "application/json; charset=utf-8"
_STAMP = "2026-01-01T00:00:00Z"
_DETAILS = {
    "parent_model": "",
    "format": "gguf",
    "family": "simulated",
    "families": ["simulated"],
    "parameter_size": "0.6M",
    "quantization_level": "F16",
}

#: What a waiting reader can wait for: the name in ``for=`` -> whether a request has come that far.
STATES: dict[str, Callable[[RequestRecord], bool]] = {
    "asked": lambda request: True,
    "working": lambda request: request.slot_at is not None,
    "head": lambda request: request.first_byte_at is not None,
    "token": lambda request: request.first_token_at is not None,
    "closed": lambda request: request.peer_closed_at is not None,
    "ended": lambda request: request.end is not None,
}


class Page(msgspec.Struct, frozen=True):
    """A small answer."""

    status: int
    media: str
    body: bytes


def told(path: str, request: Request, models: Iterable[str], last: tuple[int, int] = (0, 0)) -> Page:
    """What the backend tells of itself: ``path`` is without ``/v1``, ``last`` the counts of KoboldCpp's last answer."""
    names = list(models)
    reads = request.method in ("GET", "HEAD")
    match path.split("/")[1:]:
        case [""] if reads:
            return Page(200, "text/plain; charset=utf-8", b"Ollama is running")
        case ["health"] if reads:
            return _json({"status": "ok"})
        case ["models"] if reads:
            return _json({"object": "list", "data": [_openai_model(name) for name in names]})
        case ["models", *name] if reads:
            return _json(_openai_model(unquote("/".join(name))))
        case ["api", "v0", "models"] if reads:
            return _json({"object": "list", "data": [_lmstudio_model(name) for name in names]})
        case ["api", "version"] if reads:
            return _json({"version": "0.33.0"})
        case ["api", "tags"] if reads:
            return _json({"models": [_ollama_model(name) for name in names]})
        case ["api", "ps"] if reads:
            loaded = {"expires_at": "2099-01-01T00:00:00Z", "size_vram": 0, "context_length": 4096}
            return _json({"models": [_ollama_model(name) | loaded for name in names]})
        case ["api", "extra", "version"] if reads:
            return _json({"result": "KoboldCpp", "version": "1.115"})
        case ["api", "extra", "perf"] if reads:
            counts = {"last_input_count": last[0], "last_token_count": last[1]}
            return _json({**counts, "total_gens": 1, "queue": 0, "idle": 1})
        case ["api", "extra", "abort"] if request.method == "POST":
            return _json({"success": "true", "done": "true"})
        case ["messages", "count_tokens"] if request.method == "POST":
            return _computed(lambda: _count(request.body))
        case ["rerank" | "reranking"] if request.method == "POST":
            return _computed(lambda: rerank.answer(request.body))
        case ["embeddings"] if request.method == "POST":
            return _computed(lambda: embeddings.answer(request.body, ollama=False))
        case ["api", "embed"] if request.method == "POST":
            return _computed(lambda: embeddings.answer(request.body, ollama=True))
        case ["api", "embeddings"] if request.method == "POST":
            return _computed(lambda: embeddings.one(request.body))
        case ["api", "show"] if request.method == "POST":
            return _show()
        case _:
            return Page(404, "text/plain", b"404 page not found")


async def records_page(request: Request, records: Records) -> Page:
    """The pages under ``/simulate``."""
    url = urlsplit(request.target)
    query = {name: values[-1] for name, values in parse_qs(url.query).items()}
    match request.method, url.path.removeprefix(ADMIN).strip("/").split("/"):
        case "GET", ["connections"]:
            last = query.get("last", "")
            connections = list(records.connections)
            return _json(connections[-int(last) :] if last.isdecimal() and int(last) else connections)
        case "GET", ["counters"]:
            return _json({"now": time.monotonic()} | msgspec.structs.asdict(records.counters))
        case "GET", ["streams", name]:
            return await _stream(unquote(name), query, records)
        case "POST", ["reset"]:
            records.reset()
            return _json({"reset": True})
        case _:
            known = "GET connections, counters, streams/ID; POST reset"
            return _json({"error": f"no such page; under {ADMIN} there are {known}"}, 404)


async def _stream(name: str, query: dict[str, str], records: Records) -> Page:
    """All requests with this id; with ``wait=SECONDS`` once the newest has come as far as ``for=`` (ended)."""
    state, wait = query.get("for", "ended"), query.get("wait", "0")
    try:
        reached, patience = STATES[state], min(float(wait), _LONGEST_WAIT)
    except (KeyError, ValueError):
        return _json({"error": f"wait= takes seconds and for= one of {', '.join(STATES)}"}, 400)
    with trio.move_on_after(max(patience, 0.0)):
        await records.until(lambda: any(reached(request) for request in records.stream(name)[-1:]))
    found = records.stream(name)
    return _json(found) if found else _json({"error": f"no stream with id {name!r} was asked for"}, 404)


def _json(value: Any, status: int = 200) -> Page:
    return Page(status, _JSON, msgspec.json.encode(value))


def _openai_model(name: str) -> dict[str, Any]:
    return {"id": name, "object": "model", "created": 1767225600, "owned_by": "penstock"}


def _lmstudio_model(name: str) -> dict[str, Any]:
    more = {"type": "llm", "publisher": "penstock", "arch": "simulated", "compatibility_type": "gguf"}
    return {"id": name, "object": "model", **more, "quantization": "F16", "max_context_length": 4096}


def _ollama_model(name: str) -> dict[str, Any]:
    digest = f"{sum(name.encode()):064x}"
    return {"name": name, "model": name, "modified_at": _STAMP, "size": 633_000, "digest": digest, "details": _DETAILS}


def _computed(answer: Callable[[], dict[str, Any]]) -> Page:
    """An answer to a body, which may be no JSON."""
    try:
        return _json(answer())
    except ValueError as error:
        return _json({"error": {"type": "invalid_request_error", "message": str(error)}}, 400)


def _count(body: bytes) -> dict[str, Any]:
    return {"input_tokens": characters(msgspec.json.decode(body, type=dict[str, Any]).get("messages"))}


def _show() -> Page:
    return _json(
        {
            "license": "",
            "modelfile": "",
            "parameters": "",
            "template": "{{ .Prompt }}",
            "details": _DETAILS,
            "model_info": {"general.architecture": "simulated", "simulated.context_length": 131072},
            "capabilities": ["completion", "tools", "insert", "thinking"],
            "modified_at": _STAMP,
        }
    )
