"""One token through the whole lane: a client's request to a daemon, as an editor would send it.

A daemon that runs is asked by the names of its own routes; where none runs, one of our own is started for it.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence

import msgspec
import trio

from penstock.chat.events import Failed, Finish, Text, Thinking, ToolDelta
from penstock.chat.models import Model
from penstock.config.model import Config, Server
from penstock.dialects.base import Limits
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BackendRefused, BackendTruncated, FirstTokenTimeout, UnknownModel
from penstock.policy.routing import Router, spelled_out
from penstock.service.door import Door


class Token(msgspec.Struct, frozen=True):
    """That it came, and from where."""

    after: float  #: seconds from the request to the first token
    target: str  #: BACKEND/MODEL


async def one_token(door: Door, model: str, patience: float) -> Token:
    """Ask for a chat of one token.  Raises PenstockError: what the daemon said, or FirstTokenTimeout."""
    south = SOUTHBOUND["openai"]
    body = json.dumps(
        {"model": model, "messages": [{"role": "user", "content": "Hi"}], "max_tokens": 1, "stream": True}
    ).encode()
    request = NORTHBOUND["openai"].parse("chat", body)
    begun = trio.current_time()
    with trio.move_on_after(patience):
        exchange = await door.open("POST", "/v1/chat/completions", body)
        try:
            response = await exchange.head()
            if response.status_code != 200:
                # the daemon's own words, which come in one piece
                raise south.refusal(response.status_code, await exchange.receive())
            reader = south.reader(request, response.headers.get("content-type", ""), Limits())
            while data := await exchange.receive():
                for event in reader.receive(data):
                    if isinstance(event, Failed):
                        raise BackendRefused(event.message)
                    if isinstance(event, Text | Thinking | ToolDelta | Finish):
                        target = response.headers.get("x-penstock-target", "")
                        return Token(trio.current_time() - begun, target)
            raise BackendTruncated("the answer ended before its first token")
        finally:
            exchange.close()
    raise FirstTokenTimeout(f"no token within {patience:g} s")


def names_of(config: Config, models: Mapping[str, Sequence[Model]]) -> dict[str, str]:
    """Backend -> a model name by which a client gets there; a backend to which no route leads is missing."""
    router = Router(config)
    known = {backend: {model.name for model in offered} for backend, offered in models.items()}
    found: dict[str, str] = {}
    for backend, offered in models.items():
        mute = {model.name for model in offered if not can_chat(model)}
        for name in [*spelled_out(router.routes), *(model.name for model in offered)]:
            try:
                target = router.targets(name, known)[0]
            except UnknownModel:
                continue
            if target.backend == backend and target.model not in mute:
                found[backend] = name
                break
    return found


def can_chat(model: Model) -> bool:
    """Whether it is a model for text; embedding models tell so by a capability, or by their name."""
    if model.capabilities is not None:
        return "completion" in model.capabilities
    return "embed" not in model.name


def lane_config(config: Config, locked: Collection[str]) -> Config:
    """The same backends and routes behind a port of our own; without the keys that cannot be read from here."""
    return msgspec.structs.replace(
        config,
        server=Server(listen=("127.0.0.1:0",)),
        keys=(),
        backends={
            name: msgspec.structs.replace(spec, api_key=None) if name in locked else spec
            for name, spec in config.backends.items()
        },
    )
