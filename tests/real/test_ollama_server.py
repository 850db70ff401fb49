"""penstock before a real Ollama with the counting model: its own dialect, and OpenAI's translated.

Ollama is the ``ollama`` of the PATH, or is built once with Go's own tools into ``.tools/ollama``.
"""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

import httpx
import ollama
import pytest
from daemons import DEADLINE, TEARDOWN, Penstock, Server, penstock
from openai import OpenAI
from tiny_model import make

from conftest import before

pytestmark = pytest.mark.heavy

#: The newest version whose Go module holds all of its C++ sources: Go leaves folders named ``vendor`` out of a module,
#: and later ones keep headers of llama.cpp in such a folder.
OLLAMA = "github.com/ollama/ollama@v0.6.5"
CACHE = Path(__file__).parents[2] / ".tools" / "ollama"
#: Two cores compile it in four minutes.
BUILD_TIME = 480
#: Far more tokens than are generated before a test has ended.
ENDLESS = 100_000
MESSAGES = [{"role": "user", "content": "Count."}]


def counting(tokens: int) -> str:
    return "".join(f" t{number % 512}" for number in range(tokens))


@pytest.fixture(scope="module")
def program() -> str:
    """The path of an ``ollama``."""
    if found := shutil.which("ollama") or shutil.which("ollama", path=CACHE):
        return found
    if shutil.which("go") is None or shutil.which("g++") is None:
        pytest.skip("there is no ollama on the PATH, and no Go with g++ to build one")
    CACHE.mkdir(parents=True, exist_ok=True)
    command = ["go", "install", OLLAMA]
    try:
        built = subprocess.run(
            command,
            env={**os.environ, "GOBIN": str(CACHE), "CGO_ENABLED": "1"},
            capture_output=True,
            text=True,
            timeout=BUILD_TIME,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"{' '.join(command)}: not built within {BUILD_TIME} s")
    if built.returncode:
        pytest.skip(f"{' '.join(command)}: {built.stderr[-500:]}")
    return str(CACHE / "ollama")


