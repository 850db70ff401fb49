"""A real browser on a foreign page: whatever the page does, nothing of it reaches a handler.

The same page from an origin that the owner has listed does, so that each attack could succeed.
"""

from __future__ import annotations

import hashlib
from collections import Counter
from pathlib import Path
from typing import Any

import msgspec
import pytest
import trio
from chromium import CHROMIUM, Rebound, Site, opened

from penstock.config.model import Backend, Config, Key, Route, Server
from penstock.config.secrets import Reference
from penstock.errors import PenstockError
from penstock.observe.observer import Observer
from penstock.relay.outcome import Outcome
from penstock.service.daemon import Daemon
from penstock.simulate.server import Settings, Simulation, serve

pytestmark = [
    pytest.mark.heavy,
    pytest.mark.browser,
    pytest.mark.skipif(CHROMIUM is None, reason="chromium is missing: apt-get install chromium"),
]

#: What every page does.  Each way has a path of its own, by which the daemon's log tells them apart.
SCRIPT = (Path(__file__).parent / "page.html").read_text()


class Place(msgspec.Struct):
    """The daemon, its backend, and what the daemon told."""

    daemon: Daemon
    port: int
    simulation: Simulation
    outcomes: trio.MemoryReceiveChannel[Outcome]
    #: (method, path, code) of every refusal
    refused: Counter[tuple[str, str, str]]


async def settle(
    nursery: trio.Nursery, monkeypatch: pytest.MonkeyPatch, keys: tuple[Key, ...] = (), **server: Any
) -> Place:
    refused: Counter[tuple[str, str, str]] = Counter()
    tell = Observer.refused

    def telling(self: Observer, method: str, path: str, error: PenstockError) -> None:
        refused[method, path, error.code] += 1
        tell(self, method, path, error)

    monkeypatch.setattr(Observer, "refused", telling)
    simulation = await nursery.start(serve, Settings(script="tokens=2", models={"m": "tokens=2"}))
    config = Config(
        server=Server(listen=("127.0.0.1:0",), **server),
        backends={"b": Backend(kind="simulate", url=simulation.url, slots=8)},
        routes={"*": Route(targets=("b/sim:tokens=2",))},
        keys=keys,
    )
    send, outcomes = trio.open_memory_channel[Outcome](100)
    daemon = Daemon(config, send.send_nowait)
    (address,) = await nursery.start(daemon.serve)
    return Place(daemon, int(address.rpartition(":")[2]), simulation, outcomes, refused)


def page(ways: str, port: int, report: str = "") -> str:
    return SCRIPT.replace("%PORT%", str(port)).replace("%WAYS%", ways).replace("%REPORT%", report)


def untouched(place: Place) -> None:
    """No handler has run: nothing was asked of the backend, no stream has been, the daemon counted refusals only."""
    assert place.simulation.records.counters.accepted == 0
    assert place.outcomes.statistics().current_buffer_used == 0
    assert {code for _, _, code in place.refused} <= {"wrong_host", "foreign_origin"}
    text = place.daemon.state.observer.scrape()[0].decode()
    assert not [
        line for line in text.splitlines() if line.startswith("penstock_streams_total") and not line.endswith(" 0.0")
    ]


#: What the daemon sees of a foreign page: every way is here, so each was tried and each was refused.
REFUSED = {
    ("POST", "/v1/chat/completions", "foreign_origin"),
    ("POST", "/v1/completions", "foreign_origin"),
    ("OPTIONS", "/api/chat", "foreign_origin"),
    ("OPTIONS", "/api/delete", "foreign_origin"),
    ("GET", "/v1/models", "foreign_origin"),
    ("GET", "/api/tags", "foreign_origin"),
    ("GET", "/api/v1/model", "wrong_host"),
    ("GET", "/api/version", "foreign_origin"),
    ("GET", "/api/ps", "foreign_origin"),
    ("GET", "/metrics", "foreign_origin"),
    ("GET", "/health", "foreign_origin"),
    ("POST", "/api/generate", "foreign_origin"),
    ("POST", "/api/extra/abort", "foreign_origin"),
    ("GET", "/api/chat/stream", "foreign_origin"),
    ("GET", "/api/ws/chat", "foreign_origin"),
}


