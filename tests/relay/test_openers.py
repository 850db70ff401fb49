"""A dialect whose heartbeat opens the answer: what follows goes on from there, whichever target it comes from."""

from __future__ import annotations

import json

import trio
from playbook import DONE, Play, chunk, finish, role

from penstock.chat.reasons import Reason


async def test_the_next_target_goes_on_where_the_heartbeats_were(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, backends=2, north="responses")
    client = play.asks(input="hi")
    first = await play.backend(0)
    await trio.sleep(8)
    await first.hangs_up()
    second = await play.backend(1)
    await second.begins()
    await second.says(role(), chunk("A"), finish(), DONE)
    await second.ends()

    assert (await play.outcome()).reason is Reason.COMPLETED
    assert play.fallbacks == [("b0", Reason.CONNECT_FAILED)]
    events = [json.loads(line[6:]) for line in client.got.decode().splitlines() if line.startswith("data: ")]
    assert [event["sequence_number"] for event in events] == list(range(len(events)))
    names = [event["type"] for event in events]
    assert names[:4] == ["response.created", *["response.in_progress"] * 2, "response.output_item.added"]
    assert names.count("response.created") == 1
    assert names[-1] == "response.completed"
    play.assert_nothing_left()


async def test_what_was_dropped_makes_no_endless_header(nursery: trio.Nursery, autojump_clock: object) -> None:
    play = Play(nursery, kind="ollama", north="responses")
    client = play.asks(input="hi", **{f"field_{number}": 1 for number in range(500)})
    backend = await play.backend()
    await backend.hangs_up()
    await play.outcome()
    dropped = client.headers["x-penstock-dropped"]
    assert dropped.startswith("messages, field_0, ") and dropped.endswith("...") and len(dropped) == 1000