@pytest.fixture(scope="module")
def server(program: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """An Ollama that generates one answer at a time, and has the model ``counting``."""
    folder = tmp_path_factory.mktemp("ollama")
    environ = {
        "HOME": str(folder),
        "OLLAMA_HOST": "127.0.0.1:0",
        "OLLAMA_MODELS": str(folder / "models"),
        "OLLAMA_NUM_PARALLEL": "1",
    }
    server = Server(program, "serve", environ=environ)
    try:
        listening = re.compile(r"Listening on (127\.0\.0\.1:\d+)")
        address = server.said(lambda line: (found := listening.search(line)) and found[1])
        server.url = f"http://{address}"
        make(folder / "counting.gguf")
        # threads that wait for each other at every token are at the mercy of whatever else runs
        (folder / "Modelfile").write_text("FROM ./counting.gguf\nPARAMETER num_thread 1\nPARAMETER num_ctx 4096\n")
        subprocess.run(
            [program, "create", "counting", "-f", "Modelfile"],
            cwd=folder,
            env={**os.environ, **environ, "OLLAMA_HOST": address},
            check=True,
            capture_output=True,
            timeout=60,
        )
        yield server
    finally:
        server.process.terminate()
        server.process.wait(DEADLINE)
        server.kill()


@pytest.fixture(scope="module")
def proxy(server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with penstock(tmp_path_factory.mktemp("before-ollama"), before("ollama", server.url, slots=4)) as proxy:
        yield proxy


@pytest.fixture(scope="module")
def clients(server: Server, proxy: Penstock) -> Iterator[dict[str, ollama.Client]]:
    """A client of Ollama itself, and one of penstock before it."""
    with ExitStack() as stack:
        yield {
            name: stack.enter_context(ollama.Client(host=url, timeout=60))
            for name, url in (("direct", server.url), ("through", proxy.url))
        }


@pytest.fixture(scope="module")
def client(clients: dict[str, ollama.Client]) -> ollama.Client:
    return clients["through"]


@pytest.fixture(scope="module")
def openai(proxy: Penstock) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{proxy.url}/v1", api_key="none", max_retries=0, timeout=60) as client:
        yield client


def limited(tokens: int) -> dict[str, int]:
    return {"num_predict": tokens}


def test_a_chat_in_its_own_dialect(client: ollama.Client) -> None:
    *parts, last = client.chat("counting", MESSAGES, stream=True, options=limited(600))
    assert "".join(part.message.content or "" for part in [*parts, last]) == counting(600)
    assert (last.done_reason, last.eval_count) == ("length", 600)
    whole = client.chat("counting", MESSAGES, options=limited(30))
    assert (whole.message.content, whole.eval_count) == (counting(30), 30)


def test_a_prompt_in_its_own_dialect(client: ollama.Client) -> None:
    *parts, last = client.generate("counting", "Count.", stream=True, options=limited(40))
    assert "".join(part.response for part in [*parts, last]) == counting(40)
    assert (last.done_reason, last.eval_count) == ("length", 40)
    assert client.generate("counting", "Count.", options=limited(5)).response == counting(5)


def test_a_chat_in_openais(openai: OpenAI) -> None:
    wanted: dict[str, Any] = {"model": "counting", "messages": MESSAGES}
    counted = {"include_usage": True}
    *chunks, usage = openai.chat.completions.create(**wanted, max_tokens=600, stream=True, stream_options=counted)
    assert "".join(chunk.choices[0].delta.content or "" for chunk in chunks) == counting(600)
    assert (chunks[-1].choices[0].finish_reason, usage.usage.completion_tokens) == ("length", 600)
    (choice,) = openai.chat.completions.create(**wanted, max_tokens=30).choices
    assert (choice.message.content, choice.finish_reason) == (counting(30), "length")


def test_completions_and_responses_in_openais(openai: OpenAI) -> None:
    (choice,) = openai.completions.create(model="counting", prompt="Count.", max_tokens=30).choices
    assert (choice.text, choice.finish_reason) == (counting(30), "length")
    response = openai.responses.create(model="counting", input="Count.", max_output_tokens=30)
    assert (response.output_text, response.status) == (counting(30), "incomplete")


def test_a_schema_is_obeyed(openai: OpenAI, client: ollama.Client) -> None:
    schema = {"type": "object", "properties": {"old": {"enum": ["yes", "no"]}}, "required": ["old"]}
    wanted: Any = {"type": "json_schema", "json_schema": {"name": "person", "schema": schema}}
    told = openai.chat.completions.create(
        model="counting", messages=[{"role": "user", "content": "?"}], response_format=wanted, max_tokens=100
    )
    asked = client.chat("counting", MESSAGES, format=schema, options=limited(100))
    for text in (told.choices[0].message.content, asked.message.content):
        assert json.loads(text or "")["old"] in ("yes", "no")


def test_what_it_tells_of_its_models(clients: dict[str, ollama.Client], openai: OpenAI) -> None:
    through, direct = clients["through"], clients["direct"]
    assert through.list() == direct.list()
    assert [model.model for model in through.list().models] == ["counting:latest"]
    # its own order of the parameters is another one each time
    told, own = (client.show("counting").model_dump(exclude={"parameters", "modelfile"}) for client in clients.values())
    assert told == own
    assert [model.model for model in through.ps().models] == [model.model for model in direct.ps().models]
    assert [model.id for model in openai.models.list()] == ["counting:latest"]


def test_embeddings_reach_every_client_as_they_are(clients: dict[str, ollama.Client], openai: OpenAI) -> None:
    (vector,) = clients["direct"].embed("counting", "Count.").embeddings
    assert clients["through"].embed("counting", "Count.").embeddings[0] == pytest.approx(vector, abs=1e-6)
    told = openai.embeddings.create(model="counting", input="Count.").data[0].embedding
    assert told == pytest.approx(vector, abs=1e-6)


@pytest.mark.parametrize("said", [{}, {"raw": True}, {"system": "Be brief."}, {"context": [5, 6, 7]}], ids=str)
def test_a_prompt_is_made_of_what_its_client_says(clients: dict[str, ollama.Client], said: dict[str, Any]) -> None:
    """As many tokens as when it is asked directly, with the template or without."""
    answers = [client.generate("counting", "Count.", options=limited(3), **said) for client in clients.values()]
    direct, through = [(answer.prompt_eval_count, answer.eval_count, answer.response) for answer in answers]
    assert through == direct


def test_a_gap_is_filled_where_the_template_can(clients: dict[str, ollama.Client], openai: OpenAI) -> None:
    direct, through = clients["direct"], clients["through"]
    refusals = []
    for client in (direct, through):
        with pytest.raises(ollama.ResponseError, match="insert") as caught:
            client.generate("counting", "def f(", suffix="return x", options=limited(3))
        refusals.append((caught.value.status_code, caught.value.error))
    assert refusals[0] == refusals[1]
    direct.create("filling", from_="counting", template="{{ .Prompt }}{{ .Suffix }}")
    try:
        asked, told = [
            client.generate("filling", "def f(", suffix="return x", options=limited(3)) for client in (direct, through)
        ]
        assert (told.response, told.prompt_eval_count) == (asked.response, asked.prompt_eval_count)
        filled = openai.completions.create(model="filling", prompt="def f(", suffix="return x", max_tokens=3)
        assert filled.choices[0].text == asked.response
        assert filled.usage is not None and filled.usage.prompt_tokens == asked.prompt_eval_count
    finally:
        direct.delete("filling")


def test_a_model_stays_as_long_as_its_client_says(clients: dict[str, ollama.Client]) -> None:
    direct, through = clients["direct"], clients["through"]
    assert through.generate("counting", keep_alive="1h").done_reason == "load"
    (loaded,) = direct.ps().models
    assert loaded.expires_at is not None and loaded.expires_at.timestamp() - time.time() > 3000
    through.chat("counting", MESSAGES, options=limited(1), keep_alive="2h")
    (loaded,) = direct.ps().models
    assert loaded.expires_at is not None and loaded.expires_at.timestamp() - time.time() > 6000
    assert through.generate("counting", keep_alive=0).done_reason == "unload"


def test_a_list_is_embedded_and_what_is_too_long_cut_or_refused(clients: dict[str, ollama.Client]) -> None:
    told = {name: client.embed("counting", ["Count.", "to ten"]).embeddings for name, client in clients.items()}
    assert [len(vectors) for vectors in told.values()] == [2, 2]
    for direct, through in zip(told["direct"], told["through"], strict=True):
        assert through == pytest.approx(direct, abs=1e-6)
    long = "Count. " * 4096
    cut = {name: client.embed("counting", long).prompt_eval_count for name, client in clients.items()}
    assert cut["through"] == cut["direct"]
    refusals = []
    for client in clients.values():
        with pytest.raises(ollama.ResponseError) as caught:
            client.embed("counting", long, truncate=False)
        refusals.append((caught.value.status_code, caught.value.error))
    assert refusals[0] == refusals[1]


@pytest.mark.parametrize("key", ["model", "name"])
def test_a_model_is_shown_under_both_keys(key: str, server: Server, proxy: Penstock) -> None:
    told, own = [
        httpx.post(f"{url}/api/show", json={key: "counting"}, trust_env=False).raise_for_status().json()
        for url in (proxy.url, server.url)
    ]
    assert told["details"] == own["details"]
    assert told["model_info"] == own["model_info"]


@pytest.mark.parametrize("dialect", ["ollama", "openai"])
def test_leaving_stops_the_generation(dialect: str, proxy: Penstock, client: ollama.Client, openai: OpenAI) -> None:
    """…for Ollama has one slot, and the next answer comes at once."""
    if dialect == "ollama":
        answer: Any = client.chat("counting", MESSAGES, stream=True, options=limited(ENDLESS))
        with closing(answer) as parts:
            while " t9" not in (next(parts).message.content or ""):
                pass
    else:
        wanted: dict[str, Any] = {"model": "counting", "messages": MESSAGES, "max_tokens": ENDLESS}
        with openai.chat.completions.create(**wanted, stream=True) as chunks:
            while " t9" not in (next(chunks).choices[0].delta.content or ""):
                pass
    left = time.monotonic()
    outcome = proxy.logged("stream ended", reason="client_gone")
    assert (outcome["phase"], outcome["tokens"] < ENDLESS) == ("streaming", True)
    assert outcome["teardown"] <= TEARDOWN
    assert client.generate("counting", "Count.", options=limited(5)).response == counting(5)
    assert time.monotonic() - left < DEADLINE


def test_four_at_a_time_get_each_token_once_and_in_order(client: ollama.Client, openai: OpenAI) -> None:
    def ask(number: int) -> str:
        if number % 2:
            return client.chat("counting", MESSAGES, options=limited(50 + number)).message.content or ""
        wanted: Any = {"model": "counting", "messages": MESSAGES, "max_tokens": 50 + number}
        chunks = openai.chat.completions.create(**wanted, stream=True)
        return "".join(chunk.choices[0].delta.content or "" for chunk in chunks)

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(ask, range(8))) == [counting(50 + number) for number in range(8)]


def test_a_model_that_is_not_there(clients: dict[str, ollama.Client], openai: OpenAI) -> None:
    for name in ("direct", "through"):
        with pytest.raises(ollama.ResponseError, match="not found") as caught:
            clients[name].chat("missing", MESSAGES)
        assert caught.value.status_code == 404
