"""Durations and sizes as people write them: text to seconds and bytes, and back.

Every value written here reads back as the same number.
"""

from __future__ import annotations

import math
import re
from decimal import Decimal

from penstock.config.faults import quoted

_SECONDS = {"h": Decimal(3600), "m": Decimal(60), "s": Decimal(1), "ms": Decimal("0.001")}
_BYTES = {"GiB": 1 << 30, "MiB": 1 << 20, "KiB": 1 << 10, "B": 1}

#: Matches the empty text too, which is no duration.
DURATION = re.compile("".join(rf"(?:(?P<{unit}>[0-9]+(?:\.[0-9]+)?){unit})?" for unit in _SECONDS))
SIZE = re.compile(rf"(?P<number>[0-9]{{1,18}})(?P<unit>{'|'.join(_BYTES)})")


def parse_duration(text: str) -> float:
    """``"1h30m"`` -> 5400.0 seconds.  Raises ValueError with a sentence for people."""
    match = DURATION.fullmatch(text)
    if not text or match is None:
        raise ValueError(f'{quoted(text)} is no duration; write "250ms", "90s", "5m", "1h30m" or a number of seconds')
    parts = match.groupdict(default="0")
    seconds = float(sum(Decimal(parts[unit]) * scale for unit, scale in _SECONDS.items()))
    if not math.isfinite(seconds):
        raise ValueError("is too long for a duration")
    return seconds


def format_duration(seconds: float) -> str:
    """90.0 -> ``"90s"``, 300.0 -> ``"5m"``, 0.25 -> ``"250ms"``: the largest unit that leaves a whole number."""
    exact = Decimal(repr(seconds))
    if exact:
        for unit, scale in _SECONDS.items():
            if exact % scale == 0:
                return f"{exact / scale:.0f}{unit}"
    return f"{exact.normalize():f}s"


def parse_size(text: str) -> int:
    """``"64KiB"`` -> 65536 bytes.  Raises ValueError with a sentence for people."""
    match = SIZE.fullmatch(text)
    if match is None:
        # KB means 1000 to some and 1024 to others.
        meant = re.fullmatch(r"([0-9]+) ?([kKmMgG])i?[bB]?", text)
        known = 'write "64KiB", "16MiB" or a number of bytes'
        hint = f'did you mean "{meant[1]}{meant[2].upper()}iB"?' if meant else known
        raise ValueError(f"{quoted(text)} is no size; {hint}")
    return int(match["number"]) * _BYTES[match["unit"]]


def format_size(size: int) -> str:
    """65536 -> ``"64KiB"``, 1000 -> ``"1000B"``: the largest unit that leaves a whole number."""
    unit = next(unit for unit, scale in _BYTES.items() if size % scale == 0) if size else "B"
    return f"{size // _BYTES[unit]}{unit}"
