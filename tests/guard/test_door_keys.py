"""Clients' keys at every route of a running daemon: who comes in, what each key opens, what is told to whom."""

from __future__ import annotations

import json
from contextlib import suppress
from typing import Any

import pytest
import trio
from door import Asking, key, open_door
from hypothesis import given, settings
from hypothesis import strategies as st

from asking import LANGUAGES, POSTED
from penstock.config.model import Route
from penstock.dialects.registry import NORTHBOUND
from penstock.errors import ConfigError, Unauthorized
from penstock.policy.keys import digest_text
from penstock.server.guarding import ADMIN, PUBLIC
from rawhttp import answered, call, connected, get, post

LAPTOP = key("laptop", digest_text("sk-laptop"))
OWNER = key("owner", "sk-owner", admin=True)
CODER = key("coder", "sk-coder", routes=("coder", "q*"))

GOOD = ["Authorization: Bearer sk-laptop", "X-Api-Key: sk-laptop", "api-key: sk-laptop"]
GOOD += ["Sec-WebSocket-Protocol: penstock.chat, bearer.c2stbGFwdG9w"]
BAD = [
    "Authorization: Bearer wrong",
    "Authorization: Bearer ",
    "Authorization: Basic c2stbGFwdG9w",
    "Authorization: sk-laptop",
    "X-Api-Key: wrong",
    "api-key: undefined",
    "Cookie: api-key=sk-laptop; Authorization=sk-laptop",
    "X-Auth-Token: sk-laptop",
    "X-Forwarded-User: laptop",
    "Sec-WebSocket-Protocol: penstock.chat, bearer.sk-laptop",
    "Sec-WebSocket-Protocol: c2stbGFwdG9w",
    f"api-key: {digest_text('sk-laptop')}",
]


async def test_p3_every_route_needs_a_key_but_those_that_are_named(nursery: trio.Nursery) -> None:
    """P3 (a list of protected paths that forgot one), S7: the routes come from the application itself.

    An owner's key opens exactly what everybody gets where keys are off.
    """
    door, unlocked = await open_door(nursery, keys=(LAPTOP, OWNER)), await open_door(nursery)
    public = set()
    for asking in door.askings:
        status, headers, body = await answered(door.address, asking.raw())
        if asking.endpoint in PUBLIC:
            public.add(str(asking))
            assert status == 200
        else:
            assert (status, headers["www-authenticate"]) == (401, "Bearer"), str(asking)
            assert b"penstock wants a key" in body
        usual, _, _ = await answered(unlocked.address, asking.raw())
        assert (await answered(door.address, asking.raw("Authorization: Bearer sk-owner")))[0] == usual, str(asking)
    assert public == {"GET /", "GET /api/version", "GET /health"}


async def test_p3_head_and_options_are_no_way_around(nursery: trio.Nursery) -> None:
    door = await open_door(nursery, keys=(LAPTOP,))
    others = [asking for asking in door.routes if asking.method in ("HEAD", "OPTIONS")]
    assert {asking.method for asking in others} == {"HEAD", "OPTIONS"}
    for asking in others:
        async with connected(door.address) as client:
            await client.send(asking.raw())
            status, _ = await client.head()
            assert status == (200 if asking.endpoint in PUBLIC else 401), str(asking)


async def test_p3_what_leads_nowhere_needs_a_key_too(nursery: trio.Nursery) -> None:
    """S7: a stranger cannot tell which paths and methods there are."""
    door = await open_door(nursery, keys=(LAPTOP,))
    for asking in (
        Asking("", "GET", "/nowhere"),
        Asking("", "POST", "/nowhere"),
        Asking("", "DELETE", "/v1/models"),
        Asking("", "GET", "/v1/chat/completions"),
        Asking("", "POST", "/metrics"),
        Asking("", "GET", "//metrics"),
        Asking("", "GET", "/metrics/"),
        Asking("", "GET", "/%6detrics"),
        Asking("", "GET", "/health/../metrics"),
        Asking("", "GET", "/api/version/../tags"),
    ):
        assert (await answered(door.address, asking.raw()))[0] == 401, str(asking)
        assert (await answered(door.address, asking.raw("api-key: sk-laptop")))[0] in (403, 404, 405), str(asking)


