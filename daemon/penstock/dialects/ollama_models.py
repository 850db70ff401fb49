"""Ollama's lists of models, both ways: what ``/api/tags`` of a server says, and what clients ask penstock for.

Clients are strict here.  One entry that lacks a field empties the whole list of some, equal digests make one model of
two in another, and a model without the word "tools" among its capabilities is not offered to agents.  So every field
is there, and what a backend did not tell is filled in by a value that says so.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping

from penstock.chat.models import Model
from penstock.config.model import SHAPE, Shape
from penstock.dialects import fields, jsontext
from penstock.dialects.ollama_wire import seconds, timestamp
from penstock.errors import BackendGarbled, BadRequest

Object = dict[str, object]

#: Clients switch features on by it (Copilot Chat wants 0.6.4 at least); the release this dialect was written after.
VERSION = "0.32.14"

#: For a model whose backend does not tell its context: what Copilot Chat assumes itself.
CONTEXT = 32768

_ENTRY = {"name": str, "model": str, "modified_at": str, "size": int, "digest": str}
_DETAILS = {
    "parent_model": str,
    "format": str,
    "family": str,
    "families": list,
    "parameter_size": str,
    "quantization_level": str,
}


def models(data: bytes) -> list[Model]:
    """The answer of a server's ``/api/tags`` -> its models; an item without a name is none.  Raises BackendGarbled."""
    try:
        body = jsontext.decode(data)
    except ValueError as error:
        raise BackendGarbled(f"the backend's /api/tags is not JSON: {error}", "parse") from None
    match body:
        case {"models": list() | None as listed}:
            return [_model(item) for item in listed or () if isinstance(item, dict) and _text(item, "name", "model")]
    raise BackendGarbled("the backend's /api/tags has no list 'models'", "schema")


def _model(item: Mapping[str, object]) -> Model:
    told = item.get("details")
    details: Mapping[str, object] = told if isinstance(told, dict) else {}
    size, context, capabilities = item.get("size"), details.get("context_length"), item.get("capabilities")
    return Model(
        name=_text(item, "name", "model") or "",
        created=seconds(item.get("modified_at")),
        size=size if isinstance(size, int) else None,
        digest=_text(item, "digest"),
        family=_text(details, "family"),
        parameter_size=_text(details, "parameter_size"),
        quantization=_text(details, "quantization_level"),
        format=_text(details, "format"),
        context_length=context if isinstance(context, int) and context > 0 else None,
        capabilities=tuple(str(word) for word in capabilities) if isinstance(capabilities, list) else None,
        entry=item if _complete(item) else None,
    )


def _text(item: Mapping[str, object], *keys: str) -> str | None:
    """The first of these that is a text with something in it."""
    return next((value for key in keys if isinstance(value := item.get(key), str) and value), None)


def _complete(item: Mapping[str, object]) -> bool:
    """Whether this is an item of ``/api/tags`` that no client stumbles over."""
    details = item.get("details")
    return _has(item, _ENTRY) and isinstance(details, dict) and _has(details, _DETAILS)


def _has(item: Mapping[str, object], shape: Mapping[str, type]) -> bool:
    return all(isinstance(item.get(key), kind) for key, kind in shape.items())


def tags(listed: Iterable[Model]) -> bytes:
    """``GET /api/tags``."""
    return jsontext.encode({"models": [_entry(model) for model in listed]})


def ps(loaded: Iterable[Model], expires: float) -> bytes:
    """``GET /api/ps``: the models in memory, which they leave at ``expires`` (seconds since 1970)."""
    more = {"expires_at": timestamp(expires), "size_vram": 0}
    entries = [_entry(model) | more | {"context_length": model.context_length or CONTEXT} for model in loaded]
    return jsontext.encode({"models": entries})


def version() -> bytes:
    """``GET /api/version``."""
    return jsontext.encode({"version": VERSION})


def show_request(data: bytes, *, shape: Shape = SHAPE) -> str:
    """The body of ``POST /api/show`` -> the model's name, in ``model`` or, from older clients, ``name``."""
    body = jsontext.decode_request(data, shape=shape)
    name = fields.text(body, "model") or fields.text(body, "name")
    if not name:
        raise BadRequest("the body names no model; set 'model'", param="model")
    return name


def show(model: Model) -> bytes:
    """``POST /api/show``."""
    details = _details(model)
    architecture = model.family or "unknown"
    context = model.context_length or CONTEXT
    return jsontext.encode(
        {
            "license": "",
            "modelfile": f"FROM {model.name}\n",
            "parameters": f"num_ctx {context}" if model.context_length else "",
            # One that wraps nothing around a prompt and fills in no middle, so that clients do neither by it.
            "template": "{{ .Prompt }}",
            "details": details,
            "model_info": {
                "general.architecture": architecture,
                "general.basename": model.name,
                f"{architecture}.context_length": context,
            },
            "capabilities": _capabilities(model),
            "modified_at": timestamp(model.created or 0),
        }
    )


def _entry(model: Model) -> Object:
    """An item of ``/api/tags``: the backend's own where it is complete, under the name by which clients know it."""
    names: Object = {"name": model.name, "model": model.name}
    own = model.entry
    if own is not None and own.get("name") == model.name and _complete(own):
        return {**own, **names}
    return {
        **names,
        "modified_at": timestamp(model.created or 0),
        "size": model.size or 0,
        # A second name of one model needs a digest of its own, or clients that compare them merge the two.
        "digest": hashlib.sha256(f"penstock model {model.name}".encode()).hexdigest(),
        "details": _details(model),
        "capabilities": _capabilities(model),
    }


def _details(model: Model) -> Object:
    family = model.family or "unknown"
    return {
        "parent_model": "",
        "format": model.format or "unknown",
        "family": family,
        "families": [family],
        "parameter_size": model.parameter_size or "unknown",
        "quantization_level": model.quantization or "unknown",
    }


def _capabilities(model: Model) -> list[str]:
    """As the backend says; of one that says nothing, that it does what most models do."""
    return list(model.capabilities) if model.capabilities is not None else ["completion", "tools"]
