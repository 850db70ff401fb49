"""The bare relay: accept, connect, copy bytes both ways.  No HTTP at all, so it is the floor of any proxy on Trio.

``python -m tests.bench.relay BACKEND_PORT`` prints its port.
"""

from __future__ import annotations

import sys

import trio


async def copy(source: trio.SocketStream, sink: trio.SocketStream, done: trio.CancelScope) -> None:
    try:
        while data := await source.receive_some(65536):
            await sink.send_all(data)
    except (trio.BrokenResourceError, trio.ClosedResourceError):
        pass
    done.cancel()


async def relay(client: trio.SocketStream, port: int) -> None:
    sock = trio.socket.socket()
    await sock.connect(("127.0.0.1", port))
    async with trio.SocketStream(sock) as backend, trio.open_nursery() as nursery:
        nursery.start_soon(copy, client, backend, nursery.cancel_scope)
        await copy(backend, client, nursery.cancel_scope)


async def main(port: int) -> None:
    listeners = await trio.open_tcp_listeners(0, host="127.0.0.1", backlog=1024)
    print(listeners[0].socket.getsockname()[1], flush=True)

    async def serve(client: trio.SocketStream) -> None:
        await relay(client, port)

    await trio.serve_listeners(serve, listeners)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
