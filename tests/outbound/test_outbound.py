"""Whom penstock connects to: the backends of its file, by the addresses of its file, and nobody a client names."""

from __future__ import annotations

import ast
import json
import socket
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import trio
from hypothesis import example, given, settings
from hypothesis import strategies as st

import penstock
from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.estate import Estate, named, running
from matrix.table import KINDS, VARIANTS, rule_of
from outbound import recorder
from rawhttp import answered

PACKAGE = Path(penstock.__file__).parent
#: The only paths at which a kind of backend is asked for an answer.
OPENAI = {"/v1/chat/completions", "/v1/completions", "/v1/responses"}
PATHS = dict.fromkeys(KINDS, OPENAI) | {
    "llamacpp": OPENAI | {"/infill"},
    "ollama": {"/api/chat", "/api/generate"},
    "koboldcpp": {"/api/extra/generate/stream", "/v1/chat/completions"},
    "anthropic": {"/v1/messages"},
}
#: Whatever somebody has once called the address of a backend, or what goes along with a request to it.
SAYS_WHERE = (
    "api_base", "base_url", "url", "host", "hostname", "endpoint", "proxy", "server", "target", "backend", "provider",
    "api_key", "headers", "extra_headers", "organization", "callback", "webhook",
)  # fmt: skip
CELLS = [
    pytest.param(client, kind, id=f"{client.name}-{kind}", marks=[pytest.mark.heavy] if kind in VARIANTS else [])
    for client in CLIENTS.values()
    for kind in KINDS
    if rule_of(client.name, kind, "text") is None
]


@pytest.fixture(scope="module")
def estate() -> Iterator[Estate]:
    with running() as estate:
        yield estate


# --- the recorder, and that it can find something --------------------------------------------------------------------

CALLS_ELSEWHERE = """
import socket
def call(port):
    with socket.create_connection(("127.0.0.1", port)):
        pass
"""
DIALS_ELSEWHERE = """
import httpx, socket
class Transport:
    base = httpx.URL("http://127.0.0.1:1")
    def _dial_network(self, port):
        with socket.create_connection(("127.0.0.1", port)):
            pass
call = Transport()._dial_network
"""


@pytest.fixture
def listening() -> Iterator[int]:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        yield listener.getsockname()[1]


@pytest.mark.parametrize("code", [CALLS_ELSEWHERE, DIALS_ELSEWHERE], ids=["call", "dial"])
def test_code_of_penstock_that_connects_elsewhere_is_found(code: str, listening: int) -> None:
    """Otherwise every other test of the suite would prove nothing by its silence."""
    module = {"__name__": "penstock.relay.rogue"}
    exec(code, module)
    module["call"](listening)
    (found,) = recorder.taken()
    assert str(listening) in found and "penstock.relay.rogue" in found


@pytest.mark.parametrize("code", [CALLS_ELSEWHERE, DIALS_ELSEWHERE], ids=["call", "dial"])
def test_in_a_process_of_its_own_too(code: str, listening: int) -> None:
    run = f"module = {{'__name__': 'penstock.relay.rogue'}}; exec({code!r}, module); module['call']({listening})"
    subprocess.run([sys.executable, "-c", run], check=True)
    (found,) = recorder.taken()
    assert str(listening) in found


async def test_a_task_is_known_by_those_that_wait_for_it(listening: int) -> None:
    """Names are connected to by tasks of trio's own, in which nothing of penstock is on the stack."""
    module = {"__name__": "penstock.relay.rogue", "trio": trio}
    exec("async def call(port):\n    await (await trio.open_tcp_stream('localhost', port)).aclose()", module)
    await module["call"](listening)
    assert recorder.taken()


def test_a_stream_is_seen_to_connect_to_its_backend(estate: Estate) -> None:
    status, _, _ = trio.run(
        answered, estate.daemon, CLIENTS["OpenAI chat"].request(named("openai", "tokens=1")[1], stream=True)
    )
    assert status == 200
    assert recorder.good > 0
    assert recorder.taken() == []


def test_addresses_come_from_the_configuration_and_from_the_owners_commands() -> None:
    """Where a transport is made, and so given its address."""
    made = {
        path.relative_to(PACKAGE).as_posix()
        for path in PACKAGE.rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "Transport"
    }
    assert made == {"relay/backends.py", "service/door.py", "service/probe.py"}


# --- what a client says has no power ---------------------------------------------------------------------------------


