"""Host, Origin and Sec-Fetch-Site at every route of a running daemon, over raw sockets."""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest
import trio
from door import Asking, Door, key, open_door

from rawhttp import answered, connected

LAPTOP = key("laptop", "sk-laptop")

#: Forms of a Host that is not ours; PORT is ours.
FOREIGN = [
    "", "localhost", "127.0.0.1", "localhost:", "localhost:80", "localhost:0PORT", "localhost:PORT0", "localhost:+PORT",
    "localhost:PORT:PORT", "localhost.:PORT", "localhost.evil.test:PORT", "evil.test", "evil.test:PORT",
    "evil.local:PORT", "penstock.localhost:PORT", "box.internal:PORT", "0.0.0.0:PORT", "0:PORT", "127.1:PORT",
    "127.0.0.2:PORT", "127.000.000.001:PORT", "2130706433:PORT", "0x7f000001:PORT", "0177.0.0.1:PORT", "[::1]:PORT",
    "[::]:PORT", "[::ffff:127.0.0.1]:PORT", "::1:PORT", "192.168.1.2:PORT", "169.254.169.254:PORT",
    "me@localhost:PORT", "me:pw@localhost:PORT", "localhost:PORT/", "localhost:PORT/health", "localhost:PORT?x",
    "localhost:PORT#x", "/localhost:PORT", "localhost:PORT, evil.test", "http://localhost:PORT", "*", "null",
    "localhost\xa0:PORT", "localhost:99999",
]  # fmt: skip


async def each(door: Door, requests: dict[str, bytes], refused: Callable[[int], bool]) -> None:
    """Every request of its own connection, some at a time; all must be refused."""
    wrong: list[str] = []
    limit = trio.CapacityLimiter(16)

    async def one(name: str, request: bytes) -> None:
        async with limit:
            status, headers, _ = await answered(door.address, request)
            if not refused(status) or "access-control-allow-origin" in headers:
                wrong.append(f"{name}: {status}")

    async with trio.open_nursery() as nursery:
        for name, request in requests.items():
            nursery.start_soon(one, name, request)
    assert wrong == []
    assert door.asked == []


async def test_p1_p5_no_other_name_reaches_any_route(nursery: trio.Nursery) -> None:
    """P1 (rebinding), P5 (a Host that would change the path), S1: every form at every route."""
    door = await open_door(nursery)
    requests = {
        f"{asking} of {host!r}": asking.raw(host=host.replace("PORT", str(door.port)))
        for asking in door.askings
        for host in FOREIGN
    }
    assert len(requests) > 40 * 15
    await each(door, requests, lambda status: status in (400, 421))


async def test_s1_no_host_two_hosts_and_a_foreign_target(nursery: trio.Nursery) -> None:
    door = await open_door(nursery)
    requests: dict[str, bytes] = {}
    for asking in door.askings:
        requests |= {
            f"{asking} without a host": asking.raw(host=None),
            f"{asking} without a host, HTTP/1.0": asking.raw(host=None, version="1.0"),
            f"{asking} with a foreign host, HTTP/1.0": asking.raw(host="evil.test", version="1.0"),
            f"{asking} with two hosts": asking.raw("Host: evil.test", host=f"localhost:{door.port}"),
            f"{asking} with an absolute target": asking.raw(
                host=f"localhost:{door.port}", target=f"http://evil.test{asking.path}"
            ),
            f"{asking} with absolute target and host": asking.raw(
                host="evil.test", target=f"http://evil.test{asking.path}"
            ),
        }
    await each(door, requests, lambda status: status in (400, 421))


async def test_p5_keys_are_asked_for_whatever_the_host_is(nursery: trio.Nursery) -> None:
    """With a key in use and none shown, no form of Host opens a route that its right form would not."""
    door = await open_door(nursery, keys=(LAPTOP,))
    requests = {
        f"{asking} of {host!r}": asking.raw(host=host.replace("PORT", str(door.port)))
        for asking in door.askings
        for host in ("HERE?", "localhost:PORT/health", "localhost:PORT?/health", "localhost:PORT#/health", "/health")
    }
    await each(door, requests, lambda status: status in (400, 421))


#: What the clients of this machine send beside Host.
CLIENTS = {
    "curl": ["User-Agent: curl/8.5", "Accept: */*"],
    "Python SDK": ["Authorization: Bearer ollama", "X-Stainless-Lang: python", "Accept-Encoding: gzip, deflate"],
    "Node fetch": ["Accept: */*", "Accept-Language: *", "Sec-Fetch-Mode: cors", "User-Agent: node"],
    "address bar": ["Sec-Fetch-Site: none", "Sec-Fetch-Mode: navigate", "Sec-Fetch-Dest: document"],
    "Anthropic SDK": ["x-api-key: x", "anthropic-version: 2023-06-01"],
}


