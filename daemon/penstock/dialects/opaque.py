"""What nobody here understands, passed on byte for byte, with the life cycle and the budgets of every other stream.

Only the model is looked for, since it decides which backend is asked, and changed where that has another name for it.
An answer is complete at the well-formed end of its body, as no other marker is known.
"""

from __future__ import annotations

import re
from collections.abc import Sequence
from urllib.parse import parse_qsl, urlencode

import msgspec

from penstock.chat.events import Event, Finish, FinishReason, Opaque
from penstock.chat.request import Operation, Request
from penstock.config.model import MANNER, SHAPE, Manner, Shape
from penstock.dialects import fields, jsontext, multipart, passthrough
from penstock.dialects.base import Call, Identity, Limits, Northbound, Reader, Southbound, Timing, Writer
from penstock.dialects.beside import Beside
from penstock.dialects.reader import AnswerReader
from penstock.errors import BackendRefused, BadRequest, PenstockError, UnknownPath

_PATH = re.compile(r"(?:/(?!\.{1,2}(?:/|$))[A-Za-z0-9._:@-]+)+")
_QUERY = re.compile(r"[!$-~]*")
#: Characters of a backend's Content-Type; what is longer or not printable is not repeated to the client.
LONGEST_TYPE = 200


class Asked(msgspec.Struct, frozen=True, kw_only=True):
    """A client's request as it came, and what of its head a backend may see."""

    method: str
    path: str
    query: str = ""
    body: bytes = b""
    content_type: str = ""
    accept: str = ""
    model: str = ""  #: empty where it names none
    #: where the model stands in a form, so that it can be changed there
    model_at: tuple[int, int] | None = None
    #: whether a model may be named where nobody has looked
    unread: bool = False
    #: what of the query stays behind
    dropped: tuple[str, ...] = ()


def asked(method: str, path: str, query: str, body: bytes, content_type: str, accept: str, *, shape: Shape) -> Asked:
    """Look at a request.  Raises UnknownPath, BadRequest."""
    if not _PATH.fullmatch(path) or not _QUERY.fullmatch(query):
        raise UnknownPath(f"nothing is at {path}")
    if not (content_type + accept).isascii():
        raise BadRequest("the headers Content-Type and Accept must be ASCII")
    said_in_query = parse_qsl(query, keep_blank_values=True)
    _refuse(passthrough.addresses(key for key, _ in said_in_query))
    named = [value for key, value in said_in_query if key == "model"]
    kind = content_type.partition(";")[0].strip().lower()
    span, unread = None, False
    if kind == "multipart/form-data":
        span = multipart.field(body, content_type, "model")
        if span is not None:
            named.append(body[slice(*span)].decode("utf-8", "replace"))
        unread = span is None
    elif kind == "application/octet-stream":
        unread = bool(body)
    elif body:
        said = jsontext.decode_request(body, shape=shape)
        _refuse(passthrough.allowed(said)[1])
        if model := fields.text(said, "model"):
            named.append(model)
    if len(set(named)) > 1:
        raise BadRequest(f"the request names several models: {', '.join(named)}", param="model")
    query, dropped = passthrough.query(query)
    return Asked(
        method=method,
        path=path,
        query=query,
        body=body,
        content_type=content_type,
        accept=accept,
        model=named[0] if named else "",
        model_at=span,
        unread=unread,
        dropped=tuple(dropped),
    )


def _refuse(names: list[str]) -> None:
    if names:
        raise BadRequest(f"'{names[0]}' is not passed on: the backend is the owner's to choose", names[0])


def request_of(found: Asked, model: str) -> Request:
    """The request as the relay knows it, for this model."""
    return Request(dialect="opaque", operation=Operation.OPAQUE, model=model, stream=True, body={})


