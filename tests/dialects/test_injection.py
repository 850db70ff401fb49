"""No text of a client or a backend makes an event, a line or a header: every dialect of the registry, every writer.

A dialect that is registered is tested by that; it needs a smallest request in ``tests/asking.py``.
"""

from __future__ import annotations

import inspect
import json
from typing import Any

import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st

from asking import LANGUAGES
from penstock import errors
from penstock.chat.events import Event, Failed, Finish, FinishReason, Opened, Text, Thinking, ToolDelta, Usage
from penstock.chat.request import Request
from penstock.dialects import jsontext
from penstock.dialects.base import Identity, Limits, Timing, Writer
from penstock.dialects.openai import openai_north
from penstock.dialects.registry import NORTHBOUND, SOUTHBOUND
from penstock.errors import BackendGarbled, BackendRefused, PenstockError
from penstock.relay.delivery import error_headers
from penstock.relay.stream import header_text
from wellformed import HOSTILE, LINE_ENDS, strings, units

IDENTITY = Identity(stream="7f3k9q2m", created=1789000000.0)

texts = st.lists(st.sampled_from(HOSTILE), min_size=1, max_size=6).map("".join)
#: As JSON carries it: a half of a surrogate pair is no text of a client, and what comes of a backend's is U+FFFD.
clean = texts.map(lambda text: text.replace("\ud800", ""))


def asked(north: str, *, stream: bool, name: str = "m") -> Request:
    """A request of this language for an answer of this form."""
    operation = ("stream" if stream else "generate") if north == "koboldcpp" else "chat"
    body = LANGUAGES[north].asked({"stream": stream, "model": name})
    return NORTHBOUND[north].parse(operation, body)


@st.composite
def answers(draw: st.DrawFn) -> list[Event]:
    """Any answer, with such a text wherever there is one."""
    pieces = st.builds(Text, texts) | st.builds(Thinking, texts)
    events: list[Event] = [Opened(draw(texts), 1, draw(texts)), *draw(st.lists(pieces, max_size=4))]
    for index in range(draw(st.integers(0, 2))):
        said = json.dumps({draw(clean): draw(clean)}, ensure_ascii=draw(st.booleans()))
        events += [ToolDelta(index, draw(texts), draw(texts), said[:5]), ToolDelta(index, arguments=said[5:])]
    return events


NORTHS = pytest.mark.parametrize("north", NORTHBOUND)


@NORTHS
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
@settings(deadline=None, max_examples=15)
@given(events=answers(), name=clean, beats=st.booleans())
def test_an_answer(north: str, stream: bool, events: list[Event], name: str, beats: bool) -> None:
    request = asked(north, stream=stream, name="m" + name)
    writer = NORTHBOUND[north].writer(request, IDENTITY, passthrough=False)
    body = b""
    for event in [*events, Finish(FinishReason.STOP), Usage(1, 1)]:
        body += (writer.heartbeat() if beats else b"") + writer.write([event])
    body += writer.end(Timing(total_ns=1))
    found = "".join(strings(units(writer.content_type, body)))
    for event in events:
        # Every text is in the answer, and in no other place than in a JSON string.
        if isinstance(event, Text):
            assert all(part in found for part in event.text.split("\ud800")) or writer.streaming


ERRORS = [kind for _, kind in inspect.getmembers(errors, inspect.isclass) if issubclass(kind, PenstockError)]


def made(kind: type[PenstockError], text: str) -> PenstockError:
    """An error of this kind, with the text in every place that it has for one."""
    given: dict[str, Any] = {
        "message": text,
        "param": text,
        "model": text,
        "near": [text, text],
        "code": text,
        "layer": "parse",
        "backend_code": text,
        "backend_type": text,
        "status": 502,
        "retry_after": 1.0,
    }
    wanted = inspect.signature(kind).parameters
    lists: dict[str, Any] = {name: [text] for name, parameter in wanted.items() if "list" in str(parameter.annotation)}
    return kind(**{name: lists.get(name) or given.get(name, text) for name in wanted})


@NORTHS
@settings(deadline=None, max_examples=15)
@given(text=texts, kind=st.sampled_from(ERRORS), before=answers(), stream=st.booleans())
def test_an_error(north: str, text: str, kind: type[PenstockError], before: list[Event], stream: bool) -> None:
    error = made(kind, text)
    (told,) = units("application/json", NORTHBOUND[north].error(error))
    assert told
    writer = NORTHBOUND[north].writer(asked(north, stream=stream), IDENTITY, passthrough=False)
    units_of_cut(writer, writer.write(before) + writer.fail(error))
    for name, value in error_headers(error):
        assert name.isascii() and value.isprintable() and value.isascii()