@pytest.mark.parametrize("headers", CLIENTS.values(), ids=CLIENTS)
async def test_real_clients_come_in(headers: list[str], nursery: trio.Nursery) -> None:
    door = await open_door(nursery)
    for host in ("localhost", "127.0.0.1", "LOCALHOST"):
        for asking in (Asking("", "GET", "/api/tags"), Asking("", "POST", "/v1/chat/completions")):
            status, _, _ = await answered(door.address, asking.raw(*headers, host=f"{host}:{door.port}"))
            assert status == 200


async def test_curl_as_in_ollamas_own_examples(nursery: trio.Nursery) -> None:
    """``curl http://localhost:11434/api/generate -d '{…}'`` calls its JSON a form."""
    door = await open_door(nursery)
    body = b'{"model": "sim", "prompt": "hi", "stream": false}'
    head = f"POST /api/generate HTTP/1.1\r\nHost: localhost:{door.port}\r\n"
    for kind in ("Content-Type: application/x-www-form-urlencoded\r\n", ""):
        request = f"{head}{kind}Content-Length: {len(body)}\r\n\r\n".encode() + body
        assert (await answered(door.address, request))[0] == 200
        page = f"{head}{kind}Sec-Fetch-Site: none\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body
        assert (await answered(door.address, page))[0] == 415


async def test_ipv6_has_its_own_name(nursery: trio.Nursery) -> None:
    door = await open_door(nursery, listen=("[::1]:0",))
    asking = Asking("", "GET", "/api/tags")
    assert (await answered(door.address, asking.raw(host=f"[::1]:{door.port}")))[0] == 200
    assert (await answered(door.address, asking.raw(host=f"localhost:{door.port}")))[0] == 200
    assert (await answered(door.address, asking.raw(host=f"127.0.0.1:{door.port}")))[0] == 421


async def test_p21_the_refusal_says_which_key_to_set(nursery: trio.Nursery) -> None:
    """P21: and setting it helps."""
    tags, chat = Asking("", "GET", "/api/tags"), Asking("", "POST", "/v1/chat/completions")
    door = await open_door(nursery)
    status, _, body = await answered(door.address, tags.raw(host="box.lan:1"))
    assert status == 421
    assert json.loads(body) == {
        "error": "penstock is not box.lan:1; if it is meant to be, add this name to server.allowed_hosts"
    }
    status, _, body = await answered(door.address, chat.raw("Origin: http://localhost:3000"))
    assert status == 403
    assert json.loads(body)["error"] == {
        "message": "a page of origin http://localhost:3000 asks; "
        "if it is meant to, add this origin to server.allowed_origins",
        "type": "permission_error",
        "param": None,
        "code": "foreign_origin",
    }
    door = await open_door(nursery, allowed_hosts=("box.lan:1",), allowed_origins=("http://localhost:3000",))
    assert (await answered(door.address, tags.raw(host="box.lan:1")))[0] == 200
    assert (await answered(door.address, chat.raw("Origin: http://localhost:3000")))[0] == 200


@pytest.mark.parametrize(
    "headers",
    [
        ["Origin: http://evil.test"],
        ["Origin: null"],
        ["Origin: http://HERE"],
        ["Origin: chrome-extension://abc"],
        ["Sec-Fetch-Site: cross-site"],
        ["Sec-Fetch-Site: same-site"],
        ["Origin: http://evil.test", "Sec-Fetch-Site: same-origin"],
        ["Origin: http://evil.test", "Upgrade: websocket"],
    ],
    ids=", ".join,
)
async def test_p2_p4_a_foreign_page_reaches_no_route(headers: list[str], nursery: trio.Nursery) -> None:
    """P2 (any origin allowed), P4 (cross-site POST): 403 at every route, and no page may read that."""
    door = await open_door(nursery, allowed_origins=("http://localhost:3000",))
    requests = {str(asking): asking.raw(*headers) for asking in [*door.askings, Asking("", "GET", "/nowhere")]}
    await each(door, requests, lambda status: status == 403)


