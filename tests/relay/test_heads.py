"""Heads of messages to and from a backend: what is read, what is refused, and what goes out."""

from __future__ import annotations

import httpx
import pytest

from penstock.errors import BackendGarbled
from penstock.relay.heads import LARGEST_HEAD, end_of_head, read_head, request_head, with_body


def framing(data: bytes) -> tuple[int | None, bool]:
    head = read_head(data)
    return head.length, head.chunked


@pytest.mark.parametrize(
    ("data", "status", "headers"),
    [
        (b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\n\r\n", 200, {"content-type": "text/plain"}),
        (b"HTTP/1.1 200\r\n\r\n", 200, {}),
        (b"HTTP/1.1 204 \r\n\r\n", 204, {}),
        (b"HTTP/1.0 404 Not \xe4 there\nServer:x\n\n", 404, {"server": "x"}),
        (b"HTTP/1.1 200 OK\r\nX:\r\nY: \t a: b \t\r\n\r\n", 200, {"x": "", "y": "a: b"}),
        (b"HTTP/1.1 200 OK\r\nA: 1\r\nB: 2\r\na: 3\r\n\r\n", 200, {"a": "1, 3", "b": "2"}),
        (b"HTTP/1.1 200 OK\r\nA: one \r\n\t two\r\n  three\r\nB: 4\r\n\r\n", 200, {"a": "one two three", "b": "4"}),
    ],
)
def test_what_is_read(data: bytes, status: int, headers: dict[str, str]) -> None:
    head = read_head(data)
    assert (head.status_code, head.headers) == (status, headers)
    assert end_of_head(data) == end_of_head(data + b"\r\n\r\nbody") == len(data)


@pytest.mark.parametrize(
    "data",
    [
        b"HTTP/1.1 2000 OK\r\n\r\n",
        b"HTTP/1.1 099 No\r\n\r\n",
        b"HTTP/11 200 OK\r\n\r\n",
        b"HTTP/1.1  200 OK\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n folded: from nothing\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nNo colon\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nSpace : before\r\n\r\n",
        b"HTTP/1.1 200 OK\r\n: nameless\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: nul \0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nA: lone \r return\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nN\xe4me: x\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\nContent-Length: 6\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: -5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: +5\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: \xb2\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 100000000000000000000000\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n",
    ],
)
def test_what_is_refused(data: bytes) -> None:
    with pytest.raises(BackendGarbled, match=r"^the backend's answer is not HTTP/1.1: ") as caught:
        framing(data)
    assert caught.value.layer == "http"


def test_a_body_has_a_length_or_chunks() -> None:
    assert framing(b"HTTP/1.1 200 OK\r\ncontent-length: 5\r\nContent-Length: 5, 5\r\n\r\n") == (5, False)
    assert framing(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: Chunked\r\n\r\n") == (None, True)


def test_a_head_in_pieces_is_found_in_whatever_piece_it_ends() -> None:
    data = b"HTTP/1.1 200 OK\r\nA: b\r\n\r\n"
    for cut in range(len(data)):
        assert end_of_head(data[:cut]) is None
        assert end_of_head(data + b"more", cut) == len(data)


@pytest.mark.parametrize("data", [b"SSH-2.0-OpenSSH_9.6\r\n", b"\x15\x03\x01", b"http/1.1 200 OK", b"HTTQ"])
def test_what_can_be_no_head_is_known_by_its_beginning(data: bytes) -> None:
    with pytest.raises(BackendGarbled, match="does not begin with HTTP"):
        end_of_head(data)


def test_a_head_has_an_end() -> None:
    data = b"HTTP/1.1 200 OK\r\nA: ".ljust(LARGEST_HEAD + 1, b"x")
    assert end_of_head(data[:-1]) is None
    with pytest.raises(BackendGarbled, match="larger than 65536 bytes"):
        end_of_head(data)


def test_what_goes_out() -> None:
    request = httpx.Request("POST", "http://backend:8080/v1/a b?c=d", headers={"X-Y": "z"}, content=b"body")
    wire = with_body(request_head(request), "POST", b"body")
    head, _, body = wire.partition(b"\r\n\r\n")
    assert head.split(b"\r\n")[0] == b"POST /v1/a%20b?c=d HTTP/1.1"
    assert {b"Host: backend:8080", b"X-Y: z", b"Content-Length: 4"} == set(head.split(b"\r\n")[1:])
    assert body == b"body"
    assert with_body(b"GET / HTTP/1.1\r\n", "GET", b"") == b"GET / HTTP/1.1\r\n\r\n"
    assert with_body(b"POST / HTTP/1.1\r\n", "POST", b"") == b"POST / HTTP/1.1\r\nContent-Length: 0\r\n\r\n"