class Canary:
    """Somebody who must not be called."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._listener.setblocking(False)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"

    def was_called(self) -> bool:
        try:
            self._listener.accept()[0].close()
        except BlockingIOError:
            return False
        return True

    def close(self) -> None:
        self._listener.close()


@pytest.fixture
def canary() -> Iterator[Canary]:
    canary = Canary()
    yield canary
    canary.close()


def test_the_canary_sings(canary: Canary) -> None:
    host, _, port = canary.url.removeprefix("http://").partition(":")
    socket.create_connection((host, int(port))).close()
    assert canary.was_called() and not canary.was_called()


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_no_field_leads_elsewhere(estate: Estate, client: Client, kind: str, canary: Canary) -> None:
    """At the top of the body, nested, in options, in a message; the answer comes from the backend of the route."""
    secret = "c4n4ry-key"
    everything: dict[str, object] = dict.fromkeys(SAYS_WHERE, canary.url) | {"api_key": secret}
    nested = {name: dict(everything) for name in ("extra_body", "litellm_params", "options", "metadata", "user_config")}
    nested["metadata"] = {"user_id": canary.url}
    for said in (everything, nested):
        name, model = named(kind, "tokens=2")
        status, headers, body = await client.answered(estate.daemon, model, stream=True, **said)
        if status == 200:
            assert headers["x-penstock-target"] == f"{kind}/{model}"
            record = await estate.record(name)
            assert record["path"] in PATHS[kind]
            assert secret not in json.dumps(record["headers"])
            assert not (json.loads(record["body"]).keys() & {"api_base", "base_url", "headers", "extra_headers"})
        else:
            # refused is as good as left out
            assert status == 400, body
    assert not canary.was_called()


PICTURES: dict[str, Callable[[str], dict[str, object]]] = {
    "openai": lambda url: {
        "messages": [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}]
    },
    "responses": lambda url: {"input": [{"role": "user", "content": [{"type": "input_image", "image_url": url}]}]},
    "anthropic": lambda url: {
        "messages": [{"role": "user", "content": [{"type": "image", "source": {"type": "url", "url": url}}]}]
    },
    "ollama": lambda url: {"messages": [{"role": "user", "content": "x", "images": [url]}], "images": [url]},
    "koboldcpp": lambda url: {"images": [url]},
    "typed_events": lambda url: PICTURES["openai"](url),
    "websocket": lambda url: PICTURES["openai"](url),
}


@pytest.mark.parametrize(("client", "kind"), CELLS)
async def test_no_picture_is_fetched(estate: Estate, client: Client, kind: str, canary: Canary) -> None:
    """By a URL, with and without a scheme: it is passed on for the backend to decide, or refused."""
    for url in (f"{canary.url}/a.png", f"//{canary.url.removeprefix('http://')}/a.png", "file:///etc/hostname"):
        name, model = named(kind, "tokens=2")
        status, _, body = await client.answered(estate.daemon, model, stream=True, **PICTURES[client.dialect](url))
        assert status in (200, 400), body
        if status == 200:
            asked = (await estate.record(name))["body"]
            assert socket.gethostname() not in asked or socket.gethostname() in ("localhost", "")
    assert not canary.was_called()


#: Text that means something somewhere in a URL or a head, and any other.
AWKWARD = st.one_of(
    st.text(alphabet="/.?#@:%\\&= \t\r\nhtp-1271", max_size=40),
    st.sampled_from(
        ["../../admin", "http://evil.test/v1", "//evil.test", "%2e%2e%2f", "a\r\nHost: evil.test", "?x=1#y"]
    ),
    st.text(st.characters(exclude_categories=["Cs"]), max_size=20),
)


#: Each client with a kind of backend: all kinds.
ACROSS = [
    pytest.param(client, KINDS[number % len(KINDS)], id=client.name)
    for number, client in enumerate(CLIENTS.values())
    if rule_of(client.name, KINDS[number % len(KINDS)], "text") is None
]


@pytest.mark.parametrize(("client", "kind"), ACROSS)
def test_no_text_alters_the_path_or_the_host(estate: Estate, client: Client, kind: str) -> None:
    """Whatever stands in the model's name, in the prompt or in any field."""

    @settings(max_examples=25, deadline=None, database=None)
    @given(AWKWARD, AWKWARD, AWKWARD)
    @example(" ", "", "")
    def check(model: str, prompt: str, other: str) -> None:
        name, wanted = named(kind, "tokens=1")
        said = {"user": prompt, "suffix": other, "system": prompt, other or "x": prompt}

        async def asks() -> None:
            status, _, _ = await client.answered(estate.daemon, f"{wanted},comment={model}", stream=True, **said)
            if status == 200:
                record = await estate.record(name)
                assert record["path"] in PATHS[kind]
                hosts = [value for field, value in record["headers"] if field.lower() == "host"]
                assert hosts == [estate.simulation.removeprefix("http://")]

        trio.run(asks)

    check()
