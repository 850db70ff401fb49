"""How many messages, tools and images one request may hold: few bytes can stand for much work at a backend."""

from __future__ import annotations

from penstock.chat.request import Request
from penstock.config.model import Shape
from penstock.errors import BadRequest

#: Characters of a model's name.  It is repeated in headers, in the log and in errors.
LONGEST_NAME = 1024


def check(request: Request, shape: Shape) -> None:
    """Raises BadRequest, which names the limit."""
    if len(request.model) > LONGEST_NAME:
        raise BadRequest(f"'model' is longer than {LONGEST_NAME} characters", param="model")
    images = [*request.images, *(image for message in request.messages for image in message.images)]
    if any("," in (image.data or "") for image in images):
        raise BadRequest("an image holds several, which nobody has counted: send each by itself", param="images")
    for what, number, most in (
        ("messages", len(request.messages), shape.messages),
        ("tools", len(request.tools), shape.tools),
        ("images", len(images), shape.images),
    ):
        if number > most:
            raise BadRequest(f"the request has {number} {what}, more than limits.{what} allows ({most})", param=what)