async def test_p9_every_carrier_holds_at_every_route(nursery: trio.Nursery) -> None:
    """P9 (restrictions that held for one header only): carrier by route by key."""
    door, unlocked = await open_door(nursery, keys=(LAPTOP, OWNER)), await open_door(nursery)
    for asking in door.askings:
        if asking.endpoint not in PUBLIC:
            usual, _, _ = await answered(unlocked.address, asking.raw())
            for header in GOOD:
                status, _, _ = await answered(door.address, asking.raw(header))
                assert status == (403 if asking.endpoint.startswith(ADMIN) else usual), f"{asking} with {header}"
                spoilt = asking.raw(header, "api-key: wrong", "X-Api-Key: sk-owner")
                assert (await answered(door.address, spoilt))[0] == 401


async def test_p10_nothing_else_is_a_key(nursery: trio.Nursery) -> None:
    """P10 (headers that anybody can forge), and no key in the query, which ends up in logs."""
    door = await open_door(nursery, keys=(LAPTOP,))
    tags = Asking("", "GET", "/api/tags")
    bodies = set()
    for header in BAD:
        status, _, body = await answered(door.address, tags.raw(header))
        assert status == 401, header
        bodies.add(body)
    for query in ("key", "api_key", "api-key", "apikey", "token", "access_token"):
        status, _, body = await answered(door.address, Asking("", "GET", f"/api/tags?{query}=sk-laptop").raw())
        assert status == 401
        bodies.add(body)
    assert len(bodies) == 1


AUTH_TEXT = st.lists(
    st.tuples(
        st.sampled_from(["Authorization", "Authorization: Bearer", "X-Api-Key", "Api-Key"]),
        st.binary(max_size=60).map(lambda text: bytes(c for c in text if c not in b"\r\n\0").strip()),
    ),
    min_size=1,
    max_size=3,
)


