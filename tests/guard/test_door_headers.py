"""What goes through: nothing of a client's head to a backend, nothing of a backend's head to a client."""

from __future__ import annotations

import json
from functools import partial

import msgspec
import pytest
import trio
from door import key, open_door

from penstock.config.model import Backend, Config, Route, Server
from penstock.config.secrets import Reference
from penstock.service.daemon import Daemon
from rawhttp import answered, call, get

CANARY = "c4n4ry"
#: Everything that a client, or a proxy before it, might put into its head.
HEADERS = [
    f"Authorization: Bearer {CANARY}", f"X-Api-Key: {CANARY}", f"api-key: {CANARY}", f"Cookie: session={CANARY}",
    f"Proxy-Authorization: Basic {CANARY}", f"Forwarded: for={CANARY}", f"X-Forwarded-For: {CANARY}",
    f"X-Forwarded-Host: {CANARY}", f"X-Real-IP: {CANARY}", f"Via: 1.1 {CANARY}", f"Referer: http://{CANARY}/",
    f"User-Agent: {CANARY}", f"Accept: {CANARY}/x", f"Accept-Language: {CANARY}", f"X-Stainless-Lang: {CANARY}",
    f"traceparent: 00-{CANARY}", f"X-Canary: {CANARY}", f"Connection: keep-alive, X-{CANARY}", f"X-{CANARY}: 1",
    f"X-Simulate: sim:text={CANARY}", f"OpenAI-Organization: {CANARY}", f"Helicone-Auth: {CANARY}",
    f"api-base: http://{CANARY}/", f"X-LiteLLM-Api-Base: http://{CANARY}/",
]  # fmt: skip


@pytest.mark.parametrize("path", ["/v1/chat/completions", "/v1/completions", "/api/chat", "/api/generate"])
async def test_a_clients_head_stays_with_penstock(path: str, nursery: trio.Nursery) -> None:
    """Its key above all: a backend gets its own, or none."""
    door = await open_door(nursery, keys=(key("laptop", CANARY),))
    status, _, _ = await answered(door.address, call("sim", *HEADERS, path=path))
    assert status == 200
    (asked,) = door.asked
    assert CANARY not in json.dumps([asked.path, asked.headers, asked.body]).lower()
    assert {name.lower() for name, _ in asked.headers} <= {
        "host",
        "accept",
        "accept-encoding",
        "content-type",
        "content-length",
        "user-agent",
        "connection",
    }


