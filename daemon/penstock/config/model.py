"""The configuration as frozen data: the only place with defaults and with what each key means.

Every field's text is its documentation: ``etc/penstock.toml``, docs/configuration.md and the loader's messages are
checked against or made from it.  Durations are seconds, sizes are bytes here; the file says "90s" and "16MiB".
The ``form`` of a type names the grammar that the loader reads it by (:mod:`penstock.config.reader`).
"""

from __future__ import annotations

from typing import Annotated, Literal, get_args

import msgspec
from msgspec import UNSET, Meta, UnsetType

from penstock.config.secrets import Reference

#: A time span: "250ms", "90s", "5m", "1h30m", or a number of seconds.
Duration = Annotated[float, Meta(extra={"form": "duration"})]
#: A number of bytes: "64KiB", "16MiB", or a plain number.
Size = Annotated[int, Meta(extra={"form": "size"})]
#: A time span that may not be zero.
Budget = Annotated[Duration, Meta(gt=0)]
#: A size that leaves room for the smallest real message.
Room = Annotated[Size, Meta(ge=1024)]

ListenAddress = Annotated[str, Meta(extra={"form": "listen"})]
HostName = Annotated[str, Meta(extra={"form": "host"})]
Origin = Annotated[str, Meta(extra={"form": "origin"})]
BackendUrl = Annotated[str, Meta(extra={"form": "url"})]
TargetText = Annotated[str, Meta(extra={"form": "target"})]
BackendName = Annotated[str, Meta(extra={"form": "backend"})]
RouteName = Annotated[str, Meta(extra={"form": "route"})]
KeyName = Annotated[str, Meta(extra={"form": "client"})]

BackendKind = Literal["ollama", "openai", "llamacpp", "lmstudio", "vllm", "koboldcpp", "anthropic", "simulate"]
RouteClass = Literal["chat", "autocomplete", "agent", "background"]
CLASSES: tuple[RouteClass, ...] = get_args(RouteClass)


def doc(text: str) -> Meta:
    """One line for people."""
    return Meta(description=text)


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """Where penstock listens and how it talks to its clients."""

    listen: Annotated[
        tuple[ListenAddress, ...],
        doc('addresses to listen on: "HOST:PORT", "[::1]:PORT" or "unix:/path/to/socket"; a change takes a restart'),
        Meta(min_length=1),
    ] = ("127.0.0.1:11435",)
    allowed_hosts: Annotated[
        tuple[HostName, ...], doc('further names by which clients call penstock: "NAME" or "NAME:PORT"')
    ] = ()
    allowed_origins: Annotated[
        tuple[Origin, ...], doc('web pages that may use penstock: "http://HOST:PORT", or "SCHEME://*" for extensions')
    ] = ()
    heartbeat: Annotated[Budget, doc("a sign of life to the client after this long without a byte")] = 5.0
    grace: Annotated[
        Duration,
        doc("how long a failure keeps its real HTTP status; after it the answer has begun and errors go in-band"),
        Meta(ge=0),
    ] = 2.0
    drain: Annotated[Duration, doc("how long running streams may go on after SIGTERM"), Meta(ge=0)] = 10.0
    log_level: Annotated[Literal["debug", "info", "warning", "error"], doc("what is logged")] = "info"
    log_format: Annotated[Literal["console", "json"], doc("how it is logged")] = "console"
    log_content: Annotated[bool, doc("whether prompts and answers are logged, for everybody who reads the log")] = False


#: What is said wherever an owner looks while prompts and answers are logged.
LOGS_CONTENT = "prompts and answers are logged: server.log_content is true"


