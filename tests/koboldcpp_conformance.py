"""What every KoboldCpp client may rely on, as one check of a streamed body.

Independent of penstock's own codecs: KoboldCpp's own page reads events by name, takes the token of each, and stops at
the first finish reason.
"""

from __future__ import annotations

import json
import re
from typing import Any

_FINISHES = {"stop", "length", "error"}
_COMMENT = re.compile(r": [a-z-]+")


def check_koboldcpp_stream(body: bytes) -> list[dict[str, Any]]:
    """Assert that a whole body breaks no client; its frames, decoded."""
    text = body.decode()
    assert "\r" not in text
    assert text.endswith("\n\n"), "cut in the middle of a frame"
    frames = [_frame(frame) for frame in text.removesuffix("\n\n").split("\n\n")]
    for frame in frames:
        assert isinstance(frame["token"], str)
        assert (frame["finish_reason"] is None) is (frame is not frames[-1]), "one finish reason, in the last frame"
    last = frames[-1]
    assert last["finish_reason"] in _FINISHES
    assert ("error" in last) is (last["finish_reason"] == "error")
    return frames


def _frame(text: str) -> dict[str, Any]:
    lines = text.split("\n")
    while lines[0].startswith(":"):
        assert _COMMENT.fullmatch(lines.pop(0))
    name, data = lines
    assert name == "event: message" and data.startswith("data: ")
    frame: dict[str, Any] = json.loads(data[6:])
    return frame
