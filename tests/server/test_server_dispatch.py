"""The short way through Quart and Hypercorn leads where the long one does."""

from __future__ import annotations

import trio
import trio.testing
from house import settle_in
from hypercorn.typing import HTTPRequestEvent

from penstock.server.app import create_app
from penstock.server.inbox import Inbox


async def test_plain_paths_are_found_as_quart_finds_them(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    app = create_app(house.daemon.state)
    quart = app.url_map.bind("localhost")
    found = {asked: quart.match(asked[1], method=asked[0], return_rule=True) for asked in app._plain}
    assert found == {asked: (rule, {}) for asked, rule in app._plain.items()}
    assert ("POST", "/v1/chat/completions") in found and ("HEAD", "/") in found


async def test_messages_keep_their_order_and_wait_for_room(autojump_clock: trio.abc.Clock) -> None:
    inbox = Inbox(2)
    messages: list[HTTPRequestEvent] = [
        {"type": "http.request", "body": bytes([number]), "more_body": True} for number in range(5)
    ]

    async def put() -> None:
        for message in messages:
            await inbox.put(message)

    async with trio.open_nursery() as nursery:
        nursery.start_soon(put)
        await trio.testing.wait_all_tasks_blocked()
        assert len(inbox._messages) == 2
        assert [await inbox.get() for _ in messages] == messages
        with trio.move_on_after(1) as scope:
            await inbox.get()
        assert scope.cancelled_caught
        nursery.start_soon(put)
        assert await inbox.get() == messages[0]
        nursery.cancel_scope.cancel(reason="enough")