class Timeouts(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The budgets of a stream.  Each may be set for the server, a backend and a route; docs/timeouts.md."""

    queue: Annotated[Budget, doc("waiting for a slot")] = 60.0
    connect: Annotated[Budget, doc("connecting to the backend, TLS included")] = 5.0
    first_token: Annotated[Budget, doc("from connected to the first token; prefill progress resets it")] = 300.0
    silence: Annotated[Budget, doc("between tokens; pings and comments do not reset it")] = 60.0
    #: None: the file says "off"
    liveness: Annotated[
        Budget | None, doc("between any two bytes of the backend, pings included, once the first came")
    ] = None
    write: Annotated[Budget, doc("the client accepts no byte of what waits for it")] = 30.0
    total: Annotated[Budget, doc("the whole stream, from the request read to the last byte")] = 1800.0


class TimeoutOverrides(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a backend or a route sets differently; a key left out (UNSET) keeps the wider setting."""

    queue: Annotated[Budget | UnsetType, doc("waiting for a slot")] = UNSET
    connect: Annotated[Budget | UnsetType, doc("connecting to the backend, TLS included")] = UNSET
    first_token: Annotated[Budget | UnsetType, doc("from connected to the first token")] = UNSET
    silence: Annotated[Budget | UnsetType, doc("between tokens")] = UNSET
    #: None: the file says "off"
    liveness: Annotated[Budget | UnsetType | None, doc("between any two bytes of the backend")] = UNSET
    write: Annotated[Budget | UnsetType, doc("the client accepts no byte")] = UNSET
    total: Annotated[Budget | UnsetType, doc("the whole stream")] = UNSET


class Shape(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much the JSON of one request may hold, however few bytes it takes."""

    depth: Annotated[int, doc("how deep the JSON of a request may nest"), Meta(ge=8, le=512)] = 64
    values: Annotated[int, doc("values in the JSON of a request"), Meta(ge=1000)] = 250_000
    items: Annotated[int, doc("entries in one list or object of a request"), Meta(ge=100)] = 100_000
    text: Annotated[Room, doc("one text in a request, an image in base64 among them")] = 16777216
    messages: Annotated[int, doc("messages of one request"), Meta(ge=1)] = 10_000
    tools: Annotated[int, doc("tools of one request"), Meta(ge=0)] = 1024
    images: Annotated[int, doc("images of one request"), Meta(ge=0)] = 256


#: The defaults.
SHAPE = Shape()


class Limits(Shape, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How much of everything; nothing in penstock grows without one of these."""

    connections: Annotated[
        int, doc("client connections at a time; a further one is answered 503 and closed"), Meta(ge=1)
    ] = 512
    peer_connections: Annotated[
        int, doc("the same of one peer: an address, or a user at a unix socket"), Meta(ge=1)
    ] = 384
    streams: Annotated[
        int, doc("streams at a time, those that wait among them; a further one is answered 429"), Meta(ge=1)
    ] = 512
    queue: Annotated[int, doc("streams that may wait for a slot of one backend"), Meta(ge=0)] = 64
    headers: Annotated[Room, doc("the head of a request")] = 65536
    header_count: Annotated[int, doc("header lines of a request"), Meta(ge=16)] = 200
    url: Annotated[Size, doc("the target of a request: its path and query"), Meta(ge=256)] = 8192
    header_time: Annotated[
        Budget, doc("the head of a request must be here; also how long an idle connection stays")
    ] = 30.0
    body: Annotated[Room, doc("the body of a request (images in base64 are large)")] = 33554432
    bodies: Annotated[
        Room, doc("bodies of all requests at a time, each until its answer is over; a further one is answered 503")
    ] = 268435456
    body_time: Annotated[Budget, doc("the body of a request must be here")] = 60.0
    body_rate: Annotated[
        Size, doc("bytes that a body must bring in each second, on average and after the first five"), Meta(ge=1)
    ] = 512
    chats: Annotated[int, doc("chats at a time on one WebSocket"), Meta(ge=1)] = 16
    conversation: Annotated[
        Size, doc("what a WebSocket remembers of a conversation in plain text; the oldest turns go first"), Meta(ge=0)
    ] = 65536
    fragments: Annotated[int, doc("frames of one WebSocket message, which is no larger than body"), Meta(ge=1)] = 1024
    pings: Annotated[int, doc("pings and other control frames from one WebSocket in a second"), Meta(ge=2)] = 50
    pong_time: Annotated[Budget, doc("a WebSocket's client must give a sign of life when it is pinged")] = 30.0
    websocket_idle: Annotated[
        Budget, doc("a WebSocket on which no chat runs and nothing is asked is closed after this long")
    ] = 3600.0
    line: Annotated[Room, doc("one SSE event or NDJSON line of a backend")] = 8388608
    answer: Annotated[Room, doc("the whole answer of a backend")] = 67108864
    idle_connections: Annotated[int, doc("unused connections kept open per backend"), Meta(ge=0)] = 4


class Manner(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """How one server is to be asked, beside its kind."""

    stream: Annotated[
        Literal["auto", "never"],
        doc('"never": it is asked for whole answers; clients get a stream all the same, in pieces'),
    ] = "auto"
    piece: Annotated[int, doc("characters in each piece of a whole answer"), Meta(ge=1)] = 80
    passthrough: Annotated[
        bool, doc("whether fields that penstock does not know reach it from clients of its own language")
    ] = True
    responses: Annotated[
        Literal["auto", "native", "translated"],
        doc("how it answers the Responses API: by its own, or by chats; auto goes by its kind"),
    ] = "auto"
    reasoning: Annotated[
        Literal["auto", "none", "reasoning", "reasoning_content"],
        doc("the field by which it is told the reasoning of earlier turns"),
    ] = "auto"
    system_role: Annotated[
        Literal["auto", "system", "developer"], doc("the role of system prompts; auto leaves it to kind and client")
    ] = "auto"
    length: Annotated[
        Literal["auto", "max_tokens", "max_completion_tokens"],
        doc("the field of a chat's longest answer; auto: as a client of its language says it, max_tokens for others"),
    ] = "auto"
    usage: Annotated[bool, doc("whether it is asked for counts at the end of a stream (stream_options)")] = True
    fim: Annotated[
        Literal["auto", "none", "suffix", "fim"],
        doc("how it fills in the middle: not at all, by completions with a suffix, or by fim/completions"),
    ] = "auto"

    @property
    def whole(self) -> bool:
        """Whether it is asked for whole answers."""
        return self.stream == "never"


#: The defaults.
MANNER = Manner()
#: Kinds of servers whose language OpenAI's is, and the keys that mean something for them alone.
SPEAK_OPENAI = frozenset({"openai", "llamacpp", "lmstudio", "vllm", "simulate"})
OPENAI_ONLY = ("responses", "reasoning", "system_role", "length", "usage", "fim")


class Backend(Manner, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One server that runs models."""

    kind: Annotated[BackendKind, doc("the language it speaks")]
    url: Annotated[BackendUrl, doc('where it is, for example "http://127.0.0.1:11434"')]
    api_key: Annotated[
        Reference | None,
        doc('its key: "credential:NAME", "file:/path", "env:NAME", or the key itself'),
        Meta(extra={"form": "secret"}),
    ] = None
    slots: Annotated[int, doc("streams at a time; the rest queue"), Meta(ge=1)] = 1
    manage: Annotated[bool, doc("whether clients may pull, push, create, copy and delete its models (Ollama)")] = False
    timeouts: Annotated[TimeoutOverrides, doc("budgets of this backend")] = TimeoutOverrides()


class Route(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """What a model name means.  A plain list is short for ``targets``."""

    targets: Annotated[
        tuple[TargetText, ...],
        doc('"BACKEND" (same model name) or "BACKEND/MODEL", tried in this order'),
        Meta(min_length=1),
    ]
    class_: Annotated[RouteClass, doc("what the streams are for")] = msgspec.field(default="chat", name="class")
    timeouts: Annotated[TimeoutOverrides, doc("budgets of this route")] = TimeoutOverrides()


class Key(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One client's key.  Without any, everybody who reaches penstock may use it."""

    name: Annotated[KeyName, doc("what the log calls this client")]
    key: Annotated[
        Reference,
        doc('the key: "sha256:DIGEST", "credential:NAME", "file:/path", "env:NAME", or the key itself'),
        Meta(extra={"form": "key"}),
    ]
    routes: Annotated[
        tuple[RouteName, ...], doc("model names or globs that it may ask for; others do not exist for it")
    ] = ("*",)
    classes: Annotated[
        tuple[RouteClass, ...],
        doc("classes of routes that it may ask for; the models of others do not exist for it"),
        Meta(min_length=1),
    ] = CLASSES
    admin: Annotated[bool, doc("whether it may reload, and read /metrics and the whole of /health")] = False
    max_streams: Annotated[int, doc("streams of this key at a time; a further one is answered 429"), Meta(ge=1)] = 512


class Config(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One whole configuration file."""

    server: Annotated[Server, doc("where penstock listens and how it talks to its clients")] = Server()
    timeouts: Annotated[Timeouts, doc("the budgets of every stream")] = Timeouts()
    limits: Annotated[Limits, doc("how much of everything")] = Limits()
    backends: Annotated[dict[BackendName, Backend], doc("the servers that run models, by name")] = {}
    routes: Annotated[
        dict[RouteName, Route], doc("model name or glob -> targets; exact first, then the longest glob")
    ] = {}
    keys: Annotated[tuple[Key, ...], doc("the clients' keys; with the first one, every request needs a key")] = ()
