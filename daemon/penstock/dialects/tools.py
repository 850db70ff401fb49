"""A function that the model may call, as clients' languages declare it: they differ in the name of its schema only."""

from __future__ import annotations

from collections.abc import Mapping

from penstock.chat.request import Tool
from penstock.dialects import fields


def function_tool(item: Mapping[str, object], where: str, *, schema: str = "parameters") -> Tool:
    """The object that names the function -> the tool; ``schema`` is its JSON Schema's field.  Raises BadRequest."""
    return Tool(
        name=fields.required(item, "name", where),
        description=fields.text(item, "description", where=where),
        parameters=fields.mapping(item, schema, where=where),
        strict=fields.boolean(item, "strict", where=where),
    )
