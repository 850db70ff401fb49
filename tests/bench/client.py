"""One client connection of the load generator: asks, reads, and checks every frame of the answer.

A fault ends the run: a frame missing, doubled or out of order, an end without its terminal marker, an error answer.
"""

from __future__ import annotations

import json
import re
import socket
from time import monotonic_ns

from .frames import ANY_MARK, ENCODINGS, SEQUENCE, STAMP, WRAP
from .plan import Plan

_CHUNK_HEAD = re.compile(rb"\r\n[0-9A-Fa-f]+\r\n")
_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)


class Fault(Exception):
    """The target did something that makes its figures worthless."""


class Client:
    """A connection and the stream on it.  ``frames`` counts those read; times are CLOCK_MONOTONIC nanoseconds."""

    welcome = b"HTTP/1.1 200 "
    #: where bytes may be cut: what is before it needs no part of what follows
    cut = b"\n"

    __slots__ = (
        "asked_ns", "complete", "dialect", "encoding", "fd", "first_ns", "frames",
        "head", "latencies", "plan", "port", "rest", "sock", "tail",
    )  # fmt: skip

    def __init__(self, port: int, dialect: str, plan: Plan) -> None:
        self.port = port
        self.dialect = dialect
        self.encoding = ENCODINGS[dialect]
        self.plan = plan
        self.sock = socket.socket()
        self.sock.setblocking(False)
        self.sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self.fd = self.sock.fileno()
        self.latencies: list[int] = []
        self.reset()
        self.sock.connect_ex(("127.0.0.1", port))

    def reset(self) -> None:
        """Ready for the next answer on this connection."""
        self.asked_ns = monotonic_ns()
        self.first_ns = 0
        self.frames = 0
        self.head = b""  # of the answer, once it is whole
        self.rest = b""  # read and not yet looked at
        self.tail = b""  # from the read on that brought the last frame
        self.complete = False

    def request(self, *, stream: bool) -> bytes:
        body = self.asked(stream=stream)
        return (
            f"POST {self.encoding.path} HTTP/1.1\r\nHost: 127.0.0.1:{self.port}\r\nContent-Type: application/json\r\n"
            f"Content-Length: {len(body)}\r\n\r\n{body}"
        ).encode()

    def asked(self, **more: object) -> str:
        """What is asked, as JSON."""
        model, field = self.plan.model(), self.encoding.ask
        # KoboldCpp's language names no model, so that the plan has to be in the question
        question = [{"role": "user", "content": "hi"}] if field == "messages" else model
        return json.dumps({"model": model, "max_tokens": 4096, field: question, **more})

    def ask(self, *, stream: bool = True) -> None:
        try:
            self.sock.send(self.request(stream=stream))
        except OSError as error:
            raise Fault(f"cannot connect: {error}") from None

    def receive(self) -> bytes:
        """What has come, at most 64 KiB; nothing if nothing has."""
        try:
            data = self.sock.recv(65536)
        except BlockingIOError:
            return b""
        except OSError as error:
            raise Fault(f"connection broken after {self.frames} frames: {error}") from None
        if not data:
            raise Fault(f"connection closed after {self.frames} frames; last bytes {(self.tail or self.rest)[-300:]!r}")
        return data

    def read(self) -> int:
        """Read once; how many bytes came."""
        data = self.receive()
        now = monotonic_ns()
        if not data:
            return 0
        if not self.head:
            self.rest += data
            if not self.take_head():
                return len(data)
            data, self.rest = self.rest, b""
        self.take(data, now)
        return len(data)

    def take_head(self) -> bool:
        head, separator, body = self.rest.partition(b"\r\n\r\n")
        if not separator:
            return False
        if not head.startswith(self.welcome):
            raise Fault(f"refused: {self.rest[:600]!r}")
        self.head, self.rest = head, b"\r\n" + body
        return True

    def take(self, data: bytes, now: int) -> None:
        if self.tail:
            self.tail += data
        else:
            data = self.rest + data
            cut = data.rfind(self.cut) + 1
            body, self.rest = data[:cut], data[cut:]
            self.check(body)
            if self.frames and not self.first_ns:
                self.first_ns = now
            if self.plan.rate:
                self.latencies += [now - int(sent) for sent in STAMP.findall(body)]
        if self.is_over():
            if self.encoding.terminal not in _CHUNK_HEAD.sub(b"", self.tail):
                raise Fault(f"ended without its terminal marker: {self.tail[-300:]!r}")
            self.complete = True

    def is_over(self) -> bool:
        """Whether the last bytes are the end of the body."""
        return self.tail.endswith(b"\r\n0\r\n\r\n")

    def check(self, body: bytes) -> None:
        # where some HTTP chunk does not end where a frame ends
        cut = 2 * body.count(b"\n\r\n") != body.count(b"\r\n")
        found = self.encoding.mark.findall(_CHUNK_HEAD.sub(b"", body) if cut else body)
        last = found.pop() if found and found[-1].startswith(b"E") else b""
        at = self.frames % WRAP
        due = SEQUENCE[at : at + len(found)]
        if found != due:
            came, wanted = next((one, other) for one, other in zip(found, due, strict=True) if one != other)
            raise Fault(f"frame {came.decode()} came where {wanted.decode()} was due")
        self.frames += len(found)
        if last:
            if int(last[1:]) != self.frames:
                raise Fault(f"{self.frames} frames of {int(last[1:])}")
            self.tail = body + self.rest

    def read_whole(self) -> bool:
        """Read an answer that is no stream; True when all of it is here and right."""
        self.rest += self.receive()
        if not self.head and not self.take_head():
            return False
        length = _LENGTH.search(self.head)
        whole = len(self.rest) == int(length[1]) + 2 if length else self.rest.endswith(b"\r\n0\r\n\r\n")
        if whole:
            found = ANY_MARK.findall(self.rest)
            if found != [*SEQUENCE[: self.plan.frames], b"E%07d" % self.plan.frames]:
                raise Fault(f"answer incomplete: {self.rest[:600]!r}")
        return whole
