"""The one error tree.

Every error says who is at fault (``party``), the HTTP status that fits while no byte of the answer has gone out
(``status``), and the public word for it (``code``, listed in docs/errors.md).  The base classes are never raised.
Foreign exceptions are turned into these at one seam each: the transport for the backend's side, the listener's sink
for the client's side.  Cancellation is not in the tree: it is an end, not an error.
"""

from __future__ import annotations

import re
from typing import ClassVar

#: What is a code and no sentence.
_CODE = re.compile(r"[A-Za-z0-9_.-]{1,64}")


class PenstockError(Exception):
    """What all of ours have in common.

    ``message`` is one readable sentence: what happened, where, what to do.  ``logged`` is the same without what a
    client or a backend wrote, which may be of a prompt or an answer.
    """

    code: str = "internal"
    status: int = 500
    party: ClassVar[str] = "daemon"
    #: Seconds after which a repeat makes sense; becomes ``Retry-After``.
    retry_after: float | None = None
    #: False tells SDKs that read ``x-should-retry`` not to send the same request again.
    should_retry: bool | None = None

    def __init__(self, message: str) -> None:
        super().__init__(message)
        self.message = message
        self.logged = message


class ConfigError(PenstockError):
    """The configuration cannot be used; ``faults`` holds one line each, ``file:line:column: path: what is wrong``."""

    code = "config"
    party = "owner"

    def __init__(self, faults: list[str]) -> None:
        super().__init__("\n".join(faults))
        self.faults = faults


class RestartNeeded(PenstockError):
    """What changed in the configuration cannot be taken over by a running daemon; ``keys`` names it."""

    code = "restart_needed"
    party = "owner"
    status = 409

    def __init__(self, keys: list[str]) -> None:
        super().__init__(f"a running penstock cannot change {', '.join(keys)}: restart it, or take that change back")
        self.keys = keys


class NoBackend(PenstockError):
    """There is nothing to proxy."""

    code = "no_backend"
    party = "owner"


# --- the client asked for something that cannot be -------------------------------------------------------------------


class RequestError(PenstockError):
    """The request is refused before any stream exists."""

    party = "client"
    status = 400


class BadRequest(RequestError):
    """The body cannot be understood.

    ``param`` is the path of the offending field where one is known, ``got`` what stands there.
    """

    code = "bad_request"

    def __init__(self, message: str, param: str | None = None, got: str = "") -> None:
        super().__init__(f"{message} (got {got})" if got else message)
        self.logged = message
        self.param = param


class UnknownModel(RequestError):
    """No route carries this model name; ``near`` are the closest that would."""

    code = "model_not_found"
    status = 404

    def __init__(self, model: str, near: list[str]) -> None:
        hint = f"; near names: {', '.join(near)}" if near else ""
        # Continue recognises the words "model '…' not found" (clients.md section 2).
        super().__init__(f"model '{model}' not found{hint}")
        self.model = model
        self.near = near


class UnknownPath(RequestError):
    code = "path_not_found"
    status = 404


class WrongHost(RequestError):
    """The request is for a name that is not ours: a rebound one, as like as not (RFC 9110 15.5.20)."""

    code = "wrong_host"
    status = 421


class ForeignOrigin(RequestError):
    """A web page asks that the owner has not allowed to."""

    code = "foreign_origin"
    status = 403


class Unauthorized(RequestError):
    """No key, a wrong one, or two that differ: the words do not tell which."""

    code = "unauthorized"
    status = 401

    def __init__(self) -> None:
        super().__init__(
            "penstock wants a key that it knows, as 'Authorization: Bearer KEY', 'x-api-key: KEY' or 'api-key: KEY'"
        )


class Forbidden(RequestError):
    """The key is good, but not for this."""

    code = "forbidden"
    status = 403


class TooManyStreams(RequestError):
    """The key has as many streams as it may have at a time."""

    code = "too_many_streams"
    status = 429
    retry_after = 2.0


class NoRoom(RequestError):
    """The bodies of all requests together are as much as penstock may hold at a time."""

    code = "bodies"
    status = 503
    retry_after = 2.0


class TooManyConnections(RequestError):
    """The connection is one more than penstock has at a time, in all or from one peer."""

    code = "connections"
    status = 503
    retry_after = 1.0


