"""Methods that lead nowhere although their path does."""

from __future__ import annotations

from quart import request

from penstock.errors import MethodNotAllowed


def not_so() -> MethodNotAllowed:
    """The refusal of the request at hand."""
    return MethodNotAllowed(f"{request.method} is not how {request.path} is asked")
