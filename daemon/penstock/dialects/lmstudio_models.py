"""LM Studio's own lists of models (lmstudio.ai/docs, REST API v0), both ways.

Every field is there in those that are written, as strict clients want it.
"""

from __future__ import annotations

from collections.abc import Iterable

from penstock.chat.models import Model
from penstock.dialects.jsontext import decode, encode
from penstock.dialects.refusal import excerpt
from penstock.errors import BackendGarbled

#: For a model whose backend does not tell its context.
CONTEXT = 32768


#: Its type of a model -> what such a model can do.
_CAN = {"llm": ("completion",), "vlm": ("completion", "vision"), "embeddings": ("embedding",)}


def models(body: bytes) -> list[Model]:
    """The answer to ``GET /api/v0/models``; an entry without a name is left out.  Raises BackendGarbled."""
    try:
        value = decode(body)
    except ValueError:
        raise BackendGarbled(f"the backend's list of models is not JSON: {excerpt(body)}", "parse") from None
    match value:
        case {"data": list() as entries}:
            return [_model(entry) for entry in entries if isinstance(entry, dict) and _text(entry, "id")]
    raise BackendGarbled(f"the backend's list of models has another shape: {excerpt(body)}", "schema")


def _model(entry: dict[str, object]) -> Model:
    can = _CAN.get(_text(entry, "type") or "")
    told = entry.get("capabilities")
    # Before 0.3.16 it did not say who can use tools.
    if can and can[0] == "completion" and (not isinstance(told, list) or "tool_use" in told):
        can = (*can, "tools")
    # What it was loaded with, else what it could be loaded with.
    context = entry.get("loaded_context_length") or entry.get("max_context_length")
    return Model(
        name=_text(entry, "id") or "",
        owner=_text(entry, "publisher"),
        family=_text(entry, "arch"),
        quantization=_text(entry, "quantization"),
        format=_text(entry, "compatibility_type"),
        context_length=context if isinstance(context, int) and not isinstance(context, bool) else None,
        capabilities=can,
    )


def _text(entry: dict[str, object], key: str) -> str | None:
    value = entry.get(key)
    return value if isinstance(value, str) and value else None


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