class OpaqueNorth:
    """The client's side; errors are in the language of its path."""

    name = "opaque"

    def __init__(self, north: Northbound) -> None:
        self._north = north

    def parse(self, operation: str, body: bytes, *, shape: Shape = SHAPE) -> Request:
        """Only :func:`asked` can look at what is not a body alone."""
        raise UnknownPath(f"nothing is known of {operation}")

    def writer(self, request: Request, identity: Identity, *, passthrough: bool) -> Writer:
        """The writer of one answer."""
        return OpaqueWriter()

    def error(self, error: PenstockError) -> bytes:
        """A backend's own words where it has some, as they came."""
        if isinstance(error, BackendRefused) and error.body is not None:
            return error.body
        return self._north.error(error)


class OpaqueSouth(Beside):
    """The backend's side of one request."""

    def __init__(self, south: Southbound, found: Asked) -> None:
        super().__init__(south)
        self._asked = found

    def encode(self, request: Request, model: str, manner: Manner = MANNER) -> Call:
        """The request as it came, but for the model where the target has another.  Raises BadRequest."""
        found = self._asked
        if not manner.passthrough:
            raise BadRequest(f"nothing is passed on unread to this model's backend, and {found.path} is")
        path = found.path.removeprefix("/v1") if self.root else found.path
        renamed = found.model not in ("", model)
        query = self._query(model) if renamed else found.query
        return Call(
            method=found.method,
            path=f"{path}?{query}" if query else path,
            body=self._body(model) if renamed else found.body,
            headers=tuple((n, v) for n, v in (("Content-Type", found.content_type), ("Accept", found.accept)) if v),
            dropped=found.dropped,
        )

    def _query(self, model: str) -> str:
        said = parse_qsl(self._asked.query, keep_blank_values=True)
        return urlencode([(key, model if key == "model" else value) for key, value in said])

    def _body(self, model: str) -> bytes:
        found = self._asked
        if found.unread or not found.body:
            return found.body
        if found.model_at is not None:
            start, end = found.model_at
            return found.body[:start] + model.encode() + found.body[end:]
        said = jsontext.decode(found.body)
        assert isinstance(said, dict)
        return jsontext.encode({**said, "model": model}) if "model" in said else found.body

    def reader(self, request: Request, content_type: str, limits: Limits, manner: Manner = MANNER) -> Reader:
        """The reader of one answer."""
        return OpaqueReader(content_type, limits)

    def refusal(self, status: int, body: bytes) -> BackendRefused:
        """The error, with its own body where that is JSON and its status is one that the client may see."""
        error = super().refusal(status, body)
        if error.status == status:
            try:
                jsontext.decode(body)
            except ValueError:
                return error
            error.body = body
        return error


class OpaqueReader(AnswerReader):
    """See :class:`penstock.dialects.base.Reader`."""

    def __init__(self, content_type: str, limits: Limits) -> None:
        super().__init__(limits)
        plain = content_type.isascii() and content_type.isprintable() and len(content_type) <= LONGEST_TYPE
        self._content_type = content_type if plain and content_type else "application/octet-stream"

    def _read(self, data: bytes, events: list[Event]) -> None:
        if data:
            events.append(Opaque(data, self._content_type))

    def _rest(self, events: list[Event]) -> None:
        self.complete = True
        events.append(Finish(FinishReason.STOP))


class OpaqueWriter:
    """See :class:`penstock.dialects.base.Writer`.  There is no heartbeat: any byte would be one of the answer."""

    streaming = True
    clean_failure = False

    def __init__(self) -> None:
        self.content_type = "application/octet-stream"

    def write(self, events: Sequence[Event]) -> bytes:
        """The bytes as they came."""
        pieces: list[bytes] = []
        for event in events:
            if isinstance(event, Opaque):
                self.content_type = event.content_type
                pieces.append(event.raw)
        return b"".join(pieces)

    def heartbeat(self) -> bytes:
        """Nothing."""
        return b""

    def end(self, timing: Timing) -> bytes:
        """Nothing: what came was all."""
        return b""

    def fail(self, error: PenstockError) -> bytes:
        """Nothing: the body is cut."""
        return b""
