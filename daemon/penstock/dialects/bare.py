"""What a prompt without a chat around it carries, in the languages that have names of their own for it."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.chat.request import Request, Sampling

#: Names that most of them share -> the field of :class:`Sampling`.
COMMON = {
    "temperature": "temperature",
    "top_p": "top_p",
    "top_k": "top_k",
    "min_p": "min_p",
    "seed": "seed",
    "stop": "stop",
    "presence_penalty": "presence_penalty",
    "frequency_penalty": "frequency_penalty",
    "repeat_penalty": "repeat_penalty",
}


def sampled(sampling: Sampling, names: Mapping[str, str]) -> dict[str, object]:
    """What was asked for, under these names."""
    said = {name: getattr(sampling, field) for name, field in names.items()}
    return {name: value for name, value in said.items() if value is not None and value != ()}


def lost(request: Request, *carried: str) -> list[str]:
    """What was asked for and has no place beside a bare prompt, but for what is ``carried``."""
    asked = {
        "system": request.system,
        "images": request.images,
        "format": request.response_format,
        "think": request.effort,
        "logprobs": request.logprobs,
        "keep_alive": request.keep_alive,
    }
    return [name for name, value in asked.items() if value and name not in carried]
