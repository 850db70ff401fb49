"""journald's part: takes datagrams apart as the protocol says (systemd, JOURNAL_NATIVE_PROTOCOL)."""

from __future__ import annotations

import struct


def parsed(entry: bytes, errors: str = "strict") -> dict[str, str]:
    """An entry's fields; ``errors`` says what becomes of values that are no UTF-8."""
    fields: dict[str, str] = {}
    while entry:
        line, _, entry = entry.partition(b"\n")
        name, equals, value = line.partition(b"=")
        if not equals:
            (size,) = struct.unpack("<Q", entry[:8])
            value, end, entry = entry[8 : 8 + size], entry[8 + size : 9 + size], entry[9 + size :]
            assert end == b"\n"
        assert name.decode() not in fields, f"{name!r} stands there twice"
        fields[name.decode()] = value.decode(errors=errors)
    return fields
