"""What a fuzzer feeds to the parsers, and what must hold whatever it is.

Each target takes bytes and raises only when penstock broke a promise: no other exception than the errors of the tree,
the same result however the bytes are cut, nothing kept beyond its limit, and well-formed bytes for the client.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from typing import Any

from targets_beside import TARGETS_BESIDE
from targets_wire import TARGETS_WIRE
from telling import IDENTITY, LIMITS, LINE, Target, pieces, refused, tell

from asking import LANGUAGES
from penstock.config.load import loads
from penstock.config.model import Config
from penstock.dialects import jsontext, ndjson, sse
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BackendGarbled, BadRequest, ConfigError, RequestError
from wellformed import units


def event_stream(data: bytes) -> None:
    """The decoder of server-sent events."""
    body, cut = pieces(data)
    assert _decoded([body]) == _decoded(cut)


def _decoded(parts: Sequence[bytes]) -> list[Any]:
    decoder = sse.Decoder(LINE)
    found: list[Any] = []
    try:
        for part in parts:
            found += decoder.receive(part)
            decoder.check()
        found += decoder.end()
    except BackendGarbled as error:
        found.append(error.message)
    for frame in found:
        if isinstance(frame, sse.Frame):
            assert len(frame.data) <= LINE
            assert b"\r" not in frame.data
            assert frame.raw is None or frame.raw == b"data: %b\n\n" % frame.data
    return found


def json_lines(data: bytes) -> None:
    """The cutter of lines."""
    body, cut = pieces(data)
    assert _lines([body]) == _lines(cut)


def _lines(parts: Sequence[bytes]) -> list[Any]:
    cutter = ndjson.Lines(LINE)
    found: list[Any] = []
    try:
        for part in parts:
            found += cutter.receive(part)
            cutter.check()
        found += cutter.end()
    except BackendGarbled as error:
        found.append(error.message)
    assert all(len(line) <= LINE + 1 and line.count(b"\n") == 1 for line in found if isinstance(line, bytes))
    return found


def answer_of(kind: str) -> Target:
    """Everything that a backend of this kind sends, told to a client of each language."""
    south = SOUTHBOUND[kind]

    def target(data: bytes) -> None:
        form, data = data[:1] or b"\0", data[1:]
        _, cut = pieces(data)
        media = ("text/event-stream", "application/x-ndjson", "application/json", "")[form[0] % 4]
        north = sorted(NORTHBOUND)[(form[0] >> 2) % len(NORTHBOUND)]
        stream = form[0] < 128
        operation = ("stream" if stream else "generate") if north == "koboldcpp" else "chat"
        request = NORTHBOUND[north].parse(operation, LANGUAGES[north].asked({"stream": stream}))
        reader = south.reader(request, media, LIMITS)
        writer = NORTHBOUND[north].writer(request, IDENTITY, passthrough=north == south.name)
        tell(reader, writer, cut)

    return target


def refusal_of(kind: str) -> Target:
    """An answer with an error status, a list of models."""
    south = SOUTHBOUND[kind]

    def target(data: bytes) -> None:
        status = 300 + data[0] if data else 500
        error = south.refusal(status, data[1:])
        for north in NORTHBOUND.values():
            units("application/json", north.error(error))
        try:
            models = south.models(data[1:])
        except BackendGarbled:
            return
        assert all(isinstance(model.name, str) for model in models)

    return target


def request_of(north: str) -> Target:
    """A client's body, for a backend of every kind."""
    dialect = NORTHBOUND[north]
    operations = {
        "koboldcpp": ("generate", "stream"),
        "openai": ("chat", "completion"),
        "ollama": ("chat", "completion"),
    }

    def target(data: bytes) -> None:
        for operation in operations.get(north, ("chat",)):
            try:
                request = dialect.parse(operation, data)
            except RequestError as error:
                refused(dialect, error)
                continue
            for south in SOUTHBOUND.values():
                try:
                    call = south.encode(request, "m")
                except BadRequest as error:
                    refused(dialect, error)
                    continue
                assert call.path.isascii() and call.path.isprintable()
                assert _plain(jsontext.decode(call.body))

    return target


def _plain(value: object) -> bool:
    """Whether a backend is told nothing that no JSON says."""
    match value:
        case float():
            return math.isfinite(value)
        case list():
            return all(map(_plain, value))
        case dict():
            return all(map(_plain, value.values()))
        case _:
            return True


def configuration(data: bytes) -> None:
    """A configuration file: read, or refused with places."""
    text = data.decode("utf-8", "replace")
    faults: list[str] = []
    try:
        config = loads(text, "f.toml")
    except ConfigError as error:
        faults = error.faults
        assert faults
    else:
        assert isinstance(config, Config)
    for fault in faults:
        name, line, column, _ = fault.split(":", 3)
        assert (name, int(line) > 0, int(column) > 0) == ("f.toml", True, True)
        assert "\n" not in fault and "\r" not in fault


#: One backend's language under several names is one parser.
_KINDS = {type(south).__name__: kind for kind, south in reversed(list(SOUTHBOUND.items()))}

TARGETS: dict[str, Target] = {
    "sse": event_stream,
    "ndjson": json_lines,
    **{f"answer-{kind}": answer_of(kind) for kind in sorted(_KINDS.values())},
    **{f"refusal-{kind}": refusal_of(kind) for kind in sorted(_KINDS.values())},
    **{f"request-{north}": request_of(north) for north in sorted(NORTHBOUND)},
    "toml": configuration,
    **TARGETS_BESIDE,
    **TARGETS_WIRE,
}
