"""Methods that lead nowhere although their path does."""

from __future__ import annotations

from quart import request

from penstock.errors import MethodNotAllowed

#: How much of a method or a path is repeated to whoever made it up.
SHOWN = 200


def not_so() -> MethodNotAllowed:
    """The refusal of the request at hand."""
    return MethodNotAllowed(f"{request.method[:SHOWN]} is not how {request.path[:SHOWN]} is asked")
