"""A request that has to wait before it can become a stream, while the daemon begins to stop."""

from __future__ import annotations

import trio
from between import Asked, house, played

USER = {"role": "user", "content": "hi"}


async def test_no_stream_begins_after_the_drain_has(nursery: trio.Nursery) -> None:
    """Nobody would wait for it: the last stream there was has ended."""
    wanted, listed = trio.Event(), trio.Event()
    asked: list[str] = []

    async def handler(request: Asked) -> None:
        if request.method == "GET":
            wanted.set()
            await listed.wait()
            await request.answers({"data": [{"id": "m"}]})
            return
        asked.append(request.target)
        await request.answers({"choices": []})

    backends = {"a": await played(nursery, "openai", handler), "b": await played(nursery, "openai", handler)}
    with trio.fail_after(20):
        async with house(nursery, backends, {"*": ("a", "b")}) as it, trio.open_nursery() as asking:

            async def ask() -> None:
                answer = await it.ask("POST", "/v1/chat/completions", {"model": "m", "messages": [USER]})
                assert (answer.status_code, answer.json()["error"]["code"]) == (503, "shutdown")

            asking.start_soon(ask)
            await wanted.wait()
            asking.start_soon(it.daemon.stop)
            while not it.daemon.state.draining:
                await trio.lowlevel.checkpoint()
            listed.set()
    assert asked == []
