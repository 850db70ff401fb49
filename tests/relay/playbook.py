"""Both ends of a stream as fakes, and the stream between them, on a clock that jumps.

A test reads like a trace: the client asks, the backend says A and B, 61 seconds pass, the client has A, B and the
error ``silence``, the backend sees its connection closed.
"""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable
from itertools import count

import trio
import trio.testing

from penstock.chat.reasons import Reason
from penstock.config.model import MANNER, Manner, Timeouts
from penstock.dialects.base import Identity, Limits
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import ClientGone, ClientStalled, ConnectFailed
from penstock.policy.admission import Gate
from penstock.policy.routing import Target
from penstock.relay.backends import Backend
from penstock.relay.delivery import Headers
from penstock.relay.link import Link, LinkBroken
from penstock.relay.live import Live
from penstock.relay.outcome import Outcome
from penstock.relay.stream import Pace, Plan, Stream
from penstock.relay.transport import Transport

SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
NDJSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/x-ndjson\r\nTransfer-Encoding: chunked\r\n\r\n"


class FakeClient:
    """Keeps what it is given; leaves and stops reading when it is told to."""

    def __init__(self) -> None:
        self.status: int | None = None
        self.headers: dict[str, str] = {}
        self.got = b""
        self.times: list[float] = []
        self.finished = False
        self.was_cut = False
        self._has_left = False
        self._left: Callable[[], None] = lambda: None
        self._here = trio.CancelScope()
        self._reads = trio.Event()
        self._reads.set()

    def leave(self) -> None:
        self._has_left = True
        self._left()
        self._here.cancel(reason="left")

    def stop_reading(self) -> None:
        self._reads = trio.Event()

    def read_again(self) -> None:
        self._reads.set()

    @property
    def text(self) -> str:
        """The content of all chunks, in order."""
        return "".join(
            choice["delta"].get("content") or ""
            for frame in self.frames
            if isinstance(frame, dict)
            for choice in frame.get("choices", [])
        )

    @property
    def frames(self) -> list[object]:
        """The data of all SSE frames; JSON where it is."""
        data = [line[6:] for line in self.got.decode().split("\n") if line.startswith("data: ")]
        return [line if line == "[DONE]" else json.loads(line) for line in data]

    @property
    def error(self) -> str | None:
        """The code of the error frame, or of the error body."""
        for frame in self.frames or [json.loads(self.got)]:
            if isinstance(frame, dict) and "error" in frame:
                code = frame["error"]["code"]
                assert isinstance(code, str)
                return code
        return None

    # the relay's side

    def start(self, status: int, headers: Headers) -> None:
        assert self.status is None, "two heads"
        self.status = status
        self.headers = {name.lower(): value for name, value in headers}

    def put(self, data: bytes) -> bool:
        assert self.status is not None and not self.finished and not self.was_cut
        if self._has_left:
            raise ClientGone("gone")
        self.got += data
        self.times.append(trio.current_time())
        return self._reads.is_set()

    async def drain(self, write: float) -> None:
        with trio.move_on_after(write):
            await self._reads.wait()
            return
        raise ClientStalled("stalled")

    async def finish(self, write: float) -> None:
        await self.drain(write)
        self.finished = True

    def cut(self) -> None:
        self.was_cut = True

    def while_here(self, left: Callable[[], None]) -> trio.CancelScope:
        self._left = left
        if self._has_left:
            self.leave()
        return self._here


class MemoryLink:
    """A connection in memory, which never goes stale."""

    def __init__(self, stream: trio.StapledStream) -> None:
        self._stream = stream

    async def receive(self) -> bytes:
        try:
            return bytes(await self._stream.receive_some())
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkBroken(str(error)) from error

    def send_now(self, data: memoryview) -> int:
        return 0

    async def send_some(self, data: memoryview) -> int:
        try:
            await self._stream.send_all(data)
        except (trio.BrokenResourceError, trio.ClosedResourceError) as error:
            raise LinkBroken(str(error)) from error
        return len(data)

    def stale(self) -> bool:
        return False

    def close(self) -> None:
        self._stream.send_stream.close()
        self._stream.receive_stream.close()


class Conversation:
    """One connection as the backend sees it."""

    def __init__(self, stream: trio.abc.Stream) -> None:
        self.stream = stream
        self.asked = b""

    async def request(self) -> bytes:
        """The whole request."""
        data = b""
        while b"\r\n\r\n" not in data:
            data += await self._more()
        head, _, body = data.partition(b"\r\n\r\n")
        length = int(head.lower().split(b"content-length: ")[1].split(b"\r\n")[0])
        while len(body) < length:
            body += await self._more()
        return head + b"\r\n\r\n" + body

    async def _more(self) -> bytes:
        data = bytes(await self.stream.receive_some())
        assert data, "the connection was closed before its request was whole"
        return data

    async def says(self, *pieces: bytes) -> None:
        """Chunks of a body."""
        for piece in pieces:
            await self.stream.send_all(b"%x\r\n%b\r\n" % (len(piece), piece))

    async def begins(self, head: bytes = SSE_HEAD) -> None:
        await self.stream.send_all(head)

    async def ends(self) -> None:
        """The end of a chunked body."""
        await self.stream.send_all(b"0\r\n\r\n")

    async def hangs_up(self) -> None:
        await self.stream.aclose()

    async def sees_the_close(self) -> float:
        """Wait for the connection's end; when it came."""
        while await self.stream.receive_some():
            pass
        return trio.current_time()