async def test_s4_a_page_sends_nothing_without_a_preflight(nursery: trio.Nursery) -> None:
    """The bodies that HTML forms and ``no-cors`` send are no JSON, also from a listed origin."""
    door = await open_door(nursery, allowed_origins=("http://localhost:3000",))
    for kind in ("text/plain", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x"):
        for asking in door.askings:
            if asking.method == "POST":
                raw = asking.raw("Origin: http://localhost:3000").replace(b"application/json", kind.encode())
                status, headers, _ = await answered(door.address, raw)
                assert (status, headers["access-control-allow-origin"]) == (415, "http://localhost:3000")
    assert door.asked == []


async def test_p2_s3_without_a_listed_origin_there_is_no_cors(nursery: trio.Nursery) -> None:
    """P2: whatever the answer is: 200, a stream, 404, 405, 415, 421, a preflight."""
    door = await open_door(nursery)
    requests = [asking.raw() for asking in door.askings]
    requests += [Asking("", "GET", "/nowhere").raw(), Asking("", "DELETE", "/health").raw()]
    requests += [Asking("", "GET", "/health").raw(host="evil.test"), Asking("", "OPTIONS", "/api/chat").raw()]
    requests += [PREFLIGHT.raw("Origin: http://evil.test", "Access-Control-Request-Method: POST")]
    statuses = set()
    for request in requests:
        status, headers, _ = await answered(door.address, request)
        statuses.add(status)
        assert not [name for name in headers if name.startswith("access-control") or name == "vary"], headers
    assert {200, 403, 404, 405, 421} <= statuses


PREFLIGHT = Asking("", "OPTIONS", "/v1/chat/completions")
PAGE = "http://localhost:3000"


async def test_s3_a_listed_page_reads_every_answer(nursery: trio.Nursery) -> None:
    """Streams and errors included; a preflight needs no key, which browsers do not send with it."""
    door = await open_door(nursery, keys=(LAPTOP,), allowed_origins=(PAGE,))
    asked = ["Access-Control-Request-Method: POST", "Access-Control-Request-Headers: authorization,content-type"]
    status, headers, body = await answered(door.address, PREFLIGHT.raw(f"Origin: {PAGE}", *asked))
    assert (status, body) == (204, b"")
    told = {name: value for name, value in headers.items() if name not in ("date", "content-type", "content-length")}
    assert told == {
        "access-control-allow-origin": PAGE,
        "access-control-allow-methods": "GET, POST, DELETE",
        "access-control-allow-headers": "authorization,content-type",
        "access-control-max-age": "600",
        "vary": "Origin",
    }
    statuses = set()
    for asking in [*door.askings, Asking("", "GET", "/nowhere")]:
        for shown in ([], ["Authorization: Bearer sk-laptop"]):
            status, headers, _ = await answered(door.address, asking.raw(f"Origin: {PAGE}", *shown))
            statuses.add(status)
            assert (headers["access-control-allow-origin"], headers["vary"]) == (PAGE, "Origin")
            assert "access-control-allow-credentials" not in headers
    assert {200, 401, 403, 404} <= statuses
    # what has no origin is told that an origin would have made a difference
    _, headers, _ = await answered(door.address, Asking("", "GET", "/").raw())
    assert headers["vary"] == "Origin"
    assert "access-control-allow-origin" not in headers


HANDSHAKE = [
    "Connection: Upgrade",
    "Upgrade: websocket",
    "Sec-WebSocket-Version: 13",
    "Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
]


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/api/chat", "/ws", "/"])
async def test_p4_a_websocket_handshake_is_guarded_too(path: str, nursery: trio.Nursery) -> None:
    """P4: browsers send no Sec-Fetch-Site with it, and ask for no preflight."""
    door = await open_door(nursery, keys=(LAPTOP,))
    asking = Asking("", "GET", path)
    for headers, host, wanted in (
        (["Origin: http://evil.test"], "HERE", 403),
        (["Origin: null"], "HERE", 403),
        ([f"Origin: http://localhost:{door.port}"], "HERE", 403),
        ([], "evil.test", 421),
        ([], "HERE", 401),
        (["Authorization: Bearer sk-laptop"], "HERE", 404),
    ):
        status, _, _ = await answered(door.address, asking.raw(*HANDSHAKE, *headers, host=host))
        assert status == wanted


async def test_the_guard_does_not_wait_for_the_body(nursery: trio.Nursery) -> None:
    """Nor is a stranger's body read."""
    door = await open_door(nursery, keys=(LAPTOP,))
    head = "POST /api/chat HTTP/1.1\r\nContent-Type: application/json\r\nContent-Length: 1000000\r\n"
    for headers, wanted in (("Host: evil.test", 421), ("Host: HERE\r\nOrigin: null", 403), ("Host: HERE", 401)):
        async with connected(door.address) as client:
            await client.send(f"{head}{headers}\r\n\r\n".encode())
            with trio.fail_after(20):
                status, _, _ = await client.answer()
            assert status == wanted
