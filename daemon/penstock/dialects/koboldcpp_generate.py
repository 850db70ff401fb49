"""KoboldCpp's generate requests, both ways: a client's body -> the request, the request -> a backend's call.

Names and defaults are those of koboldcpp.py, where the stream's path is ``/api/extra/generate/stream``.
"""

from __future__ import annotations

from penstock.chat.request import Image, Operation, Request, Sampling
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import bare, fields, jsontext, passthrough
from penstock.dialects.base import Call
from penstock.dialects.fields import Object
from penstock.errors import BadRequest

STREAM_PATH = "/api/extra/generate/stream"
WHOLE_PATH = "/api/v1/generate"

#: Tokens of an answer whose length nobody gave (``--defaultgenamt``).
DEFAULT_LENGTH = 896

#: KoboldCpp's name -> the field of :class:`Sampling`.
_NAMES = {
    "max_length": "max_tokens",
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "rep_pen": "repeat_penalty",
    "presence_penalty": "presence_penalty",
    "sampler_seed": "seed",
    "stop_sequence": "stop",
}
_KNOWN = frozenset({*_NAMES, "model", "genkey", "prompt", "memory", "images", "quiet"})


def parse(data: bytes, *, stream: bool, shape: Shape = SHAPE) -> Request:
    """The body of a generate request -> the request; ``model`` is empty where the body names none, as most do."""
    body = jsontext.decode_request(data, shape=shape)
    prompt = fields.text(body, "prompt")
    if prompt is None:
        raise BadRequest("'prompt' is missing: say what shall be continued", param="prompt")
    fields.text(body, "genkey")
    return Request(
        dialect="koboldcpp",
        operation=Operation.COMPLETION,
        model=fields.text(body, "model") or "",
        stream=stream,
        body=body,
        # Memory is what stays in front of a prompt that is cut from the left.
        prompt=(fields.text(body, "memory") or "") + prompt,
        images=_images(body),
        sampling=_sampling(body),
        include_usage=True,
        unmapped=tuple(key for key, value in body.items() if value is not None and key not in _KNOWN),
    )


def key_of(request: Request) -> str:
    """The client's own name of its generation; empty when it gave none."""
    genkey = request.body.get("genkey")
    return genkey if isinstance(genkey, str) else ""


def encode(request: Request, genkey: str, manner: Manner = MANNER) -> Call:
    """The request -> a generation under this ``genkey``.  Raises BadRequest for what cannot be left out."""
    if request.suffix:
        raise BadRequest("KoboldCpp cannot fill in the middle: send the prompt with the model's own marks", "suffix")
    if request.dialect == "koboldcpp" and manner.passthrough:
        body, dropped = passthrough.allowed(request.body)
        body.pop("model", None)
    else:
        body, dropped = _anew(request)
    body["genkey"] = genkey
    return Call(path=WHOLE_PATH if manner.whole else STREAM_PATH, body=jsontext.encode(body), dropped=tuple(dropped))


def _anew(request: Request) -> tuple[dict[str, object], list[str]]:
    body: dict[str, object] = {"prompt": request.prompt} | bare.sampled(request.sampling, _NAMES)
    dropped = list(request.unmapped)
    if images := [image.data for image in request.images]:
        if None in images:
            raise BadRequest("KoboldCpp takes images in base64 only; send the image as a data: URL", "images")
        body["images"] = images
    if request.sampling.frequency_penalty:
        dropped.append("frequency_penalty")
    return body, [*dropped, *bare.lost(request, "images")]


def _images(body: Object) -> tuple[Image, ...]:
    return tuple(Image(data=data) for data in fields.strings(body, "images"))


def _sampling(body: Object) -> Sampling:
    length = fields.integer(body, "max_length", low=-fields.MOST, high=fields.MOST) or 0
    seed = fields.integer(body, "sampler_seed")
    fields.integer(body, "max_context_length", low=1, high=fields.MOST)
    return Sampling(
        max_tokens=length if length > 0 else DEFAULT_LENGTH,
        temperature=fields.number(body, "temperature", low=0, high=fields.HOTTEST),
        top_p=fields.number(body, "top_p", low=0, high=1),
        top_k=fields.integer(body, "top_k", low=-1, high=fields.MOST),
        min_p=fields.number(body, "min_p", low=0, high=1),
        # Below zero: a seed by chance.
        seed=None if seed is None or seed < 0 else seed,
        stop=fields.strings(body, "stop_sequence"),
        presence_penalty=fields.number(body, "presence_penalty", low=-2, high=2),
        repeat_penalty=fields.number(body, "rep_pen", low=0, high=100),
    )