async def test_a_clients_key_is_in_no_log_and_no_metric(
    nursery: trio.Nursery, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nor is what it asked; also when it is refused."""
    door = await open_door(nursery, keys=(key("laptop", CANARY, admin=True),))
    await answered(door.address, call("sim", f"api-key: {CANARY}", user=f"{CANARY}-body"))
    await door.outcome()
    await answered(door.address, call("sim", f"api-key: wrong-{CANARY}", f"X-Api-Key: {CANARY}"))
    await answered(door.address, get(f"/v1/nowhere?key={CANARY}", f"Cookie: {CANARY}"))
    _, _, metrics = await answered(door.address, get("/metrics", f"api-key: {CANARY}"))
    told = capsys.readouterr()
    assert "key=laptop" in told.out
    assert "request refused" in told.out
    assert CANARY not in told.out + told.err + metrics.decode()


async def test_lists_and_probes_carry_nothing_either(nursery: trio.Nursery) -> None:
    """The questions that penstock asks by itself, on behalf of a client."""
    heads: list[bytes] = []
    backend = await played(nursery, heads, b'{"object": "list", "data": [{"id": "m"}]}')
    address = await daemon(nursery, backend)
    for path in ("/v1/models", "/v1/models/m", "/api/tags", "/api/ps"):
        assert (await answered(address, get(f"{path}?key={CANARY}", *HEADERS)))[0] == 200
    assert heads
    assert not [head for head in heads if CANARY in head.decode().lower()]


async def test_p6_a_client_chooses_no_backend(nursery: trio.Nursery) -> None:
    """P6 (api_base from the client): whatever it says, only the configured backend is asked, with nobody's key."""
    called: list[bytes] = []
    attacker = await played(nursery, called, b"{}")
    door = await open_door(nursery)
    url = attacker.url
    said: dict[str, object] = dict.fromkeys(
        ("api_base", "base_url", "url", "host", "endpoint", "proxy", "server", "target", "backend", "provider"), url
    )
    said |= {"headers": {"X-Canary": CANARY}, "extra_headers": {"X-Canary": CANARY}, "api_key": CANARY}
    said |= {"extra_body": {"api_base": url}, "litellm_params": {"api_base": url}, "user_config": {"api_base": url}}
    for path in ("/v1/chat/completions", "/v1/completions", "/api/chat", "/api/generate"):
        status, headers, _ = await answered(door.address, call("sim", f"X-Api-Base: {url}", path=path, **said))
        assert (status, headers["x-penstock-target"]) == (200, "b/sim")
    for model in (f"{url}/v1", f"b@{url}", "openai/../sim", "b/other"):
        status, headers, _ = await answered(door.address, call(model))
        assert (status, headers["x-penstock-target"]) == (200, f"b/{model}")
    assert {asked.path for asked in door.asked} == {"/v1/chat/completions", "/v1/completions"}
    assert not [asked for asked in door.asked if CANARY in str(asked.headers)]
    for asked in door.asked:
        assert (
            not {"api_base", "base_url", "url", "host", "headers", "extra_headers", "api_key"}
            & json.loads(asked.body).keys()
        )
    assert called == []


@pytest.mark.parametrize("status", ["301 Moved", "302 Found", "303 See", "307 There", "308 There"])
async def test_p7_no_redirect_is_followed(status: str, nursery: trio.Nursery) -> None:
    """P7 (a key that follows a redirect): the client is told where the redirect came from, nobody else is asked."""
    called: list[bytes] = []
    elsewhere = await played(nursery, called, b"{}")
    backend = await played(nursery, [], b"", status, [f"Location: {elsewhere.url}/v1/chat/completions"])
    address = await daemon(nursery, msgspec.structs.replace(backend, api_key=Reference.parse("sk-backend")))
    got, _, body = await answered(address, call("m"))
    assert (got, b"redirect" in body) == (502, True)
    assert (await answered(address, get("/v1/models")))[0] == 200
    assert called == []


BACKENDS_OWN = [
    "Set-Cookie: session=c4n4ry", "Server: c4n4ry/1.0", "X-Powered-By: c4n4ry", 'Alt-Svc: h2="c4n4ry:443"',
    "Access-Control-Allow-Origin: *", "Access-Control-Allow-Credentials: true", "Strict-Transport-Security: max-age=1",
    "Location: http://c4n4ry/", "X-Request-Id: c4n4ry", "Link: <http://c4n4ry/>",
    "WWW-Authenticate: Basic realm=c4n4ry", "Vary: c4n4ry", "Via: 1.1 c4n4ry", "X-Penstock-Stream: c4n4ry",
    "Cache-Control: public", "Refresh: 0;url=http://c4n4ry",
]  # fmt: skip

#: All that a client is ever told in a head.
TOLD = {
    "date", "content-type", "content-length", "transfer-encoding", "connection", "cache-control", "x-accel-buffering",
    "x-penstock-stream", "x-penstock-target", "x-penstock-dropped", "x-should-retry", "retry-after",
}  # fmt: skip

ANSWER = (
    b'data: {"id":"x","object":"chat.completion.chunk","created":1,"model":"m",'
    b'"choices":[{"index":0,"delta":{"role":"assistant","content":"hi"},"finish_reason":"stop"}]}\n\ndata: [DONE]\n\n'
)


@pytest.mark.parametrize("status", ["200 OK", "400 Bad", "401 No", "429 Slow", "500 Oops", "302 Found"])
@pytest.mark.parametrize("stream", [True, False], ids=["stream", "whole"])
async def test_a_backends_head_stays_with_penstock(stream: bool, status: str, nursery: trio.Nursery) -> None:
    """Also when it refuses; its cookies, names and permissions are not the client's."""
    media = "text/event-stream" if status.startswith("200") else "application/json"
    body = ANSWER if status.startswith("200") else b'{"error": {"message": "no", "type": "t", "code": "c"}}'
    backend = await played(nursery, [], body, status, [f"Content-Type: {media}", *BACKENDS_OWN])
    address = await daemon(nursery, backend)
    for path in ("/v1/chat/completions", "/api/chat"):
        got, headers, _ = await answered(address, call("m", path=path, stream=stream))
        assert (got == 200) == status.startswith("200")
        assert headers.keys() <= TOLD
        assert CANARY not in json.dumps(headers).lower()


async def played(
    nursery: trio.Nursery,
    heads: list[bytes],
    body: bytes,
    status: str = "200 OK",
    headers: list[str] | None = None,
) -> Backend:
    """A backend that keeps every head it gets and always answers the same."""
    lines = [f"HTTP/1.1 {status}", *(headers or ["Content-Type: application/json"]), f"Content-Length: {len(body)}"]
    answer = "\r\n".join([*lines, "Connection: close", "", ""]).encode() + body

    async def converse(stream: trio.SocketStream) -> None:
        async with stream:
            data = b""
            while b"\r\n\r\n" not in data:
                more = bytes(await stream.receive_some())
                if not more:
                    return
                data += more
            heads.append(data)
            await stream.send_all(answer)
            await stream.send_eof()
            while await stream.receive_some():
                pass

    (listener,) = await nursery.start(partial(trio.serve_tcp, converse, 0, host="127.0.0.1"))
    return Backend(kind="openai", url=f"http://127.0.0.1:{listener.socket.getsockname()[1]}")


async def daemon(nursery: trio.Nursery, backend: Backend) -> str:
    config = Config(
        server=Server(listen=("127.0.0.1:0",)), backends={"b": backend}, routes={"*": Route(targets=("b",))}
    )
    (address,) = await nursery.start(Daemon(config).serve)
    assert isinstance(address, str)
    return address
