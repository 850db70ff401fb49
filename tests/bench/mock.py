"""The mock backend: one process, one epoll, frames encoded ahead, as little work per chunk as Python allows.

``python -m tests.bench.mock`` prints its port.  POST answers as the :class:`~.plan.Plan` in the model's name says, in
the dialect of the path; ``GET /events`` reports ``open ID NS`` and ``closed ID NS`` of each stream; whatever else is
asked gets a list of models.
"""

from __future__ import annotations

import gc
import heapq
import re
import select
import socket
import sys
from time import monotonic_ns

from .frames import BY_PATH, ENCODINGS, WRAP, Encoding
from .plan import After, Plan

_LENGTH = re.compile(rb"content-length: *(\d+)", re.IGNORECASE)
_ONE_ANSWER = re.compile(rb'"stream": *false')
_LISTS = b'{"object":"list","data":[{"id":"bench","object":"model"}],"models":[],"version":"0.12.0","status":"ok"}'
_LIST_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(_LISTS)
_EVENTS_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nConnection: close\r\n\r\n"
#: bytes on their way to a slow target: with the system's 4 MB it would chew on them long after the end of the run
_SEND_BUFFER = 524288
#: writes at full speed before the next stream has its turn
_BURST = 32
#: answers up to this many frames leave in one write: they measure a request, not its chunks
_SHORT = 8
#: the frames of 64 streams must not fall on the same instant: successive multiples of the golden ratio spread evenly.
#: Where they fall depends on their number and the clock alone, or targets that connect at another pace would get their
#: frames in other company, and fewer at once cost more.
_GOLDEN = 0.618034


class Connection:
    """One client connection and the answer that it is given."""

    __slots__ = ("encoding", "fd", "inbox", "number", "outbox", "period", "plan", "sock", "stops", "writable")

    def __init__(self, sock: socket.socket) -> None:
        self.sock = sock
        self.fd = sock.fileno()
        self.inbox = b""
        self.outbox = memoryview(b"")
        self.plan: Plan | None = None
        self.encoding: Encoding = ENCODINGS["openai"]
        self.number = 0  # of the next frame
        self.period = 0  # ns between frames
        self.stops = 0  # when the last frame is due, if the plan is by time
        self.writable = False  # whether epoll watches for room


