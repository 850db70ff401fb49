"""Chunked bodies come out the same however they are cut, and what is not chunked coding is told."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from penstock.errors import BackendGarbled
from penstock.relay.unchunk import Unchunker

GOOD = [
    (b"0\r\n\r\n", b""),
    (b"5\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"5\r\nhello\r\n6\r\n world\r\n0\r\n\r\n", b"hello world"),
    (b"A\r\n0123456789\r\na\r\n0123456789\r\n0\r\n\r\n", b"01234567890123456789"),
    (b"5;name=value\r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"5 \r\nhello\r\n0\r\n\r\n", b"hello"),
    (b"2\r\n\r\n\r\n0\r\n\r\n", b"\r\n"),
    (b"005\r\nhello\r\n000\r\n\r\n", b"hello"),
    (b"5\r\nhello\r\n0\r\nTrailer: x\r\nAnother: y\r\n\r\n", b"hello"),
]

BAD = [
    (b"5\r\nhelloXX0\r\n\r\n", "does not end where its size says"),
    (b"5\r\nhello\rX0\r\n\r\n", "does not end where its size says"),
    (b"-5\r\nhello\r\n", "not a chunk size"),
    (b"+5\r\nhello\r\n", "not a chunk size"),
    (b"5_0\r\nhello\r\n", "not a chunk size"),
    (b"0x5\r\nhello\r\n", "not a chunk size"),
    (b" 5\r\nhello\r\n", "not a chunk size"),
    (b"\r\nhello\r\n", "not a chunk size"),
    (b"f" * 16 + b"\r\n", "not a chunk size"),
    (b"1" * 300, "has no end"),
    (b"data: {}\n\n" * 40, "has no end"),
    (b"0\r\n" + b"T: " + b"x" * 20000, "trailers"),
    (b"0\r\n" + b"T: x\r\n" * 4000, "trailers"),
]


def run(pieces: list[bytes]) -> tuple[bytes, bool, bytes]:
    unchunker = Unchunker()
    payload = b"".join([unchunker.receive(piece) for piece in pieces])
    if unchunker.broken is not None:
        raise unchunker.broken
    return payload, unchunker.ended, unchunker.rest


@pytest.mark.parametrize(("wire", "payload"), GOOD)
def test_whole_split_at_every_byte_and_byte_by_byte(wire: bytes, payload: bytes) -> None:
    assert run([wire]) == (payload, True, b"")
    assert run([bytes([byte]) for byte in wire]) == (payload, True, b"")
    for cut in range(len(wire) + 1):
        assert run([wire[:cut], wire[cut:]]) == (payload, True, b"")


@pytest.mark.parametrize(("wire", "payload"), GOOD)
def test_what_follows_the_end_is_not_payload(wire: bytes, payload: bytes) -> None:
    assert run([wire + b"HTTP/1.1 200 OK"]) == (payload, True, b"HTTP/1.1 200 OK")


@pytest.mark.parametrize(("wire", "what"), BAD)
def test_what_is_not_chunked_coding_is_told_in_any_cut(wire: bytes, what: str) -> None:
    with pytest.raises(BackendGarbled, match=what) as caught:
        run([wire])
    assert caught.value.layer == "http"
    with pytest.raises(BackendGarbled, match=what):
        run([bytes([byte]) for byte in wire])


def test_what_came_before_it_is_payload_all_the_same() -> None:
    unchunker = Unchunker()
    assert unchunker.receive(b"5\r\nhello\r\n6\r\n world\r\nnot a size\r\n") == b"hello world"
    assert unchunker.broken is not None


def test_a_known_size_without_its_line_end_makes_no_chunk_of_what_went_before() -> None:
    payload = b"x" * 0xEC + b"\r\nyy"  # of 0xf0 bytes; 0xf0 from the beginning of the read is a line end, too
    chunk = b"f0\r\n" + payload + b"\r\n"
    unchunker = Unchunker()
    assert unchunker.receive(chunk) == payload
    assert unchunker.receive(chunk + b"f0\rX") == payload
    unchunker.receive(b"X" * 300)
    assert unchunker.broken is not None


@given(st.lists(st.binary(min_size=1, max_size=300), max_size=20), st.data())
def test_any_payload_in_any_cut(chunks: list[bytes], data: st.DataObject) -> None:
    wire = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in chunks) + b"0\r\n\r\n"
    pieces = []
    while wire:
        size = data.draw(st.integers(1, len(wire)))
        pieces.append(wire[:size])
        wire = wire[size:]
    assert run(pieces) == (b"".join(chunks), True, b"")
