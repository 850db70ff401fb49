"""penstock before a real llama.cpp server, driven in both dialects; the model's text counts: " t0 t1 t2 …"."""

from __future__ import annotations

import contextlib
import json
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import httpx
import pytest
from daemons import DEADLINE, TEARDOWN, Penstock, Server, llama, penstock, until

from conftest import before

#: Far more than is generated before a test has ended.
ENDLESS = 60000


@pytest.fixture(scope="module")
def proxy(kind: str, llama_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with penstock(tmp_path_factory.mktemp(kind), before(kind, f"{llama_server.url}/v1", slots=4)) as server:
        yield server


@pytest.fixture(params=["llamacpp", "openai"], scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    """The kind of backend that the configuration says it is."""
    kind: str = request.param
    return kind


@pytest.fixture
def client() -> Iterator[httpx.Client]:
    with httpx.Client(timeout=DEADLINE, trust_env=False) as client:
        yield client


class Answer:
    """What a client has put together of an answer."""

    def __init__(self) -> None:
        self.text = ""
        self.finish: str | None = None
        self.usage: dict[str, int] = {}


Body = dict[str, Any]


def openai_body(tokens: int, **more: object) -> Body:
    return {"model": "tiny", "messages": [{"role": "user", "content": "Count."}], "max_tokens": tokens, **more}


def ollama_body(tokens: int, options: Body | None = None, **more: object) -> Body:
    wanted = {"num_predict": tokens, **(options or {})}
    return {"model": "tiny", "messages": [{"role": "user", "content": "Count."}], "options": wanted, **more}


def openai_whole(client: httpx.Client, url: str, body: Body) -> Answer:
    answer, found = Answer(), client.post(f"{url}/v1/chat/completions", json=body).raise_for_status().json()
    (choice,) = found["choices"]
    answer.text, answer.finish, answer.usage = choice["message"]["content"], choice["finish_reason"], found["usage"]
    return answer


def openai_streamed(client: httpx.Client, url: str, body: Body) -> Answer:
    body = body | {"stream": True, "stream_options": {"include_usage": True}}
    answer = Answer()
    with client.stream("POST", f"{url}/v1/chat/completions", json=body) as response:
        *lines, last = [line for line in response.raise_for_status().iter_lines() if line.startswith("data: ")]
    assert last == "data: [DONE]"
    for line in lines:
        chunk = json.loads(line.removeprefix("data: "))
        for choice in chunk["choices"]:
            answer.text += choice["delta"].get("content") or ""
            answer.finish = choice["finish_reason"] or answer.finish
        answer.usage = chunk.get("usage") or answer.usage
    return answer


def ollama_whole(client: httpx.Client, url: str, body: Body) -> Answer:
    return ollama_answer([client.post(f"{url}/api/chat", json=body | {"stream": False}).raise_for_status().json()])


def ollama_streamed(client: httpx.Client, url: str, body: Body) -> Answer:
    with client.stream("POST", f"{url}/api/chat", json=body) as response:
        return ollama_answer([json.loads(line) for line in response.raise_for_status().iter_lines()])


def ollama_answer(lines: list[Body]) -> Answer:
    assert [line["done"] for line in lines] == [False] * (len(lines) - 1) + [True]
    answer, last = Answer(), lines[-1]
    answer.text = "".join(line["message"]["content"] for line in lines)
    answer.finish = last["done_reason"]
    counts = {"prompt_tokens": last["prompt_eval_count"], "completion_tokens": last["eval_count"]}
    answer.usage = counts | {"total_tokens": sum(counts.values())}
    return answer


ASK: dict[str, tuple[Callable[..., Body], Callable[[httpx.Client, str, Body], Answer]]] = {
    "openai": (openai_body, openai_whole),
    "openai streamed": (openai_body, openai_streamed),
    "ollama": (ollama_body, ollama_whole),
    "ollama streamed": (ollama_body, ollama_streamed),
}


@pytest.fixture(params=ASK)
def manner(request: pytest.FixtureRequest) -> str:
    """The client's dialect, and whether it asks for a stream."""
    manner: str = request.param
    return manner


def counting(tokens: int) -> str:
    return "".join(f" t{number % 512}" for number in range(tokens))


def test_text_finish_and_usage(manner: str, proxy: Penstock, llama_server: Server, client: httpx.Client) -> None:
    body, ask = ASK[manner]
    answer = ask(client, proxy.url, body(600, model=manner))
    assert (answer.text, answer.finish) == (counting(600), "length")
    assert answer.usage["completion_tokens"] == 600
    direct = openai_whole(client, llama_server.url, openai_body(3))
    assert answer.usage["prompt_tokens"] == direct.usage["prompt_tokens"]
    assert answer.usage["total_tokens"] == answer.usage["prompt_tokens"] + 600
    outcome = proxy.outcome(manner)
    assert (outcome["reason"], outcome["tokens"]) == ("completed", 600)


def test_a_stop_word_ends_the_answer(manner: str, proxy: Penstock, client: httpx.Client) -> None:
    body, ask = ASK[manner]
    stop: Body = {"stop": [" t7"]}
    answer = ask(client, proxy.url, body(50, stop) if body is ollama_body else body(50, **stop))
    assert (answer.text, answer.finish) == (counting(7), "stop")


SCHEMA = {
    "type": "object",
    "properties": {"name": {"enum": ["ada", "grace"]}, "old": {"type": "boolean"}},
    "required": ["name", "old"],
    "additionalProperties": False,
}


def test_a_schema_is_obeyed(manner: str, proxy: Penstock, client: httpx.Client) -> None:
    body, ask = ASK[manner]
    openai = {"response_format": {"type": "json_schema", "json_schema": {"name": "person", "schema": SCHEMA}}}
    answer = ask(client, proxy.url, body(100, **({"format": SCHEMA} if body is ollama_body else openai)))
    person = json.loads(answer.text)
    assert person["name"] in ("ada", "grace")
    assert type(person["old"]) is bool
    assert answer.finish == "stop"


def test_sixteen_at_a_time_get_each_token_once_and_in_order(proxy: Penstock, client: httpx.Client) -> None:
    """…while the backend has four slots: the others wait in penstock."""

    def ask(number: int) -> str:
        body, ask = list(ASK.values())[number % len(ASK)]
        return ask(client, proxy.url, body(300 + number)).text

    with ThreadPoolExecutor(16) as pool:
        assert list(pool.map(ask, range(16))) == [counting(300 + number) for number in range(16)]
    assert waiting(proxy) == 0


@contextlib.contextmanager
def endless(client: httpx.Client, url: str, dialect: str, model: str, *, begun: bool = True) -> Iterator[None]:
    """A stream that goes on until it is left; some of it has come when it has ``begun``."""
    path, body = ("/api/chat", ollama_body) if dialect == "ollama" else ("/v1/chat/completions", openai_body)
    with client.stream("POST", url + path, json=body(ENDLESS, model=model, stream=True)) as response:
        if begun:
            parts = response.iter_text()
            text = ""
            while " t3" not in text:
                text += next(parts)
        yield


def working(client: httpx.Client, llama_server: Server) -> int:
    """How many of llama.cpp's slots are at work."""
    return sum(slot["is_processing"] for slot in client.get(f"{llama_server.url}/slots").raise_for_status().json())


def waiting(proxy: Penstock) -> int:
    """How many streams wait for a slot in penstock."""
    (backend,) = proxy.health()["backends"].values()
    found: int = backend["waiting"]
    return found


@pytest.mark.parametrize("dialect", ["openai", "ollama"])
def test_leaving_in_mid_decode_frees_the_slot(
    dialect: str, proxy: Penstock, llama_server: Server, client: httpx.Client
) -> None:
    model = f"{dialect} left"
    with endless(client, proxy.url, dialect, model):
        assert working(client, llama_server) == 1
    outcome = proxy.outcome(model)
    assert (outcome["reason"], outcome["phase"]) == ("client_gone", "streaming")
    assert outcome["teardown"] <= TEARDOWN
    assert outcome["tokens"] < ENDLESS / 2
    until(lambda: not working(client, llama_server), "llama.cpp stops")


def test_leaving_the_queue_costs_the_backend_nothing(
    llama_server: Server, client: httpx.Client, tmp_path: Path
) -> None:
    with penstock(tmp_path, before("llamacpp", llama_server.url, slots=1), eager=True) as proxy:
        with endless(client, proxy.url, "openai", "first"):
            # The head of one that waits comes with its first heartbeat.
            with endless(client, proxy.url, "openai", "second", begun=False):
                assert (waiting(proxy), working(client, llama_server)) == (1, 1)
            second = proxy.outcome("second")
            assert (second["reason"], second["phase"]) == ("client_gone", "queued")
            assert (waiting(proxy), working(client, llama_server)) == (0, 1)
        assert openai_whole(client, proxy.url, openai_body(5, model="third")).text == counting(5)
        assert proxy.outcome("first")["reason"] == "client_gone"
        assert proxy.outcome("third")["reason"] == "completed"


def test_a_prompt_that_is_too_long(proxy: Penstock, llama_server: Server, client: httpx.Client) -> None:
    body = openai_body(5) | {"messages": [{"role": "user", "content": "x" * 70000}]}
    direct = client.post(f"{llama_server.url}/v1/chat/completions", json=body)
    assert direct.status_code == 400
    wording = direct.json()["error"]["message"]
    assert "context size" in wording
    for stream in (False, True):
        answer = client.post(f"{proxy.url}/v1/chat/completions", json=body | {"stream": stream})
        error = answer.json()["error"]
        assert (answer.status_code, error["code"]) == (400, "context_length_exceeded")
        assert wording in error["message"]
        ollama = client.post(f"{proxy.url}/api/chat", json=body | {"stream": stream})
        assert ollama.status_code == 400
        assert wording in ollama.json()["error"]


def test_metadata(proxy: Penstock, llama_server: Server, client: httpx.Client) -> None:
    (direct,) = client.get(f"{llama_server.url}/v1/models").json()["data"]
    (listed,) = client.get(f"{proxy.url}/v1/models").raise_for_status().json()["data"]
    assert (listed["id"], listed["object"]) == (direct["id"], "model")
    assert client.get(f"{proxy.url}/v1/models/{direct['id']}").raise_for_status().json()["id"] == direct["id"]
    (tagged,) = client.get(f"{proxy.url}/api/tags").raise_for_status().json()["models"]
    assert tagged["name"] == tagged["model"] == direct["id"]
    shown = client.post(f"{proxy.url}/api/show", json={"model": direct["id"]}).raise_for_status().json()
    assert "completion" in shown["capabilities"]
    assert 65536 in shown["model_info"].values()


def test_a_server_with_a_key(model: Path, client: httpx.Client, tmp_path: Path) -> None:
    with llama(model, api_keys=["opensesame"]) as server:
        assert client.post(f"{server.url}/v1/chat/completions", json=openai_body(3)).status_code == 401
        keyed = before("llamacpp", server.url) + 'api_key = "opensesame"\n'
        with penstock(tmp_path, keyed) as proxy:
            assert openai_whole(client, proxy.url, openai_body(3)).text == counting(3)