class Play:
    """One stream between a :class:`FakeClient` and backends that are played by the test.

    ``backends`` says how many targets there are; ``slots`` and ``places`` in the queue are of each.
    """

    def __init__(
        self,
        nursery: trio.Nursery,
        *,
        backends: int = 1,
        slots: int = 1,
        places: int = 4,
        north: str = "openai",
        kind: str = "openai",
        refuses: tuple[int, ...] = (),
        manner: Manner = MANNER,
        dial_time: float = 0.0,
        **timeouts: float | None,
    ) -> None:
        self.nursery = nursery
        self.live = Live()
        self._numbers = count()
        self._outcomes, self._ended = trio.open_memory_channel[Outcome](100)
        self.fallbacks: list[tuple[str, Reason]] = []
        self.bugs: list[Exception] = []
        self.timeouts = Timeouts(**timeouts)  # type: ignore[arg-type]
        self.north = NORTHBOUND[north]
        self.backends: list[Backend] = []
        self._connections: dict[int, trio.MemoryReceiveChannel[Conversation]] = {}
        for number in range(backends):
            send, receive = trio.open_memory_channel[Conversation](100)
            self._connections[number] = receive
            dial = self._dial(send, refuse=number in refuses, wait=dial_time)
            transport = Transport(f"http://backend-{number}", dial=dial)
            gate = Gate(f"b{number}", slots=slots, queue=places)
            self.backends.append(Backend(f"b{number}", SOUTHBOUND[kind], transport, gate, Limits(), manner))

    def _dial(
        self, connections: trio.MemorySendChannel[Conversation], *, refuse: bool, wait: float
    ) -> Callable[[], Awaitable[Link]]:
        async def dial() -> Link:
            await trio.sleep(wait)
            if refuse:
                raise ConnectFailed("cannot connect")
            ours, theirs = trio.testing.memory_stream_pair()
            connections.send_nowait(Conversation(theirs))
            return MemoryLink(ours)

        return dial

    async def backend(self, number: int = 0) -> Conversation:
        """The next connection to a backend, with its request read."""
        conversation = await self._connections[number].receive()
        conversation.asked = await conversation.request()
        return conversation

    async def question(self, number: int = 0) -> Conversation:
        """The next connection to a backend that carries a question, without a body."""
        conversation = await self._connections[number].receive()
        conversation.asked = bytes(await conversation.stream.receive_some())
        return conversation

    def asks(self, *, stream: bool = True, grace: float = 2.0, heartbeat: float = 5.0, **fields: object) -> FakeClient:
        """A client asks; its stream runs in the nursery."""
        body = {"model": "m", "stream": stream, "messages": [{"role": "user", "content": "hi"}], **fields}
        request = self.north.parse("chat", json.dumps(body).encode())
        plans = [
            Plan(
                target=Target(backend=b.name, model="m", timeouts=self.timeouts, route="*"),
                backend=b,
                call=b.south.encode(request, "m", b.manner),
            )
            for b in self.backends
        ]
        client = FakeClient()
        stream_ = Stream(
            identity=Identity(stream=f"s{next(self._numbers)}", created=1.0),
            request=request,
            north=self.north,
            plans=plans,
            client=client,
            live=self.live,
            pace=Pace(grace=grace, heartbeat=heartbeat),
            report=self._outcomes.send_nowait,
            failed=lambda _, plan, reason, __: self.fallbacks.append((plan.backend.name, reason)),
            bug=lambda _, error: self.bugs.append(error),
        )
        self.nursery.start_soon(stream_.run)
        return client

    async def outcome(self) -> Outcome:
        """The next end of a stream, with nothing left of it."""
        outcome = await self._ended.receive()
        await trio.testing.wait_all_tasks_blocked()
        assert not self.bugs, self.bugs
        return outcome

    def assert_nothing_left(self) -> None:
        """No stream, no slot, no place in a queue, no connection in use."""
        assert len(self.live) == 0
        for backend in self.backends:
            assert (backend.gate.busy, backend.gate.waiting) == (0, 0)
            assert backend.transport.open == 0


def chunk(text: str | None = None, **choice: object) -> bytes:
    """One SSE frame of an OpenAI backend."""
    delta = {} if text is None else {"content": text}
    body = {
        "id": "chatcmpl-b",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": delta, "finish_reason": None, **choice}],
    }
    return b"data: %b\n\n" % json.dumps(body).encode()


def role() -> bytes:
    return chunk(delta={"role": "assistant", "content": ""})


def finish(reason: str = "stop") -> bytes:
    return chunk(finish_reason=reason)


DONE = b"data: [DONE]\n\n"
PING = b": ping\n\n"


def progress(processed: int, total: int) -> bytes:
    """A frame of llama.cpp's prefill progress."""
    body = {
        "id": "chatcmpl-b",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": None}, "finish_reason": None}],
        "prompt_progress": {"total": total, "cache": 0, "processed": processed, "time_ms": 1},
    }
    return b"data: %b\n\n" % json.dumps(body).encode()
