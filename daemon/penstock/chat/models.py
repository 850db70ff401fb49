"""A model that a backend offers, as lists and ``show`` answers tell it."""

from __future__ import annotations

from collections.abc import Mapping

import msgspec


class Model(msgspec.Struct, frozen=True, kw_only=True):
    """One model; every field but the name may be unknown (None)."""

    name: str
    created: int | None = None  #: seconds since 1970
    owner: str | None = None
    size: int | None = None  #: bytes
    digest: str | None = None
    family: str | None = None
    parameter_size: str | None = None  #: "7.6B"
    quantization: str | None = None
    format: str | None = None  #: "gguf"
    context_length: int | None = None
    capabilities: tuple[str, ...] | None = None
    #: the backend's own entry of the same dialect, re-emitted when it is complete
    entry: Mapping[str, object] | None = None
