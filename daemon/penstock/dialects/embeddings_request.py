"""Requests for embeddings, both ways: OpenAI's ``embeddings``, Ollama's ``embed`` and its older ``embeddings``."""

from __future__ import annotations

from penstock.chat.request import Operation, Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import fields, jsontext, passthrough
from penstock.dialects.base import Call
from penstock.dialects.fields import Object, refuse
from penstock.errors import BadRequest

_OPENAI = frozenset({"model", "input", "encoding_format", "dimensions"})
_OLLAMA = frozenset({"model", "input", "prompt", "dimensions", "keep_alive"})


def parse_openai(data: bytes, *, shape: Shape = SHAPE) -> Request:
    """The body of ``/v1/embeddings`` -> the request; ``inputs`` is empty where it says tokens instead of text."""
    body = jsontext.decode_request(data, shape=shape)
    if fields.text(body, "encoding_format") not in (None, "float", "base64"):
        refuse("encoding_format", '"float" or "base64"', body["encoding_format"])
    return _request("openai", body, _inputs(body), _OPENAI)


def parse_ollama(data: bytes, *, shape: Shape = SHAPE) -> Request:
    """The body of ``/api/embed``, or of ``/api/embeddings``, which says one ``prompt`` -> the request."""
    body = jsontext.decode_request(data, shape=shape)
    prompt = fields.text(body, "prompt")
    return _request("ollama", body, fields.strings(body, "input") if prompt is None else (prompt,), _OLLAMA)


def _request(dialect: str, body: Object, inputs: tuple[str, ...], known: frozenset[str]) -> Request:
    model = fields.text(body, "model")
    if not model:
        raise BadRequest("'model' is missing: say which model shall embed", param="model")
    keep_alive = body.get("keep_alive")
    return Request(
        dialect=dialect,
        operation=Operation.EMBEDDING,
        model=model,
        stream=False,
        body=body,
        inputs=inputs,
        dimensions=fields.integer(body, "dimensions", low=1, high=fields.MOST),
        keep_alive=keep_alive if isinstance(keep_alive, str | int | float) else None,
        unmapped=tuple(key for key, value in body.items() if value is not None and key not in known),
    )


def _inputs(body: Object) -> tuple[str, ...]:
    match body.get("input"):
        case [int(), *_] | [[int(), *_], *_]:
            return ()
        case None | [] | [[], *_]:
            raise BadRequest("'input' is missing: say what shall be embedded", param="input")
        case _:
            return fields.strings(body, "input")


def encode_openai(request: Request, model: str, path: str, manner: Manner = MANNER) -> Call:
    """The request -> a call of an OpenAI-compatible ``embeddings``, for numbers, as every server can send them."""
    if request.dialect == "openai" and manner.passthrough:
        body, dropped = passthrough.allowed(request.body)
        body.pop("encoding_format", None)
    else:
        tokens = request.body.get("input") if request.dialect == "openai" else None
        body, dropped = {"input": list(request.inputs) or tokens}, list(request.unmapped)
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.keep_alive is not None:
            dropped.append("keep_alive")
    return Call(path=path, body=jsontext.encode({**body, "model": model}), dropped=tuple(dropped))


def encode_ollama(request: Request, model: str, manner: Manner = MANNER) -> Call:
    """The request -> a call of Ollama.  Raises BadRequest for tokens, which it does not take."""
    path = "/api/embed"
    if request.dialect == "ollama" and manner.passthrough:
        body, dropped = passthrough.allowed(request.body)
        # The older path is not the same: its vectors are not normalised.
        path = "/api/embeddings" if "prompt" in body else path
    elif not request.inputs:
        raise BadRequest("Ollama embeds text only: send 'input' as a string or a list of strings", param="input")
    else:
        older = request.dialect == "ollama" and "prompt" in request.body
        path = "/api/embeddings" if older else path
        body = {"prompt": request.inputs[0]} if older else {"input": list(request.inputs)}
        dropped = list(request.unmapped)
        if request.dimensions is not None:
            body["dimensions"] = request.dimensions
        if request.keep_alive is not None and request.dialect == "ollama":
            body["keep_alive"] = request.keep_alive
    return Call(path=path, body=jsontext.encode({**body, "model": model}), dropped=tuple(dropped))