def units_of_cut(writer: Writer, body: bytes) -> None:
    """Check a body that ends badly; a whole text may be cut in its middle."""
    if writer.streaming or body.strip():
        units(writer.content_type, body)


# --- what a backend of the client's own language sent is passed on as it came

PASSED = [(north, south) for north in NORTHBOUND for south in SOUTHBOUND if SOUTHBOUND[south].name == north]


def test_there_are_such_pairs() -> None:
    assert {north for north, _ in PASSED} >= {"openai", "ollama", "anthropic", "koboldcpp"}


@pytest.mark.parametrize(("north", "south"), PASSED)
@settings(deadline=None, max_examples=15)
@given(events=answers(), ascii_only=st.booleans(), more=texts, cut=st.integers(1, 200), failing=st.booleans())
def test_frames_of_the_same_language(
    north: str, south: str, events: list[Event], ascii_only: bool, more: str, cut: int, failing: bool
) -> None:
    request = asked(north, stream=True)
    theirs = NORTHBOUND[north].writer(request, IDENTITY, passthrough=False)
    body = theirs.write([*events, Finish(FinishReason.STOP), Usage(1, 1)]) + theirs.end(Timing(total_ns=1))
    body = loosened(body, ascii_only=ascii_only, more=more)
    reader = SOUTHBOUND[south].reader(request, theirs.content_type, Limits())
    writer = NORTHBOUND[north].writer(request, IDENTITY, passthrough=True)
    sent = b""
    for at in range(0, len(body), cut):
        events = reader.receive(body[at : at + cut])
        sent += writer.write([event for event in events if not isinstance(event, Failed)])
    events = [event for event in reader.end() if not isinstance(event, Failed)]
    sent += writer.write(events)
    sent += writer.fail(BackendGarbled(more, "parse")) if failing or not reader.complete else writer.end(Timing())
    units(writer.content_type, sent)


def loosened(body: bytes, *, ascii_only: bool, more: str) -> bytes:
    """The same frames as other servers write them: Unicode's line ends as they are, a field that nobody knows."""

    def again(text: str) -> str:
        value = json.loads(text)
        if isinstance(value, dict):
            value["extension"] = more
        return json.dumps(value, ensure_ascii=ascii_only)

    lines = []
    for line in body.decode().split("\n"):
        head, mark, data = line.partition("data: ") if line.startswith("data: ") else ("", "", line)
        is_json = data.startswith("{")
        lines.append(head + mark + again(data) if is_json else line)
    return "\n".join(lines).encode("utf-8", "surrogatepass")


# --- headers


@given(texts)
@example("x" * 5000)
def test_a_header_that_tells_of_the_stream(text: str) -> None:
    """``x-penstock-target``, ``x-penstock-dropped``: names of models and fields are the client's."""
    shown = header_text(text)
    assert shown.isascii() and shown.isprintable() and len(shown) <= 1000


@settings(deadline=None, max_examples=15)
@given(texts)
def test_what_was_dropped_is_named_without_its_line_ends(text: str) -> None:
    body = {"model": "m", "messages": [{"role": "user", "content": "hi"}], "n" + text.replace("\ud800", ""): 1}
    request = openai_north.parse("chat", jsontext.encode(body))
    for south in SOUTHBOUND.values():
        shown = header_text(",".join(south.encode(request, "m").dropped))
        assert shown.isascii() and shown.isprintable()


@pytest.mark.parametrize("south", SOUTHBOUND)
@settings(deadline=None, max_examples=15)
@given(text=texts, status=st.integers(300, 599), wrapped=st.booleans())
def test_a_backends_refusal(south: str, text: str, status: int, wrapped: bool) -> None:
    """Its words go into one JSON text, or into one event, of every language."""
    words: Any = {"error": {"message": text, "code": text, "type": text}} if wrapped else text
    body = json.dumps(words).encode() if wrapped else text.encode("utf-8", "surrogatepass")
    error = SOUTHBOUND[south].refusal(status, body)
    assert isinstance(error, BackendRefused)
    for north in NORTHBOUND:
        units("application/json", NORTHBOUND[north].error(error))
        writer = NORTHBOUND[north].writer(asked(north, stream=True), IDENTITY, passthrough=False)
        units(writer.content_type, writer.fail(error))


def test_the_check_sees_what_it_looks_for() -> None:
    """Each line end, left as it is in a frame, is found."""
    for end in LINE_ENDS:
        text = f"a{end}b"
        for media, body in (("text/event-stream", f'data: "{text}"\n\n'), ("application/x-ndjson", f'"{text}"\n')):
            with pytest.raises((AssertionError, ValueError)):
                units(media, body.encode())