@settings(max_examples=20, deadline=None)
@given(st.lists(AUTH_TEXT, min_size=1, max_size=10))
def test_p11_any_text_in_any_carrier_is_refused_in_the_same_words(tries: list[list[tuple[str, bytes]]]) -> None:
    """P11 (an injection on the error path): 401 and one body; 400 where HTTP itself forbids the bytes."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            door = await open_door(nursery, keys=(LAPTOP,))
            for headers in tries:
                lines = [f"{name}: ".encode().replace(b": Bearer: ", b": Bearer ") + text for name, text in headers]
                head = b"\r\n".join([b"GET /api/tags HTTP/1.1", f"Host: localhost:{door.port}".encode(), *lines])
                status, _, body = await answered(door.address, head + b"\r\n\r\n")
                assert (status, body) == (401, STRANGER) or status == 400
            nursery.cancel_scope.cancel(reason="seen")

    trio.run(main)


STRANGER = json.dumps(
    {"error": "penstock wants a key that it knows, as 'Authorization: Bearer KEY', 'x-api-key: KEY' or 'api-key: KEY'"},
    separators=(",", ":"),
).encode()


async def test_s8_a_very_long_key_is_refused(nursery: trio.Nursery) -> None:
    door = await open_door(nursery, keys=(LAPTOP,))
    tags = Asking("", "GET", "/api/tags")
    assert (await answered(door.address, tags.raw("api-key: " + "x" * 60_000)))[0] == 401
    async with connected(door.address) as client:
        with trio.fail_after(20):
            with suppress(trio.BrokenResourceError):
                await client.send(tags.raw("api-key: " + "x" * 1_000_000))
            assert (await client.head())[0] in (400, 431)


@pytest.mark.parametrize("north", NORTHBOUND)
async def test_a_stranger_is_told_so_in_its_own_dialect(north: str, nursery: trio.Nursery) -> None:
    door = await open_door(nursery, keys=(LAPTOP,))
    language = LANGUAGES[north]
    request = post(language.path, language.asked()) if north in POSTED else get("/api/ws/chat")
    status, headers, body = await answered(door.address, request)
    assert (status, headers["content-type"], headers["www-authenticate"]) == (401, "application/json", "Bearer")
    assert body == NORTHBOUND[north].error(Unauthorized())
    assert b"penstock wants a key" in body


@pytest.mark.parametrize("header", ["Authorization: Bearer ", *BAD, *GOOD])
async def test_without_keys_whatever_is_sent_as_one_is_ignored(header: str, nursery: trio.Nursery) -> None:
    door = await open_door(nursery)
    for asking in (Asking("", "GET", "/metrics"), Asking("", "POST", "/v1/chat/completions")):
        assert (await answered(door.address, asking.raw(header, "Authorization: Bearer noop")))[0] == 200


async def test_admin_pages_are_for_owners(nursery: trio.Nursery) -> None:
    door = await open_door(nursery, keys=(LAPTOP, OWNER))
    health, metrics = Asking("", "GET", "/health"), Asking("", "GET", "/metrics")
    for headers in ([], ["api-key: sk-laptop"], ["api-key: wrong"]):
        status, _, body = await answered(door.address, health.raw(*headers))
        assert (status, json.loads(body)) == (200, {"status": "ok"})
    _, _, body = await answered(door.address, health.raw("api-key: sk-owner"))
    assert {"version", "streams", "backends"} <= json.loads(body).keys()
    assert (await answered(door.address, metrics.raw("api-key: sk-laptop")))[0] == 403
    assert (await answered(door.address, metrics.raw("api-key: sk-owner")))[0] == 200
    for method in ("GET", "POST"):
        reload = Asking("", method, "/reload")
        assert (await answered(door.address, reload.raw("api-key: sk-laptop")))[0] == 403
        # It is let in, and there is nothing from which this daemon could be configured anew.
        assert (await answered(door.address, reload.raw("api-key: sk-owner")))[0] == 404


async def test_a_key_sees_its_models_and_no_others(nursery: trio.Nursery) -> None:
    """What a key may not ask for does not exist for it: neither in a list, nor in an error, nor in a near name."""
    routes = {name: Route(targets=("b",)) for name in ("coder", "codes", "qwen", "secret")}
    door = await open_door(nursery, keys=(CODER, OWNER), routes=routes)
    asked = {name: f"Authorization: Bearer sk-{name}" for name in ("coder", "owner")}

    async def names(path: str, list_: str, name: str, who: str) -> set[str]:
        _, _, body = await answered(door.address, get(path, asked[who]))
        return {entry[name] for entry in json.loads(body)[list_]}

    for path, list_, name in (("/v1/models", "data", "id"), ("/api/tags", "models", "name")):
        assert await names(path, list_, name, "coder") == {"coder", "qwen"}
        assert await names(path, list_, name, "owner") == {"coder", "codes", "qwen", "secret"}
    assert await names("/api/ps", "models", "name", "coder") <= {"coder", "qwen"}

    for model in ("secret", "codes", "secret:latest", "secrez"):
        for request in (
            call(model, asked["coder"]),
            call(model, asked["coder"], path="/v1/completions"),
            call(model, asked["coder"], path="/api/chat"),
            get(f"/v1/models/{model}", asked["coder"]),
            post("/api/show", json.dumps({"model": model}).encode(), asked["coder"]),
        ):
            status, _, body = await answered(door.address, request)
            assert status == 404
            others = {"codes", "secret"} - {model.removesuffix(":latest")}
            assert not [name for name in others if name.encode() in body], body
    for model in ("coder", "coder:latest", "qwen"):
        assert (await answered(door.address, call(model, asked["coder"])))[0] == 200
    assert (await answered(door.address, call("codes", asked["owner"])))[0] == 200


async def test_a_key_sees_its_classes_and_no_others(nursery: trio.Nursery) -> None:
    """One for an editor's completions is no use for a chat, whatever the model is called."""
    fim = key("fim", "sk-fim", classes=("autocomplete",))
    routes = {
        "fim": Route(targets=("b",), class_="autocomplete"),
        "coder": Route(targets=("b",)),
        "*": Route(targets=("b",)),
    }
    door = await open_door(nursery, keys=(fim, OWNER), routes=routes)
    for shown, seen in (("api-key: sk-fim", {"fim"}), ("api-key: sk-owner", {"fim", "coder", "sim"})):
        for path, list_, name in (("/v1/models", "data", "id"), ("/api/tags", "models", "name")):
            _, _, body = await answered(door.address, get(path, shown))
            assert {entry[name] for entry in json.loads(body)[list_]} == seen
        for model in ("fim", "fim:latest", "coder", "whatever"):
            wanted = 200 if model.startswith("fim") or "owner" in shown else 404
            for request in (call(model, shown), call(model, shown, path="/api/chat")):
                status, _, body = await answered(door.address, request)
                assert status == wanted, (shown, model)
                assert status == 200 or b"coder" not in body.replace(b"'coder'", b"")


