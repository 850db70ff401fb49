"""The event-stream decoder: one table, each row whole, split at every byte, bytewise and with more behind it."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dialects.sse import COMMENT, Comment, Decoder, Frame
from penstock.errors import BackendGarbled


def plain(data: bytes) -> Frame:
    return Frame(data, b"data: " + data + b"\n\n")


CASES: list[tuple[str, bytes, list[Frame | Comment]]] = [
    ("one frame", b"data: a\n\n", [plain(b"a")]),
    ("two frames", b"data: a\n\ndata: b\n\n", [plain(b"a"), plain(b"b")]),
    ("no space after the colon", b"data:a\n\n", [Frame(b"a")]),
    ("one of two spaces belongs to the data", b"data:  a\n\n", [plain(b" a")]),
    ("CRLF", b"data: a\r\n\r\ndata: b\r\n\r\n", [Frame(b"a"), Frame(b"b")]),
    ("CR", b"data: a\r\rdata: b\r\r", [Frame(b"a"), Frame(b"b")]),
    ("mixed line ends", b"data: a\r\n\ndata: b\n\r\n", [Frame(b"a"), Frame(b"b")]),
    ("byte order mark", b"\xef\xbb\xbfdata: a\n\n", [plain(b"a")]),
    ("a later byte order mark is data", b"data: a\n\n\xef\xbb\xbfdata: b\n\n", [plain(b"a")]),
    ("data lines are joined", b"data: a\ndata:b\ndata\n\n", [Frame(b"a\nb\n")]),
    ("comment with one line end", b": keep-alive\ndata: a\n\n", [COMMENT, plain(b"a")]),
    ("comment with a blank line", b": hb\n\ndata: a\n\n", [COMMENT, plain(b"a")]),
    ("bare colon", b":\n\ndata: a\n\n", [COMMENT, plain(b"a")]),
    ("comment inside a frame", b"data: a\n: c\n\n", [COMMENT, plain(b"a")]),
    ("event name", b"event: error\ndata: a\n\ndata: b\n\n", [Frame(b"a", None, "error"), plain(b"b")]),
    ("named frames", b"event: a\ndata: 1\n\nevent:  b\ndata: \n\n", [Frame(b"1", None, "a"), Frame(b"", None, " b")]),
    (
        "a named frame of two lines",
        b"event: a\ndata: 1\ndata: 2\n\nevent: b\ndata: 3\n\n",
        [
            Frame(b"1\n2", None, "a"),
            Frame(b"3", None, "b"),
        ],
    ),
    (
        "a name alone between named frames",
        b"event: a\ndata: 1\n\nevent: b\n\nevent: c\ndata: 2\n\n",
        [
            Frame(b"1", None, "a"),
            COMMENT,
            Frame(b"2", None, "c"),
        ],
    ),
    (
        "a comment between named frames",
        b"event: a\ndata: 1\n\n: c\n\nevent: b\ndata: 2\n\n",
        [
            Frame(b"1", None, "a"),
            COMMENT,
            Frame(b"2", None, "b"),
        ],
    ),
    ("name after the data", b"data: a\nevent: x\n\n", [Frame(b"a", None, "x")]),
    ("event without data", b"event: ping\n\ndata: a\n\n", [COMMENT, plain(b"a")]),
    ("empty data", b"data:\n\ndata: a\n\n", [Frame(b""), plain(b"a")]),
    ("id, retry and unknown fields", b"id: 1\nretry: 5\nx: y\nfoo\ndata: a\n\n", [Frame(b"a")]),
    ("further blank lines", b"\n\ndata: a\n\n\n\ndata: b\n\n\n", [plain(b"a"), plain(b"b")]),
    ("error field", b'error: {"message":"x"}\n\n', [Frame(b'{"message":"x"}', None, "error")]),
    ("bare JSON lines", b'{"a":1}\n{"b":2}\n', [Frame(b'{"a":1}'), Frame(b'{"b":2}')]),
    ("bare JSON after an open frame", b'data: a\n{"b":2}\n', [Frame(b"a"), Frame(b'{"b":2}')]),
    ("UTF-8", "data: é🚰\u2028\n\n".encode(), [plain("é🚰\u2028".encode())]),
    ("broken UTF-8 is not passed on", b"data: \xff\n\n", [Frame(b"\xff")]),
    ("NUL and U+0085 are data", b"data: \x00\xc2\x85\n\n", [plain(b"\x00\xc2\x85")]),
    ("done", b"data: a\n\ndata: [DONE]\n\n", [plain(b"a"), plain(b"[DONE]")]),
]
#: bodies that end before their blank line, and the frame that is left at the end
UNFINISHED: list[tuple[bytes, list[Frame | Comment]]] = [
    (b"data: [DONE]", [Frame(b"[DONE]")]),
    (b"data: [DONE]\n", [Frame(b"[DONE]")]),
    (b"data: a\n\ndata: b\r", [plain(b"a"), Frame(b"b")]),
    (b'{"a":1}', [Frame(b'{"a":1}')]),
    (b": x", [COMMENT]),
    (b"event: x", []),
    (b"", []),
]


def decoded(*pieces: bytes) -> list[Frame | Comment]:
    decoder = Decoder(1 << 20)
    return [frame for piece in pieces for frame in decoder.receive(piece)] + decoder.end()


def in_steps(decoder: Decoder, body: bytes, step: int) -> list[Frame | Comment]:
    found = []
    for at in range(0, len(body), step):
        found += decoder.receive(body[at : at + step])
        decoder.check()
    return found


@pytest.mark.parametrize(("body", "frames"), [pytest.param(*case[1:], id=case[0]) for case in CASES])
class TestAnyCutGivesTheSameFrames:
    def test_whole(self, body: bytes, frames: list[Frame | Comment]) -> None:
        assert decoded(body) == frames

    def test_split_at_every_byte(self, body: bytes, frames: list[Frame | Comment]) -> None:
        for cut in range(len(body) + 1):
            assert decoded(body[:cut], body[cut:]) == frames

    def test_one_byte_at_a_time(self, body: bytes, frames: list[Frame | Comment]) -> None:
        assert decoded(*[bytes([byte]) for byte in body]) == frames

    def test_with_trailing_bytes(self, body: bytes, frames: list[Frame | Comment]) -> None:
        assert decoded(body + b"data: z\n\n: c\n\n") == [*frames, plain(b"z"), COMMENT]


@pytest.mark.parametrize(("body", "frames"), UNFINISHED)
def test_the_last_frame_may_lack_its_end(body: bytes, frames: list[Frame | Comment]) -> None:
    for cut in range(len(body) + 1):
        assert decoded(body[:cut], body[cut:]) == frames


def test_frames_come_as_soon_as_they_are_whole() -> None:
    decoder = Decoder(1 << 20)
    assert decoder.receive(b"data: a\n\ndata: b\n\nda") == [plain(b"a"), plain(b"b")]
    assert decoder.receive(b"ta: c\n") == []
    assert decoder.receive(b"\n") == [plain(b"c")]
    assert decoder.receive(b"data: d\r\r") == [Frame(b"d")]


class TestLimit:
    @pytest.mark.parametrize(
        "body",
        [
            b"data: " + b"x" * 95 + b"\n\n",
            b"data: " + b"x" * 95,
            b"data: a\n\ndata: " + b"x" * 95 + b"\n\ndata: b\n\n",
            b"data: " + b"x" * 40 + b"\ndata: " + b"x" * 60 + b"\n\n",
            b"{" + b"x" * 100 + b"\n",
            b": " + b"x" * 100 + b"\n",
        ],
    )
    def test_one_event_of_more_is_refused_however_it_is_cut(self, body: bytes) -> None:
        for step in (1, 7, len(body)):
            with pytest.raises(BackendGarbled, match=r"limits\.line") as caught:
                in_steps(Decoder(100), body, step)
            assert caught.value.layer == "parse"

    @pytest.mark.parametrize(
        "more", [b"data: " + b"x" * 95 + b"\n\n", b"data: " + b"x" * 95, b": " + b"x" * 100 + b"\n", b"{" + b"x" * 100]
    )
    @pytest.mark.parametrize("end", [b"\n\n", b"\r\n\r\n"], ids=["LF", "CRLF"])
    def test_the_frames_before_it_come_out(self, more: bytes, end: bytes) -> None:
        decoder = Decoder(100)
        frames = decoder.receive(b"data: a" + end + b"data: " + b"b" * 94 + end + more + b"\n\ndata: c\n\n")
        assert [frame.data for frame in frames if isinstance(frame, Frame)] == [b"a", b"b" * 94]
        with pytest.raises(BackendGarbled):
            decoder.check()

    def test_it_counts_for_each_event_anew(self) -> None:
        body = (b"data: " + b"x" * 94 + b"\n\n: " + b"x" * 98 + b"\n") * 5
        for step in (1, 7, len(body)):
            assert in_steps(Decoder(100), body, step) == [plain(b"x" * 94), COMMENT] * 5


LINES = st.sampled_from(
    [b"data: a", b"data:b", b"data", b"data: {}", b": c", b":", b"event: e", b"id: 1", b"", b"", b"x", b"data: \xff"]
)
ENDS = st.sampled_from([b"\n", b"\n", b"\n", b"\r\n", b"\r"])


def by_the_standard(body: bytes) -> list[bytes]:
    """The data of every frame, after the letter of the standard."""
    found, data = [], b""
    for line in re.split(rb"\r\n|\n|\r", body)[:-1]:
        if not line:
            if data:
                found.append(data[:-1])
            data = b""
        elif line.partition(b":")[0] == b"data":
            data += line.partition(b":")[2].removeprefix(b" ") + b"\n"
    return found


@given(st.lists(st.tuples(LINES, ENDS), max_size=30), st.lists(st.integers(0, 200), max_size=6))
def test_it_reads_what_the_standard_says(lines: list[tuple[bytes, bytes]], cuts: list[int]) -> None:
    body = b"".join(line + end for line, end in lines) + b"\n\n"
    edges = [0, *sorted(min(cut, len(body)) for cut in cuts), len(body)]
    frames = decoded(*[body[a:b] for a, b in pairwise(edges)])
    assert [frame.data for frame in frames if isinstance(frame, Frame)] == by_the_standard(body)
    assert frames == decoded(body)
