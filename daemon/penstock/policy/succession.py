"""Which backend of a new configuration is the same server as one of the old.

A server does not get more slots because its proxy read a file anew: what is known of a server, and who uses it, goes
from one configuration to the next.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import urlsplit

from penstock.config.model import Backend


def heirs(old: Mapping[str, Backend], new: Mapping[str, Backend]) -> dict[str, str]:
    """New name -> old name: the same name at the same host and port, else one there whose name is gone."""
    found = {name: name for name in new if name in old and _place(old[name]) == _place(new[name])}
    gone = {_place(backend): name for name, backend in old.items() if name not in new}
    for name, backend in new.items():
        if name not in found and (earlier := gone.pop(_place(backend), None)) is not None:
            found[name] = earlier
    return found


def _place(backend: Backend) -> tuple[str, str]:
    parts = urlsplit(backend.url)
    return parts.scheme, parts.netloc