async def test_a_foreign_page_reaches_no_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    place = await settle(nursery, monkeypatch)
    site = Site(page("ways", place.port))
    await nursery.start(site.serve)
    with trio.fail_after(90):
        async with opened(f"http://evil.test:{site.port}/", tmp_path, names={"evil.test": "127.0.0.1"}):
            said = await site.report()
    untouched(place)
    assert place.refused.keys() == REFUSED
    # and it has read nothing: no text, no status, no event
    assert {name for name, result in said.items() if result != "failed"} <= {
        "POST as text", "POST as a form", "GET unread", "GET from nowhere", "frame", "form", "beacon",
    }  # fmt: skip
    assert {said[name] for name in ("POST as text", "POST as a form", "GET unread", "GET from nowhere")} <= {
        "opaque",
        "failed",
    }


async def test_a_rebound_name_reaches_no_handler(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The page is of the daemon's own origin then, as far as the browser knows: no Origin, no preflight."""
    place = await settle(nursery, monkeypatch)
    reports = Site("")
    await nursery.start(reports.serve)
    rebound = Rebound(Site(page("own", place.port, f"http://evil.test:{reports.port}")), ("127.0.0.1", place.port))
    await nursery.start(rebound.serve, "127.0.0.2")
    names = {"rebound.test": "127.0.0.2", "evil.test": "127.0.0.1"}
    with trio.fail_after(90):
        async with opened(f"http://rebound.test:{place.port}/", tmp_path, names=names):
            said = await reports.report()
    untouched(place)
    refused = {key for key in place.refused if key[1] != "/favicon.ico"}
    assert refused == {
        ("GET", "/v1/models", "wrong_host"),
        ("GET", "/api/chat/stream", "wrong_host"),
        ("POST", "/v1/chat/completions", "wrong_host"),
        ("GET", "/api/ws/chat", "wrong_host"),
    }
    # it can read the refusal, as any page can read its own server
    assert "allowed_hosts" in said["GET"] and "allowed_hosts" in said["POST as JSON"]
    assert said["socket"] == "failed"


async def test_a_listed_page_does_reach_them(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The control: the same script, and all that differs is that the owner has listed its origin."""
    site = Site("")
    await nursery.start(site.serve)
    place = await settle(nursery, monkeypatch, allowed_origins=(f"http://friend.test:{site.port}",))
    site.page = page("ways", place.port).encode()
    with trio.fail_after(90):
        async with opened(f"http://friend.test:{site.port}/", tmp_path, names={"friend.test": "127.0.0.1"}):
            said = await site.report()
    assert '"done":true' in said["POST as JSON"]
    assert '"object":"list"' in said["GET"]
    assert "reason" in said["events"]
    assert said["socket"] == "open"
    assert place.simulation.records.counters.requests >= 2
    # what carries no origin stays out, whoever's page it is
    assert ("GET", "/api/tags", "foreign_origin") in place.refused
    assert ("GET", "/api/v1/model", "wrong_host") in place.refused


async def test_a_listed_page_shows_its_key_as_a_subprotocol(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, nursery: trio.Nursery
) -> None:
    """The one way that a browser leaves to a WebSocket; what it is not answered with, it takes for a failure."""
    site = Site("")
    await nursery.start(site.serve)
    # as JavaScript's btoa sees it: one byte a character
    key = Key(name="page", key=Reference.parse(digest_of("sk-p\u00e4ge".encode("latin-1"))))
    place = await settle(nursery, monkeypatch, (key,), allowed_origins=(f"http://friend.test:{site.port}",))
    site.page = page("keyed", place.port).encode()
    with trio.fail_after(90):
        async with opened(f"http://friend.test:{site.port}/", tmp_path, names={"friend.test": "127.0.0.1"}):
            said = await site.report()
    assert said.pop("its key").startswith('penstock.chat {"type":"done"')
    assert said == dict.fromkeys(("a wrong key", "no key", "its key alone"), "failed")
    assert place.refused == {("GET", "/api/ws/chat", "unauthorized"): 2, ("GET", "/api/ws/chat", "bad_request"): 1}


def digest_of(key: bytes) -> str:
    return f"sha256:{hashlib.sha256(key).hexdigest()}"
