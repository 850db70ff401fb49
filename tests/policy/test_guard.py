"""The guard's rules as tables: what comes in, by which header it is refused, and with which status."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from penstock.config.model import Server
from penstock.errors import PenstockError
from penstock.policy.guard import Asked, GuardRules, cors, may_connect, preflight, read, refusal, rules_of

Head = list[tuple[bytes, bytes]]

RULES = rules_of([("127.0.0.1", 11435)], Server())
PAGES = rules_of(
    [("127.0.0.1", 11435)],
    Server(allowed_origins=("http://localhost:3000", "vscode-webview://*", "chrome-extension://abc")),
)
HOST = (b"host", b"localhost:11435")
JSON = (b"content-type", b"application/json")
BODY = (b"content-length", b"2")


def status(headers: Head, rules: GuardRules = RULES, method: str = "POST", *, unix: bool = False) -> int | None:
    error = refusal(rules, read(method, headers, unix=unix))
    return error.status if error else None


# --- Host


@pytest.mark.parametrize(
    ("listening", "names"),
    [
        ([("127.0.0.1", 11435)], {"localhost:11435", "127.0.0.1:11435"}),
        ([("::1", 11435)], {"localhost:11435", "[::1]:11435"}),
        ([("127.0.0.1", 1), ("::1", 2)], {"localhost:1", "127.0.0.1:1", "localhost:2", "[::1]:2"}),
        ([("127.0.0.1", 80)], {"localhost", "localhost:80", "127.0.0.1", "127.0.0.1:80"}),
        ([("127.8.9.1", 1)], {"127.8.9.1:1"}),
        ([("0.0.0.0", 1)], {"localhost:1", "127.0.0.1:1"}),
        ([("::", 1)], {"localhost:1", "[::1]:1"}),
        ([("192.168.1.2", 1)], set()),
        ([], set()),
    ],
)
def test_the_names_come_from_the_listeners(listening: list[tuple[str, int]], names: set[str]) -> None:
    assert rules_of(listening, Server()).hosts == {name.encode() for name in names}


def test_the_owner_adds_names() -> None:
    server = Server(allowed_hosts=("box.lan", "localhost:8080", "[fd00::1]", "[fd00::2]:80"))
    assert rules_of([("192.168.1.2", 1)], server).hosts == {
        b"box.lan:1",
        b"localhost:8080",
        b"[fd00::1]:1",
        b"[fd00::2]:80",
        b"[fd00::2]",
    }


@pytest.mark.parametrize("host", [b"localhost:11435", b"127.0.0.1:11435", b"LocalHost:11435"])
def test_a_client_of_this_machine_comes_in(host: bytes) -> None:
    assert status([(b"host", host), JSON, BODY]) is None


FOREIGN_HOSTS = [
    b"", b" ", b"localhost", b"127.0.0.1", b"localhost:", b"localhost:80", b"localhost:11434", b"localhost:011435",
    b"localhost:11435:11435", b"localhost:+11435", b"localhost:111435", b"localhost:0x2cab", b"localhost.:11435",
    b"localhost.localdomain:11435", b"localhost.evil.test:11435", b"evil.test", b"evil.test:11435", b"evil.local:11435",
    b"penstock.localhost:11435", b"box.internal:11435", b"0.0.0.0:11435", b"0:11435", b"127.1:11435",
    b"127.0.0.2:11435", b"127.0.0.1.:11435", b"127.000.000.001:11435", b"2130706433:11435", b"0x7f000001:11435",
    b"0177.0.0.1:11435", b"[::1]:11435", b"[::]:11435", b"[::ffff:127.0.0.1]:11435", b"::1:11435", b"192.168.1.2:11435",
    b"169.254.169.254:11435", b"me@localhost:11435", b"me:pw@localhost:11435", b"localhost:11435/",
    b"localhost:11435/x", b"localhost:11435?x", b"localhost:11435#x", b"/localhost:11435",
    b"localhost:11435, evil.test",    b"localhost:11435 ", b"localhost\xa0:11435", b"localhos\xe2\x84\xaa:11435", b"http://localhost:11435",
    b"*", b"null",
]  # fmt: skip


@pytest.mark.parametrize("host", FOREIGN_HOSTS)
def test_any_other_name_is_misdirected(host: bytes) -> None:
    assert status([(b"host", host)], method="GET") == 421


def test_no_host_and_two_are_misdirected() -> None:
    assert status([]) == 421
    assert status([HOST, HOST]) == 421
    assert status([HOST, (b"host", b"evil.test")]) == 421


def test_the_refusal_names_the_key_to_set() -> None:
    """P21: a rule that is on by default says how to loosen it."""
    for headers, key in [
        ([(b"host", b"box.lan:11435")], "server.allowed_hosts"),
        ([HOST, (b"origin", b"http://localhost:3000")], "server.allowed_origins"),
        ([HOST, (b"sec-fetch-site", b"cross-site")], "server.allowed_origins"),
    ]:
        error = refusal(RULES, read("GET", headers))
        assert error is not None
        assert key in error.message
        assert headers[-1][1].decode() in error.message


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_a_refusal_repeats_only_what_can_be_read(host: bytes) -> None:
    error = refusal(RULES, read("GET", [(b"host", host)]))
    assert error is None or (error.message.isascii() and error.message.isprintable() and len(error.message) < 250)


# --- Origin and Sec-Fetch-Site

ORIGINS = {
    "absent": (None, None),
    "null": (b"null", 403),
    "own": (b"http://localhost:11435", 403),
    "empty": (b"", 403),
    "foreign": (b"http://evil.test", 403),
    "listed": (b"http://localhost:3000", None),
    "listed but for its scheme": (b"https://localhost:3000", 403),
    "listed but for its port": (b"http://localhost:30000", 403),
    "listed but for its case": (b"http://LOCALHOST:3000", 403),
    "listed as prefix": (b"http://localhost:3000.evil.test", 403),
    "extension by scheme": (b"vscode-webview://0a1b", None),
    "scheme alone": (b"vscode-webview", 403),
    "extension by name": (b"chrome-extension://abc", None),
    "another extension": (b"chrome-extension://xyz", 403),
}


@pytest.mark.parametrize("method", ["GET", "POST", "OPTIONS", "DELETE"])
@pytest.mark.parametrize(("origin", "refused"), ORIGINS.values(), ids=ORIGINS)
def test_an_origin_is_listed_or_refused(origin: bytes | None, refused: int | None, method: str) -> None:
    headers = [HOST] + ([(b"origin", origin)] if origin is not None else [])
    assert status(headers, PAGES, method) == refused
    assert status(headers, RULES, method) == (None if origin is None else 403)


def test_two_origins_are_none() -> None:
    assert status([HOST, (b"origin", b"http://localhost:3000"), (b"origin", b"http://evil.test")], PAGES) == 403
    assert status([HOST, (b"origin", b"http://localhost:3000"), (b"origin", b"http://localhost:3000")], PAGES) == 403


@pytest.mark.parametrize(
    ("sites", "refused"),
    [
        ([], None),
        ([b"none"], None),
        ([b"same-origin"], None),
        ([b"same-site"], 403),
        ([b"cross-site"], 403),
        ([b"None"], 403),
        ([b""], 403),
        ([b"none", b"cross-site"], 403),
    ],
)
def test_a_site_is_ours_or_refused(sites: list[bytes], refused: int | None) -> None:
    headers = [HOST, *((b"sec-fetch-site", site) for site in sites)]
    assert status(headers, method="GET") == refused
    assert status([*headers, (b"origin", b"http://localhost:3000")], PAGES, "GET") is None


#: What a browser sent to a loopback server from a page at http://evil.test:8002 (Chromium 156, headless).
DRIVE_BY = {
    "no-cors POST of JSON as text": (
        "POST",
        [(b"origin", b"http://evil.test:8002"), (b"sec-fetch-site", b"cross-site"), (b"content-type", b"text/plain")],
    ),
    "preflight of a JSON POST": (
        "OPTIONS",
        [(b"origin", b"http://evil.test:8002"), (b"access-control-request-method", b"POST")],
    ),
    "GET with cors": ("GET", [(b"origin", b"http://evil.test:8002"), (b"sec-fetch-site", b"cross-site")]),
    "GET without cors": ("GET", [(b"sec-fetch-site", b"cross-site")]),
    "WebSocket": ("GET", [(b"origin", b"http://evil.test:8002"), (b"upgrade", b"websocket")]),
}


@pytest.mark.parametrize(("method", "headers"), DRIVE_BY.values(), ids=DRIVE_BY)
def test_a_drive_by_is_refused(method: str, headers: Head) -> None:
    """P2, P4: a foreign page reaches nothing, by any of its ways."""
    assert status([HOST, *headers], RULES, method) == 403
    assert status([HOST, *headers], PAGES, method) == 403


@pytest.mark.parametrize("host", [b"0.0.0.0:11435", b"evil.test:11435"], ids=["0.0.0.0", "rebound name"])
def test_what_browsers_send_without_any_mark_is_known_by_its_host(host: bytes) -> None:
    """P1: neither Origin nor Sec-Fetch-Site comes along then."""
    assert status([(b"host", host)], method="GET") == 421


# --- bodies


@pytest.mark.parametrize(
    ("content_type", "tool", "page"),
    [
        (b"application/json", None, None),
        (b"Application/JSON; charset=utf-8", None, None),
        (b"application/vnd.api+json", None, None),
        (None, None, 415),
        (b"application/x-www-form-urlencoded", None, 415),
        (b"text/plain;charset=UTF-8", 415, 415),
        (b"", None, 415),
        (b"multipart/form-data; boundary=x", None, 415),
        (b"text/json", 415, 415),
        (b"text/html", 415, 415),
        (b"image/svg+json", 415, 415),
        (b"application/octet-stream", None, 415),
        (b"json", 415, 415),
        (b"\xff\xfe", 415, 415),
    ],
)
def test_a_body_is_json_or_a_file(content_type: bytes | None, tool: int | None, page: int | None) -> None:
    """From tools also files, and what ``curl -d`` and Node's ``fetch`` call JSON; from pages nothing that needs no
    preflight."""
    headers = [HOST, BODY] + ([(b"content-type", content_type)] if content_type is not None else [])
    assert status(headers) == tool
    assert status([*headers, (b"sec-fetch-mode", b"cors")]) == tool
    assert status([*headers, (b"origin", b"http://localhost:3000")], PAGES) == page
    assert status([*headers, (b"sec-fetch-site", b"same-origin")]) == page


def test_of_two_types_the_worse_counts() -> None:
    assert status([HOST, BODY, JSON, (b"content-type", b"text/html")]) == 415


@pytest.mark.parametrize(
    ("headers", "has_body"),
    [
        ([], False),
        ([(b"content-length", b"0")], False),
        ([(b"content-length", b"10")], True),
        ([(b"transfer-encoding", b"chunked")], True),
    ],
)
def test_without_a_body_its_type_does_not_matter(headers: Head, has_body: bool) -> None:
    headers = [HOST, (b"content-type", b"text/html"), *headers]
    assert status(headers) == (415 if has_body else None)


# --- CORS


def told(headers: Head, rules: GuardRules = PAGES, method: str = "GET") -> dict[bytes, bytes]:
    return dict(cors(rules, read(method, headers)))


def test_only_a_listed_origin_may_read() -> None:
    """S3: never ``*``, never credentials; nothing at all where nothing is listed."""
    assert told([HOST, (b"origin", b"http://localhost:3000")]) == {
        b"vary": b"Origin",
        b"access-control-allow-origin": b"http://localhost:3000",
    }
    for headers in ([HOST], [HOST, (b"origin", b"http://evil.test")], [HOST, (b"origin", b"null")]):
        assert told(headers) == {b"vary": b"Origin"}
        assert told(headers, RULES) == {}


ASKS = (b"access-control-request-method", b"POST")


def answered(
    *headers: tuple[bytes, bytes], rules: GuardRules = PAGES, method: str = "OPTIONS"
) -> dict[str, str] | None:
    head = [HOST, (b"origin", b"http://localhost:3000"), *headers]
    return preflight(rules, read(method, head), head)


def test_a_preflight_is_answered_with_what_was_asked() -> None:
    plain = {"Access-Control-Allow-Methods": "GET, POST, DELETE", "Access-Control-Max-Age": "600"}
    assert answered(ASKS) == plain
    assert answered(ASKS, (b"access-control-request-headers", b"content-type,X-Stainless-OS")) == {
        **plain,
        "Access-Control-Allow-Headers": "content-type,x-stainless-os",
    }
    assert answered(ASKS, (b"access-control-request-private-network", b"true")) == {
        **plain,
        "Access-Control-Allow-Private-Network": "true",
    }


@pytest.mark.parametrize("names", [b"", b"a b", b"a,,b", b"a\r\nset-cookie: x", b"a" * 1025, b"\xff"])
def test_what_are_no_header_names_is_not_repeated(names: bytes) -> None:
    answer = answered(ASKS, (b"access-control-request-headers", names))
    assert answer is not None
    assert "Access-Control-Allow-Headers" not in answer


def test_other_requests_are_no_preflights() -> None:
    assert answered() is None
    assert answered(ASKS, method="POST") is None
    assert answered(ASKS, rules=RULES) is None
    assert preflight(PAGES, read("OPTIONS", [HOST, ASKS]), [HOST, ASKS]) is None


# --- unix sockets


def test_a_unix_socket_knows_no_names_and_no_pages() -> None:
    for headers in ([], [(b"host", b"x")], [HOST, (b"origin", b"null")], [(b"sec-fetch-site", b"cross-site")]):
        assert status(headers, GuardRules(), unix=True) is None
    assert status([BODY, (b"content-type", b"text/html")], GuardRules(), unix=True) == 415


@pytest.mark.parametrize(
    ("uid", "own", "may"), [(0, 1000, True), (1000, 1000, True), (1001, 1000, False), (1, 0, False)]
)
def test_a_unix_socket_is_for_its_owner_and_root(uid: int, own: int, may: bool) -> None:
    assert may_connect(uid, own) is may


# --- whatever comes

HEADER = st.tuples(
    st.sampled_from([b"host", b"origin", b"sec-fetch-site", b"content-type", b"content-length", b"transfer-encoding"]),
    st.binary(max_size=40) | st.sampled_from([HOST[1], b"none", b"application/json", b"http://localhost:3000"]),
)


@settings(deadline=None)
@given(st.lists(HEADER, max_size=8))
def test_the_guard_decides_on_anything(headers: Head) -> None:
    """Only a request with our name comes in, and no header makes the guard fail."""
    asked = read("POST", headers)
    error = refusal(PAGES, asked)
    assert isinstance(asked, Asked)
    assert error is None or (isinstance(error, PenstockError) and error.status in (403, 415, 421))
    if error is None:
        assert [value.lower() for name, value in headers if name == b"host"] in ([HOST[1]], [b"127.0.0.1:11435"])
