"""Lines come out as they went in, wherever the bytes are cut."""

from __future__ import annotations

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.dialects import jsontext, ndjson
from penstock.errors import BackendGarbled

LIMIT = 1 << 20


def lines(*chunks: bytes, limit: int = LIMIT) -> list[bytes]:
    cutter = ndjson.Lines(limit)
    found = []
    for chunk in chunks:
        found += cutter.receive(chunk)
        cutter.check()
    return found + cutter.end()


CASES = {
    "one line": (b'{"a":1}\n', [b'{"a":1}\n']),
    "several lines": (b"1\n2\n3\n", [b"1\n", b"2\n", b"3\n"]),
    "CRLF": (b"1\r\n2\r\n", [b"1\n", b"2\n"]),
    "a lone CR ends no line": (b"[1,\r2]\n", [b"[1,2]\n"]),
    "blank lines": (b"\n\n1\n  \n\r\n\t\n2\n", [b"1\n", b"2\n"]),
    "spaces before a line": (b"   1\n", [b"   1\n"]),
    "no LF at the end": (b"1\n2", [b"1\n", b"2\n"]),
    "white space at the end": (b"1\n  ", [b"1\n"]),
    "nothing": (b"", []),
    "Unicode's line ends": ('"\u2028\u2029\x85"\n'.encode(), ['"\u2028\u2029\x85"\n'.encode()]),
    "form feed": (b"1\x0c\x1c\n", [b"1\x0c\x1c\n"]),
}


@pytest.mark.parametrize(("data", "expected"), CASES.values(), ids=CASES)
def test_cut_anywhere(data: bytes, expected: list[bytes]) -> None:
    assert lines(data) == expected
    assert lines(*(data[i : i + 1] for i in range(len(data)))) == expected
    for cut in range(len(data) + 1):
        assert lines(data[:cut], data[cut:]) == expected


@given(st.lists(st.binary(min_size=1).filter(lambda line: not {10, 13} & {*line} and line.strip())), st.data())
def test_any_chunks(wanted: list[bytes], data: st.DataObject) -> None:
    body = b"".join(line + b"\n" for line in wanted)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(body)))))
    chunks = [body[start:stop] for start, stop in zip([0, *cuts], [*cuts, len(body)], strict=True)]
    assert lines(*chunks) == [line + b"\n" for line in wanted]


@pytest.mark.parametrize("chunk", [1, 7, 1000])
@pytest.mark.parametrize("ending", [b"", b"\n", b"\n1\n"])
def test_a_line_beyond_the_limit(chunk: int, ending: bytes) -> None:
    body = b"1\n" + b"x" * 101 + ending
    with pytest.raises(BackendGarbled, match=r"100 bytes \(limits\.line\)") as caught:
        lines(*(body[i : i + chunk] for i in range(0, len(body), chunk)), limit=100)
    assert caught.value.layer == "parse"


@pytest.mark.parametrize("ending", [b"", b"\n", b"\n4\n"])
def test_the_lines_before_a_long_one_come_out(ending: bytes) -> None:
    cutter = ndjson.Lines(100)
    assert cutter.receive(b"1\n2\n" + b"x" * 99 + b"\n" + b"x" * 101 + ending) == [b"1\n", b"2\n", b"x" * 99 + b"\n"]
    with pytest.raises(BackendGarbled):
        cutter.check()


def test_many_lines_are_no_long_line() -> None:
    assert len(lines(b"1234567\n" * 1000, limit=8)) == 1000


@given(st.text())
def test_no_text_makes_a_second_line(text: str) -> None:
    line = ndjson.line({"text": text})
    assert len(line.decode().splitlines()) == 1
    assert json.loads(line) == {"text": text}


@pytest.mark.parametrize("separator", ["\x85", "\u2028", "\u2029"])
def test_each_separator_is_escaped(separator: str) -> None:
    assert ndjson.line("a" + separator) == b'"a\\u%04x"\n' % ord(separator)


def test_escape_changes_nothing_else() -> None:
    text = '"Âà “…” 流\u2027\u202a"'.encode()
    assert jsontext.escape(text) == text
