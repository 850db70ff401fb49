"""A daemon with backends of any name and kind, whose budgets are short."""

from __future__ import annotations

CONFIG = """
[server]
listen = ["127.0.0.1:0"]
log_format = "json"
drain = "1s"
[timeouts]
connect = "500ms"
first_token = "500ms"
silence = "500ms"
"""
BACKEND = """
[backends.{name}]
kind = "{kind}"
url = "{url}"
slots = {slots}
[routes."sim:id={name}-*"]
targets = ["{name}"]
"""


def backend(name: str, url: str, kind: str = "openai", slots: int = 100) -> str:
    return BACKEND.format(name=name, kind=kind, url=url, slots=slots)