async def test_a_key_has_so_many_streams_and_no_more(nursery: trio.Nursery) -> None:
    """Also when all of them are asked for at the same instant; another key is not concerned."""
    keys = (key("two", "sk-two", max_streams=2), LAPTOP)
    door = await open_door(nursery, keys=keys, script="tokens=1000,rate=100")
    statuses: list[int] = []
    hold = trio.Event()

    async def one(header: str) -> None:
        async with connected(door.address) as client:
            await client.send(call("sim", header))
            statuses.append((await client.head())[0])
            await hold.wait()

    async with trio.open_nursery() as clients:
        for _ in range(6):
            clients.start_soon(one, "api-key: sk-two")
        for _ in range(3):
            clients.start_soon(one, "api-key: sk-laptop")
        with trio.fail_after(20):
            while len(statuses) < 9:
                await trio.sleep(0.01)
        assert sorted(statuses) == [200] * 5 + [429] * 4
        hold.set()
    ends = [await door.outcome() for _ in range(5)]
    assert sorted(outcome.key or "" for outcome in ends) == ["laptop"] * 3 + ["two"] * 2
    async with connected(door.address) as client:
        await client.send(call("sim", "api-key: sk-two"))
        assert (await client.head())[0] == 200


@pytest.mark.parametrize("listen", ["0.0.0.0:0", "[::]:0"])
@pytest.mark.parametrize(
    ("more", "told"),
    [
        ({}, "there are no [[keys]]"),
        ({"allowed_hosts": ("box.lan",)}, "there are no [[keys]]"),
        ({"keys": (LAPTOP,)}, "server.allowed_hosts must say"),
    ],
)
async def test_p20_others_reach_nothing_without_a_key(
    more: dict[str, Any], told: str, listen: str, nursery: trio.Nursery
) -> None:
    """P20 (open binds): penstock does not start, whatever wrote the configuration."""
    with pytest.raises(ConfigError, match="others can reach this address") as refusal:
        await open_door(nursery, listen=(listen,), **more)
    assert told in refusal.value.message


async def test_p22_the_rules_stay_on_where_others_reach_it(nursery: trio.Nursery) -> None:
    """P22 (a check that is off exactly when exposed, and trusts .local): with key and name it serves, by that name."""
    door = await open_door(nursery, listen=("0.0.0.0:0",), keys=(LAPTOP,), allowed_hosts=("box.lan",))
    address, tags = f"http://127.0.0.1:{door.port}", Asking("", "GET", "/api/tags")
    for host, wanted in (
        (f"box.lan:{door.port}", 200),
        (f"localhost:{door.port}", 200),
        (f"0.0.0.0:{door.port}", 421),
        (f"other.local:{door.port}", 421),
        (f"192.168.1.2:{door.port}", 421),
        ("box.lan", 421),
    ):
        assert (await answered(address, tags.raw("api-key: sk-laptop", host=host)))[0] == wanted, host
        assert (await answered(address, tags.raw(host=host)))[0] in (401, 421)
    foreign = tags.raw("api-key: sk-laptop", "Origin: http://box.lan", host=f"box.lan:{door.port}")
    assert (await answered(address, foreign))[0] == 403


async def test_two_names_for_one_key_stop_the_start(nursery: trio.Nursery) -> None:
    with pytest.raises(ConfigError, match="are the same key"):
        await open_door(nursery, keys=(LAPTOP, key("other", "sk-laptop")))
