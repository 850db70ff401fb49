"""LM Studio's own lists of models (lmstudio.ai/docs, REST API v0): every field is there, as strict clients want it."""

from __future__ import annotations

from collections.abc import Iterable

from penstock.chat.models import Model
from penstock.dialects.jsontext import encode

#: For a model whose backend does not tell its context.
CONTEXT = 32768


def listing(models: Iterable[Model]) -> bytes:
    """``GET /api/v0/models``."""
    return encode({"object": "list", "data": [_entry(model) for model in models]})


def one(model: Model) -> bytes:
    """``GET /api/v0/models/NAME``."""
    return encode(_entry(model))


def _entry(model: Model) -> dict[str, object]:
    return {
        "id": model.name,
        "object": "model",
        "type": _type(model),
        "publisher": model.owner or "penstock",
        "arch": model.family or "unknown",
        "compatibility_type": "mlx" if model.format in ("mlx", "safetensors") else "gguf",
        "quantization": model.quantization or "unknown",
        # A backend loads what is asked for.
        "state": "loaded",
        "max_context_length": model.context_length or CONTEXT,
    }


def _type(model: Model) -> str:
    can = model.capabilities or ()
    if "embedding" in can or (not can and "embed" in model.name.lower()):
        return "embeddings"
    return "vlm" if "vision" in can else "llm"
