"""Lists of models in OpenAI's shape, read from backends and written to clients."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from penstock.chat.models import Model
from penstock.dialects import jsontext
from penstock.dialects.refusal import excerpt
from penstock.errors import BackendGarbled

#: Where servers say how much context a model has: vLLM, OpenRouter, LM Studio; llama.cpp says it under ``meta``.
_CONTEXT = ("max_model_len", "context_length", "max_context_length")


def models(body: bytes) -> list[Model]:
    """The answer to GET /models; an entry without a name is left out.  Raises BackendGarbled."""
    try:
        value = jsontext.decode(body)
    except ValueError:
        raise BackendGarbled(f"the backend's list of models is not JSON: {excerpt(body)}", "parse") from None
    match value:
        # Ollama's own OpenAI layer says null for an empty list.
        case {"data": list() | None as entries} | (list() as entries):
            found = [_model(entry) for entry in entries or ()]
            return [model for model in found if model is not None]
    raise BackendGarbled(f"the backend's list of models has another shape: {excerpt(body)}", "schema")


def one(model: Model) -> bytes:
    """One model as GET /models/NAME answers it."""
    return jsontext.encode(_entry(model))


def listing(models: Sequence[Model]) -> bytes:
    """All models as GET /models answers them."""
    return jsontext.encode({"object": "list", "data": [_entry(model) for model in models]})


def _model(entry: object) -> Model | None:
    if not isinstance(entry, dict):
        return None
    name = entry.get("id")
    if not isinstance(name, str) or not name:
        return None
    meta = entry.get("meta")
    if not isinstance(meta, dict):
        meta = {}
    context = next((found for key in _CONTEXT if (found := _count(entry.get(key))) is not None), None)
    owner = entry.get("owned_by")
    return Model(
        name=name,
        created=_count(entry.get("created")),
        owner=owner if isinstance(owner, str) else None,
        size=_count(meta.get("size")),
        # What the server was started with, else what the model was trained for.
        context_length=context or _count(meta.get("n_ctx")) or _count(meta.get("n_ctx_train")),
        entry=entry,
    )


def _entry(model: Model) -> Mapping[str, object]:
    own = model.entry
    if own and own.get("object") == "model" and isinstance(own.get("created"), int) and own.get("owned_by"):
        return {**own, "id": model.name}
    return {
        "id": model.name,
        "object": "model",
        "created": model.created or 0,
        "owned_by": model.owner or "penstock",
    }


def _count(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else None
