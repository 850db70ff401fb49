from __future__ import annotations

import pytest

from penstock.config.addresses import (
    TcpAddress,
    UnixAddress,
    check_exposure,
    check_host,
    check_listen,
    check_origin,
    check_url,
    parse_listen,
)


@pytest.mark.parametrize(
    ("text", "address"),
    [
        ("127.0.0.1:11435", TcpAddress("127.0.0.1", 11435)),
        ("127.8.9.1:1", TcpAddress("127.8.9.1", 1)),
        ("localhost:65535", TcpAddress("localhost", 65535)),
        ("[::1]:0", TcpAddress("::1", 0)),
        ("unix:/run/penstock/penstock.sock", UnixAddress("/run/penstock/penstock.sock")),
    ],
)
def test_a_listen_address_is_read_and_written(text: str, address: TcpAddress | UnixAddress) -> None:
    assert parse_listen(text) == address
    assert str(address) == text
    assert check_listen(text) == text


@pytest.mark.parametrize(
    "text", ["0.0.0.0:80", "[::]:80", "192.168.1.2:11435", "[2001:db8::1]:1", "[::ffff:10.0.0.1]:1"]
)
def test_an_address_that_others_reach_asks_for_keys_and_a_name(text: str) -> None:
    address = parse_listen(text)
    with pytest.raises(ValueError, match="there are no \\[\\[keys\\]\\]"):
        check_exposure(address, has_keys=False, has_names=True)
    with pytest.raises(ValueError, match="allowed_hosts must say"):
        check_exposure(address, has_keys=True, has_names=False)
    check_exposure(address, has_keys=True, has_names=True)


@pytest.mark.parametrize("text", ["127.0.0.1:80", "127.8.9.1:80", "localhost:80", "[::1]:80", "unix:/run/p.sock"])
def test_an_address_of_this_machine_asks_for_nothing(text: str) -> None:
    check_exposure(parse_listen(text), has_keys=False, has_names=False)


@pytest.mark.parametrize(
    ("text", "host"),
    [
        ("box", "box"),
        ("Box.LAN", "box.lan"),
        ("a-b.c_d.example:443", "a-b.c_d.example:443"),
        ("192.168.1.2", "192.168.1.2"),
        ("[FD00::1]:80", "[fd00::1]:80"),
    ],
)
def test_a_host_is_kept_in_lower_case(text: str, host: str) -> None:
    assert check_host(text) == host


@pytest.mark.parametrize(
    "text",
    [
        "", "*", "*.lan", "box.", ".lan", "-box", "a..b", "me@box", "box/", "http://box", "box:0", "box:080",
        "box:65536", "box:", "0.0.0.0", "[::]", "[::]:1", "::1", "[127.0.0.1]", "127.1", "2130706433",
        "1.2.3.4.5", "bo x", "bóx",
    ],
)  # fmt: skip
def test_what_is_no_host_is_refused(text: str) -> None:
    with pytest.raises(ValueError, match=r"is no host|is no IP address|does not exist|an address to listen on"):
        check_host(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://localhost:3000", "https://chat.example", "http://[::1]:80", "vscode-webview://*", "app://obsidian.md",
        "chrome-extension://*", "moz-extension://6f7a2c",
    ],
)  # fmt: skip
def test_an_origin_is_kept(text: str) -> None:
    assert check_origin(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("null", "every sandboxed page"),
        ("*", "is no origin"),
        ("", "is no origin"),
        ("localhost:3000", "is no origin"),
        ("http://localhost:3000/", "is no origin"),
        ("HTTP://localhost", "is no origin"),
        ("http://*.example", "is no origin"),
        ("http://*:80", "would let every web page in"),
        ("https://*", "would let every web page in"),
        ("file://*", "would let every web page in"),
    ],
)
def test_what_is_no_origin_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_origin(text)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("127.0.0.1", "is no address"),
        ("11435", "is no address"),
        ("", "is no address"),
        ("127.0.0.1:", "is no address"),
        ("127.0.0.1:http", "is no address"),
        ("127.0.0.1:123456", "is no address"),
        ("127.0.0.1:65536", "port 65536 does not exist"),
        ("::1:80", "stands in brackets"),
        (":80", '"" is no IP address'),
        ("example.org:80", '"example.org" is no IP address'),
        ("127.1:80", '"127.1" is no IP address'),
        ("[127.0.0.1]:80", '"127.0.0.1" is no IP address'),
        ("[]:80", '"" is no IP address'),
        ("unix:penstock.sock", "absolute path"),
        ("unix:", "absolute path"),
        ("unix:/run/", "absolute path"),
        ("unix:/" + "a" * 107, "at most 107 bytes"),
        ("unix:/" + "ä" * 60, "at most 107 bytes"),
    ],
)
def test_what_is_no_listen_address_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_listen(text)


@pytest.mark.parametrize(
    "text",
    [
        "http://127.0.0.1:11434",
        "https://api.example.com/v1",
        "http://[::1]:8080/",
        "HTTP://box",
    ],
)
def test_a_url_is_kept(text: str) -> None:
    assert check_url(text) == text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "http or https URL with a host"),
        ("127.0.0.1:11434", "http or https URL with a host"),
        ("localhost:11434", "http or https URL with a host"),
        ("ftp://host", "http or https URL with a host"),
        ("http://", "http or https URL with a host"),
        ("http:///v1", "http or https URL with a host"),
        ("http://:80", "http or https URL with a host"),
        ("http://host:0", "http or https URL with a host"),
        ("http://host:99999", "Port out of range"),
        ("http://host:eighty", "is no URL"),
        ("http://[::1", "Invalid IPv6 URL"),
        ("http://ho st", "blanks"),
        ("http://host\n", "control characters"),
        ("http://host/?a=1", "no query"),
        ("http://host/#top", "no fragment"),
    ],
)
def test_what_is_no_backend_url_is_refused(text: str, message: str) -> None:
    with pytest.raises(ValueError, match=message):
        check_url(text)


def test_a_password_in_a_url_is_refused_and_not_repeated() -> None:
    with pytest.raises(ValueError, match="api_key") as refusal:
        check_url("https://me:hunter2@host")
    assert "hunter2" not in str(refusal.value)