class Mock:
    def __init__(self) -> None:
        self.listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.listener.setblocking(False)
        self.epoll = select.epoll()
        self.epoll.register(self.listener.fileno(), select.EPOLLIN)
        self.connections: dict[int, Connection] = {}
        #: (when, a number that breaks ties, to whom, the plan at that time) as a heap
        self.due: list[tuple[int, int, Connection, Plan]] = []
        self.watchers: set[Connection] = set()

    def run(self) -> None:
        """Serve until stdin, which belongs to the harness, is closed."""
        stdin = sys.stdin.fileno()
        self.epoll.register(stdin, select.EPOLLIN)
        while True:
            # epoll counts in milliseconds: the frames of one tick leave together, as a server's decode steps do
            timeout = max(0.0, (self.due[0][0] - monotonic_ns()) / 1e9) if self.due else -1
            for fd, event in self.epoll.poll(timeout):
                if fd == stdin:
                    return
                if fd == self.listener.fileno():
                    self.accept()
                elif (connection := self.connections.get(fd)) is not None:
                    self.turn(connection, event)
            self.send_due()

    def accept(self) -> None:
        for _ in range(256):
            try:
                sock, _ = self.listener.accept()
            except BlockingIOError:
                return
            sock.setblocking(False)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, _SEND_BUFFER)
            self.connections[sock.fileno()] = Connection(sock)
            self.epoll.register(sock.fileno(), select.EPOLLIN)

    def turn(self, connection: Connection, event: int) -> None:
        if event & ~select.EPOLLOUT:
            try:
                data = connection.sock.recv(65536)
            except OSError:
                data = b""
            if not data:
                self.close(connection)
                return
            connection.inbox += data
            self.read_request(connection)
        if event & select.EPOLLOUT and connection.fd in self.connections:
            self.flush(connection)

    def close(self, connection: Connection) -> None:
        now = monotonic_ns()
        if connection.plan is not None:
            self.report(b"closed", connection.plan.id, now)
            connection.plan = None
        self.watchers.discard(connection)
        del self.connections[connection.fd]
        connection.sock.close()

    def report(self, what: bytes, ident: int, now: int) -> None:
        for watcher in self.watchers:
            self.send(watcher, b"%s %d %d\n" % (what, ident, now))

    def read_request(self, connection: Connection) -> None:
        if connection.plan is not None:
            return
        head, separator, body = connection.inbox.partition(b"\r\n\r\n")
        length = _LENGTH.search(head)
        if not separator or (length is not None and len(body) < int(length[1])):
            return
        connection.inbox = b""
        method, path, _ = head.split(b" ", 2)
        if method != b"POST":
            if path == b"/events":
                self.watchers.add(connection)
                self.send(connection, _EVENTS_HEAD)
            else:
                self.send(connection, _LIST_HEAD + _LISTS)
            return
        plan, encoding = Plan.find(body), BY_PATH.get(path)
        if plan is None or encoding is None:
            # model lists and load requests of Ollama, and aborts of KoboldCpp, are POSTs as well
            self.send(connection, _LIST_HEAD + _LISTS)
        elif _ONE_ANSWER.search(body):
            self.send(connection, encoding.whole(plan.frames))
        else:
            self.begin(connection, plan, encoding)

    def begin(self, connection: Connection, plan: Plan, encoding: Encoding) -> None:
        now = monotonic_ns()
        connection.plan, connection.encoding, connection.number = plan, encoding, 0
        connection.stops = now + plan.millis * 1_000_000 if plan.millis else 0
        self.report(b"open", plan.id, now)
        if plan.after is After.MUTE:
            return
        if plan.rate:
            connection.period = 1_000_000_000 // plan.rate
            whole_periods = now // connection.period + 1
            first = int((whole_periods + plan.id * _GOLDEN % 1) * connection.period)
            heapq.heappush(self.due, (first, connection.fd, connection, plan))
            self.send(connection, encoding.head)
        else:
            writes = [encoding.head]
            if not plan.millis and plan.frames <= _SHORT:
                while connection.plan is plan:
                    writes.append(self.next_write(connection))
            connection.outbox = memoryview(b"".join(writes))
            self.flush(connection)

    def next_write(self, connection: Connection) -> bytes:
        """The next frame at full speed, or after the last one the end of the body."""
        plan, number = connection.plan, connection.number
        assert plan is not None
        if connection.stops:
            last = number % _BURST == 0 and monotonic_ns() >= connection.stops
        else:
            last = number == plan.frames
        if not last:
            connection.number = number + 1
            return connection.encoding.frames[number % WRAP]
        if plan.after is After.END:
            connection.plan = None
            return connection.encoding.end(number)
        connection.plan = Plan(after=After.MUTE, id=plan.id)
        return b""

    def send_due(self) -> None:
        """Send each paced frame whose time has come, each in a write of its own."""
        due = self.due
        while due and due[0][0] <= (now := monotonic_ns()):
            at, tie, connection, plan = due[0]
            if connection.plan is not plan:
                heapq.heappop(due)
            elif connection.number < plan.frames:
                connection.number += 1
                heapq.heapreplace(due, (at + connection.period, tie, connection, plan))
                self.send(connection, connection.encoding.frame(b"S", (connection.number - 1) % WRAP, now))
            else:
                heapq.heappop(due)
                if plan.after is After.END:
                    connection.plan = None
                    self.send(connection, connection.encoding.end(connection.number, now))

    def send(self, connection: Connection, data: bytes) -> None:
        if connection.outbox:
            connection.outbox = memoryview(bytes(connection.outbox) + data)
            return
        try:
            sent = connection.sock.send(data)
        except BlockingIOError:
            sent = 0
        except OSError:
            # its end is reported when epoll tells of it
            return
        if sent < len(data):
            connection.outbox = memoryview(data)[sent:]
            self.watch(connection, writable=True)

    def flush(self, connection: Connection) -> None:
        """There is room: write what waits, then frames at full speed, each in a write of its own."""
        send = connection.sock.send
        for _ in range(_BURST):
            data = connection.outbox or self.next_at_full_speed(connection)
            if not data:
                self.watch(connection, writable=False)
                return
            try:
                sent = send(data)
            except BlockingIOError:
                sent = 0
            except OSError:
                return
            connection.outbox = memoryview(data)[sent:]
            if connection.outbox:
                break
        self.watch(connection, writable=True)

    def next_at_full_speed(self, connection: Connection) -> bytes:
        plan = connection.plan
        if plan is None or plan.rate or plan.after is After.MUTE:
            return b""
        return self.next_write(connection)

    def watch(self, connection: Connection, *, writable: bool) -> None:
        if writable is not connection.writable:
            connection.writable = writable
            self.epoll.modify(connection.fd, select.EPOLLIN | (select.EPOLLOUT if writable else 0))


def main() -> None:
    gc.disable()
    for encoding in ENCODINGS.values():
        _ = encoding.frames
    mock = Mock()
    print(mock.listener.getsockname()[1], flush=True)
    mock.run()


if __name__ == "__main__":
    main()
