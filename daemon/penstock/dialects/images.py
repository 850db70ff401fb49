"""Images as dialects write them: data URIs, other URLs, and base64 whose media type nobody tells."""

from __future__ import annotations

from penstock.chat.request import Image
from penstock.dialects.fields import refuse
from penstock.errors import BadRequest

_MAGIC = {"iVBOR": "image/png", "/9j/": "image/jpeg", "R0lGOD": "image/gif", "UklGR": "image/webp"}


def of_url(link: str, where: str, detail: str | None = None) -> Image:
    """A data URI or an http(s) URL -> the image.  Raises BadRequest, which names ``where``."""
    scheme, _, rest = link.partition(":")
    match scheme.lower():
        case "http" | "https":
            return Image(url=link, detail=detail)
        case "data":
            head, comma, data = rest.partition(",")
            if not comma or not head.endswith(";base64"):
                refuse(where, "a data URI in base64", link)
            return Image(data=data, media_type=head.removesuffix(";base64") or None, detail=detail)
        case _:
            return refuse(where, "a data URI or an http(s) URL", link)


def refuse_frames(value: object, where: str) -> None:
    """Raise BadRequest for a data URI of many frames with commas between them, as vLLM takes videos (CVE-2026-5497)."""
    link = value.get("url") if isinstance(value, dict) else value
    if isinstance(link, str) and link[:5].lower() == "data:" and link.count(",") > 1:
        raise BadRequest(f"'{where}' holds many frames in one URL, which nobody has counted: send images", param=where)


def media_type(image: Image) -> str:
    """What was said, else what the first bytes tell."""
    data = image.data or ""
    found = next((kind for magic, kind in _MAGIC.items() if data.startswith(magic)), "image/jpeg")
    return image.media_type or found
