"""A tool call that a client's language cannot say: what came before it is told all the same, and then the error."""

from __future__ import annotations

import json

import pytest

from asking import LANGUAGES
from penstock.chat.conversation import Conversation
from penstock.chat.events import Finish, FinishReason, Text, ToolDelta
from penstock.dialects.base import Identity, Timing
from penstock.dialects.registry import NORTHBOUND
from penstock.dialects.websocket import Chat
from penstock.errors import BackendGarbled
from wellformed import strings, units

IDENTITY = Identity(stream="7f3k9q2m", created=1789000000.0)
#: Those that tell arguments as an object.  Others pass on a text, whatever it is.
WHOLE = {"ollama", "typed_events", "websocket"}
CALL = ToolDelta(0, "call_0", "look", '{"at":')
FINISH = Finish(FinishReason.TOOL_CALLS)


@pytest.mark.parametrize("north", NORTHBOUND)
def test_what_came_before_a_broken_call_is_told(north: str) -> None:
    operation = "stream" if north == "koboldcpp" else "chat"
    request = NORTHBOUND[north].parse(operation, LANGUAGES[north].asked({"stream": True}))
    writer = NORTHBOUND[north].writer(request, IDENTITY, passthrough=False)
    body = writer.write([Text("before"), CALL, FINISH])
    try:
        body += writer.end(Timing())
        assert north not in WHOLE
    except BackendGarbled as error:
        assert north in WHOLE
        body += writer.fail(error)
    found = "".join(strings(units(writer.content_type, body)))
    assert "before" in found
    assert north not in WHOLE or "no JSON object: look" in found


def test_a_line_of_ollamas_own_that_cannot_be_read_ends_the_answer() -> None:
    """Its last line is not sent on behind a call of which the client would not know."""
    request = NORTHBOUND["ollama"].parse("chat", LANGUAGES["ollama"].asked({"stream": True}))
    writer = NORTHBOUND["ollama"].writer(request, IDENTITY, passthrough=True)
    before = Text("before", raw=b'{"message":{"content":"before"}}\n')
    assert writer.write([before, CALL, Finish(FinishReason.STOP, raw=b'{"done":true}\n')]) == before.raw
    with pytest.raises(BackendGarbled, match="look") as caught:
        writer.write([Text("after")])
    assert list(json.loads(writer.fail(caught.value))) == ["error"]


def test_a_conversation_hears_no_answer_that_failed() -> None:
    heard = Conversation(room=1000)
    chat = Chat("c", heard)
    request = NORTHBOUND["websocket"].parse("chat", LANGUAGES["websocket"].asked())
    writer = chat.writer(request, IDENTITY, passthrough=False)
    writer.write([Text("before"), CALL, FINISH])
    with pytest.raises(BackendGarbled):
        writer.end(Timing())
    assert not chat.over
    assert heard.ask("again") == [{"role": "user", "content": "again"}]