class MethodNotAllowed(RequestError):
    code = "method_not_allowed"
    status = 405


class UpgradeRequired(RequestError):
    """The path speaks WebSocket, and the request does not ask for it, or for no version that we know."""

    code = "upgrade_required"
    status = 426


class ChatRunning(RequestError):
    """The WebSocket has a chat of this id that is not over."""

    code = "chat_running"
    status = 409


class TooManyChats(RequestError):
    """The WebSocket has as many chats as it may have at a time."""

    code = "too_many_chats"
    status = 429


class TooLarge(RequestError):
    code = "too_large"
    status = 413


class UnsupportedMedia(RequestError):
    code = "unsupported_media_type"
    status = 415


class SlowRequest(RequestError):
    """The body did not arrive within its budget."""

    code = "request_timeout"
    status = 408
    should_retry = False


# --- a stream ended otherwise than well ------------------------------------------------------------------------------


class StreamError(PenstockError):
    """A stream's end with a reason other than ``completed``; ``code`` is the word of :class:`penstock.chat.Reason`."""


class QueueFull(StreamError):
    code = "queue_full"
    status = 503
    retry_after = 2.0


class QueueTimeout(StreamError):
    code = "queue_timeout"
    status = 503
    retry_after = 5.0


class Exhausted(StreamError):
    """penstock itself lacks what a connection needs; no backend is at fault, and another one would not help."""

    code = "exhausted"
    status = 503
    retry_after = 2.0


class Draining(StreamError):
    code = "shutdown"
    status = 503
    retry_after = 5.0


class Ended(StreamError):
    """Somebody ended the stream on purpose: killed, pre-empted, superseded.  ``code`` is set per instance."""

    status = 503
    should_retry = False

    def __init__(self, message: str, code: str) -> None:
        super().__init__(message)
        self.code = code


class DeadlineSpent(StreamError):
    code = "deadline"
    status = 504
    # The same request would spend the same time again (clients.md 16.4).
    should_retry = False


class BackendError(StreamError):
    """The backend is at fault; ``backend`` names it."""

    party = "backend"
    status = 502


class ConnectFailed(BackendError):
    code = "connect_failed"


class ConnectTimeout(BackendError):
    code = "connect_timeout"
    status = 504


class BackendRefused(BackendError):
    """The backend answered with an error, as a status or as a frame in the stream.

    ``message`` may hold its own words, and ``logged`` only says what became of the request and the code.
    ``backend_code`` and ``backend_type`` are its own words too, kept because clients act on some of them
    (``context_length_exceeded``: clients.md 16.9).
    """

    code = "backend_refused"
    #: the backend's own answer, for a client that speaks its language
    body: bytes | None = None

    def __init__(
        self,
        message: str,
        *,
        status: int = 502,
        backend_code: str | None = None,
        backend_type: str | None = None,
        retry_after: float | None = None,
        logged: str = "the backend ended its answer with an error",
    ) -> None:
        super().__init__(message)
        code = backend_code or backend_type or ""
        self.logged = f"{logged} ({code})" if _CODE.fullmatch(code) else logged
        self.status = status
        self.backend_code = backend_code
        self.backend_type = backend_type
        self.retry_after = retry_after


class BackendGarbled(BackendError):
    """The backend sent what its dialect does not allow; ``layer`` is ``http``, ``parse`` or ``schema``.

    In ``message`` all that the backend wrote stands behind a colon; ``ours`` is the rest where that is not so.
    """

    code = "backend_garbled"

    def __init__(self, message: str, layer: str, ours: str | None = None) -> None:
        super().__init__(message)
        self.logged = ours or message.partition(": ")[0]
        self.layer = layer


class BackendTruncated(BackendError):
    """The backend's answer ended, cleanly or not, before its terminal marker."""

    code = "backend_truncated"


class FirstTokenTimeout(BackendError):
    code = "first_token_timeout"
    status = 504
    should_retry = False


class Silence(BackendError):
    code = "silence"
    status = 504
    should_retry = False


class ClientError(StreamError):
    """The client's side of the connection is the cause; nobody is left to read a message."""

    party = "client"


class ClientGone(ClientError):
    code = "client_gone"
    status = 499


class ClientStalled(ClientError):
    code = "client_stalled"
    status = 499
