"""What the mock backend is to do for one request.

It travels in the model's name, the one part of a request that every proxy hands on.
"""

from __future__ import annotations

import re
from dataclasses import astuple, dataclass
from enum import IntEnum

_NAME = re.compile(rb"bench-r(\d+)-n(\d+)-m(\d+)-e(\d)-i(\d+)")


class After(IntEnum):
    """What follows the last frame."""

    END = 0  #: finish reason, terminal marker, end of the body
    HOLD = 1  #: silence, for as long as the client stays
    MUTE = 2  #: not even a first byte


@dataclass(frozen=True, slots=True)
class Plan:
    """One answer: so many frames, or frames for so long, at this pace."""

    rate: int = 0  #: frames a second; 0: as fast as they are taken
    frames: int = 0
    millis: int = 0  #: go on for this long instead of counting frames
    after: After = After.END
    id: int = 0  #: names the stream in the mock's report of closed connections, and tells it from those beside it

    def model(self) -> str:
        return "bench-r{}-n{}-m{}-e{:d}-i{}".format(*astuple(self))

    @classmethod
    def find(cls, body: bytes) -> Plan | None:
        """The plan that a request's body carries."""
        found = _NAME.search(body)
        if found is None:
            return None
        rate, frames, millis, after, ident = map(int, found.groups())
        return cls(rate, frames, millis, After(after), ident)
