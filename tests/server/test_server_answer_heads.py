"""What may stand in the head of an answer is what h11 would write there, no more and no less."""

from __future__ import annotations

import h11
import pytest

from penstock.server.http1 import line

GOOD = [
    (b"x-penstock-stream", b"0a1b2c000001"),
    (b"x-penstock-target", b"mock/a model with  blanks\tand a tab"),
    (b"x-penstock-dropped", b""),
    (b"x-words", "Grüße".encode("latin-1")),
    (b"!#$%&'*+-.^_`|~09az", b"a name of all signs there are"),
]
BAD = [
    (b"x-a", b"b\r\nset-cookie: c"),
    (b"x-a", b"b\nc"),
    (b"x-a", b"b\rc"),
    (b"x-a", b"b\n"),
    (b"x-a", b"b\0c"),
    (b"x-a", b"b\vc"),
    (b"x-a", b" b"),
    (b"x-a", b"b\t"),
    (b"x-a\r\nx-b", b"c"),
    (b"x-a\n", b"c"),
    (b"x-a:", b"c"),
    (b"x a", b"c"),
    (b"", b"c"),
]


def of_h11(name: bytes, value: bytes) -> bytes:
    connection = h11.Connection(h11.SERVER)
    connection.receive_data(b"GET / HTTP/1.1\r\nHost: a\r\n\r\n")
    connection.next_event()
    head = connection.send(h11.Response(status_code=200, headers=[(b"content-length", b"0"), (name, value)]))
    return head.removeprefix(b"HTTP/1.1 200 \r\ncontent-length: 0\r\n").removesuffix(b"\r\n")


@pytest.mark.parametrize(("name", "value"), GOOD)
def test_a_field_is_written_as_h11_writes_it(name: bytes, value: bytes) -> None:
    assert line(name, value) == of_h11(name, value)


@pytest.mark.parametrize(("name", "value"), BAD)
def test_what_h11_would_not_write_is_not_written(name: bytes, value: bytes) -> None:
    with pytest.raises(h11.LocalProtocolError):
        of_h11(name, value)
    with pytest.raises(ValueError, match="may not stand in a header"):
        line(name, value)
