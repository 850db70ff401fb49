"""Targets of the languages beside the chats: embeddings, rerank, infill, responses, and what is passed on unread."""

from __future__ import annotations

import json

from telling import IDENTITY, LIMITS, Target, pieces, refused, tell

from asking import LANGUAGES
from penstock.config.model import SHAPE, Manner
from penstock.dialects import jsontext, koboldcpp_pages, lmstudio_models, ollama_models, opaque
from penstock.dialects.base import Northbound, Southbound
from penstock.dialects.embeddings import EmbeddingsSouth, ollama_embeddings, openai_embeddings
from penstock.dialects.fim import fim_north
from penstock.dialects.openai import OpenAISouth
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.dialects.rerank import RerankSouth, rerank_north
from penstock.dialects.responses import ResponsesSouth, responses_north
from penstock.errors import BackendGarbled, RequestError
from wellformed import units

_OPENAI = SOUTHBOUND["lmstudio"]
assert isinstance(_OPENAI, OpenAISouth)

#: A client's language, a request in it, and a backend's language that answers it.
BESIDE: dict[str, tuple[Northbound, bytes, Southbound]] = {
    "embeddings": (openai_embeddings, b'{"model":"m","input":["a","b"]}', EmbeddingsSouth(_OPENAI)),
    "embeddings-base64": (
        openai_embeddings,
        b'{"model":"m","input":"a","encoding_format":"base64"}',
        EmbeddingsSouth(_OPENAI),
    ),
    "embeddings-ollama": (ollama_embeddings, b'{"model":"m","prompt":"a"}', EmbeddingsSouth(SOUTHBOUND["ollama"])),
    "rerank": (rerank_north, b'{"model":"m","query":"q","documents":["a","b"]}', RerankSouth(_OPENAI)),
    "fim": (fim_north, b'{"model":"m","prompt":"a","suffix":"b","stream":true}', SOUTHBOUND["llamacpp"]),
    "responses": (responses_north, LANGUAGES["responses"].asked({"stream": True}), ResponsesSouth(_OPENAI)),
}


def answer_beside(name: str) -> Target:
    """An answer to one such request, as one text or streamed."""
    north, asked, south = BESIDE[name]

    def target(data: bytes) -> None:
        form, data = data[:1] or b"\0", data[1:]
        _, cut = pieces(data)
        body = json.loads(asked)
        if "stream" in body:
            body["stream"] = form[0] < 128
        request = north.parse("chat", json.dumps(body).encode())
        manner = Manner(stream="never") if form[0] & 64 else Manner()
        media = ("text/event-stream", "application/json", "")[form[0] % 3]
        reader = south.reader(request, media, LIMITS, manner)
        tell(reader, north.writer(request, IDENTITY, passthrough=south.name == request.dialect), cut)

    return target


def request_beside(name: str) -> Target:
    """A client's body in one of these languages."""
    north, _, south = BESIDE[name]

    def target(data: bytes) -> None:
        try:
            request = north.parse("chat", data)
            call = south.encode(request, "m")
        except RequestError as error:
            refused(north, error)
            return
        assert call.path.isascii() and call.path.isprintable()
        jsontext.decode(call.body)

    return target


def unread(data: bytes) -> None:
    """A query, a content type and a body of which only the model is looked for."""
    query, _, rest = data.partition(b"\n")
    media, _, body = rest.partition(b"\n")
    try:
        found = opaque.asked("POST", "/v1/any", query.decode("latin-1"), body, media.decode("latin-1"), "", shape=SHAPE)
    except RequestError as error:
        refused(NORTHBOUND["openai"], error)
        return
    request = opaque.request_of(found, found.model)
    south = opaque.OpaqueSouth(_OPENAI, found)
    same, other = south.encode(request, found.model), south.encode(request, "other")
    assert (same.body, same.path.partition("?")[2]) == (body, found.query)
    for call in (same, other):
        assert call.path.isascii() and call.path.isprintable()
        assert all(value.isascii() for _, value in call.headers)
    if found.model_at is not None:
        start, end = found.model_at
        assert 0 <= start <= end <= len(body)


def lists(data: bytes) -> None:
    """What servers tell of their models and tokens, and the question after one model."""
    for read in (lmstudio_models.models, ollama_models.models, koboldcpp_pages.token_count):
        try:
            found = read(data)
        except BackendGarbled:
            continue
        if isinstance(found, list):
            units("application/json", lmstudio_models.listing(found))
            units("application/json", ollama_models.tags(found))
            units("application/json", ollama_models.ps(found, 1789000000.0))
            for model in found:
                units("application/json", ollama_models.show(model))
    try:
        assert ollama_models.show_request(data)
    except RequestError as error:
        refused(NORTHBOUND["ollama"], error)


TARGETS_BESIDE: dict[str, Target] = {
    **{f"answer-{name}": answer_beside(name) for name in BESIDE},
    **{f"request-{name}": request_beside(name) for name in ("embeddings", "embeddings-ollama", "rerank", "fim")},
    "unread": unread,
    "lists": lists,
}
