"""All dialects by name: the one place where a new one is listed."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.dialects.base import Northbound, Southbound
from penstock.dialects.ollama import ollama_north, ollama_south
from penstock.dialects.openai import llamacpp_south, openai_north, openai_south

#: What clients speak.
NORTHBOUND: Mapping[str, Northbound] = {"openai": openai_north, "ollama": ollama_north}

#: What backends speak, by ``kind`` in the configuration.
SOUTHBOUND: Mapping[str, Southbound] = {
    "openai": openai_south,
    "llamacpp": llamacpp_south,
    "ollama": ollama_south,
    "simulate": openai_south,
}
