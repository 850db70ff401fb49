"""KoboldCpp clients before the daemon, and a simulated KoboldCpp behind it."""

from __future__ import annotations

from typing import Any

import pytest
import trio
from between import Asked, events, house, played, simulated

from penstock.chat.reasons import Reason
from penstock.config.model import BackendKind

STREAM, WHOLE = "/api/extra/generate/stream", "/api/v1/generate"
TEXT = " t0 t1 t2"


def text_of(body: bytes) -> str:
    return "".join(data["token"] for _, data in events(body))


@pytest.mark.parametrize("kind", ["koboldcpp", "openai", "ollama", "llamacpp"])
async def test_every_backend_answers_a_koboldcpp_client(nursery: trio.Nursery, kind: BackendKind) -> None:
    backend = await simulated(nursery, kind, "tokens=3")
    async with house(nursery, {"b": backend}, {"m": ("b",)}) as it:
        streamed = await it.ask("POST", STREAM, {"prompt": "once", "max_length": 5, "genkey": "KCPP1"})
        assert streamed.headers["content-type"].startswith("text/event-stream")
        told = events(streamed.content)
        assert {name for name, _ in told} == {"message"}
        assert [data["finish_reason"] for _, data in told] == [None, None, None, "stop"]
        assert text_of(streamed.content) == TEXT
        whole = await it.ask("POST", WHOLE, {"prompt": "once"})
        assert [(result["text"], result["finish_reason"]) for result in whole.json()["results"]] == [(TEXT, "stop")]
        assert [(await it.outcome()).reason for _ in range(2)] == [Reason.COMPLETED] * 2


@pytest.mark.parametrize(
    ("path", "body"),
    [
        ("/v1/chat/completions", {"messages": [{"role": "user", "content": "hi"}]}),
        ("/v1/completions", {"prompt": "hi"}),
        ("/api/chat", {"messages": [{"role": "user", "content": "hi"}], "stream": False}),
        ("/api/generate", {"prompt": "hi", "stream": False}),
        ("/api/generate", {"prompt": "hi", "stream": False, "raw": True}),
    ],
)
async def test_a_koboldcpp_backend_answers_every_client(
    nursery: trio.Nursery, path: str, body: dict[str, object]
) -> None:
    async with house(nursery, {"b": await simulated(nursery, "koboldcpp", "tokens=3,http10")}) as it:
        answer = (await it.ask("POST", path, {"model": "m", **body})).json()
        match answer:
            case {"choices": [{"message": {"content": text}}]} | {"choices": [{"text": text}]}:
                pass
            case {"message": {"content": text}} | {"response": text}:
                pass
        assert text == TEXT


@pytest.mark.parametrize("path", [STREAM, WHOLE])
async def test_a_generation_is_checked_and_aborted_by_its_key(nursery: trio.Nursery, path: str) -> None:
    backend = await simulated(nursery, "openai", "tokens=2,fault=silence@2")
    async with house(nursery, {"b": backend}, {"m": ("b",)}) as it:
        answers: list[Any] = []

        async def generate() -> None:
            answers.append(await it.ask("POST", path, {"prompt": "", "genkey": "KCPP1"}))

        async def so_far(body: object) -> str:
            text = (await it.ask("POST", "/api/extra/generate/check", body)).json()["results"][0]["text"]
            assert isinstance(text, str)
            return text

        async def abort(body: object) -> object:
            return (await it.ask("POST", "/api/extra/abort", body)).json()

        async with trio.open_nursery() as asking:
            asking.start_soon(generate)
            with trio.fail_after(20):
                while await so_far({"genkey": "KCPP1"}) != " t0 t1":
                    await trio.lowlevel.checkpoint()
            assert await so_far({"genkey": "KCPP2"}) == ""
            assert await so_far({}) == ""
            assert (await it.ask("GET", "/api/extra/perf")).json() == {"queue": 0, "idle": 0}
            assert await abort({"genkey": "KCPP2"}) == {"success": "false", "done": "false"}
            assert await abort({}) == {"success": "false", "done": "false"}
            assert await abort({"genkey": "KCPP1"}) == {"success": "true", "done": "true"}
        outcome = await it.outcome()
        assert (outcome.reason, outcome.message) == (Reason.KILLED, "the client aborted its generation")
        (answer,) = answers
        if path == STREAM:
            assert events(answer.content)[-1] == (
                "message",
                {"token": "", "finish_reason": "error", "error": "the client aborted its generation"},
            )
        else:
            assert (answer.status_code, answer.json()["detail"]["type"]) == (503, "service_unavailable")
        assert (await it.ask("GET", "/api/extra/perf")).json() == {"queue": 0, "idle": 1}
        assert await so_far({"genkey": "KCPP1"}) == ""


async def test_without_a_key_only_the_one_generation_that_has_none_is_meant(nursery: trio.Nursery) -> None:
    backend = await simulated(nursery, "openai", "tokens=1,fault=silence@1")
    backends = {"a": backend, "b": backend}
    async with house(nursery, backends, {"m": ("a",), "n": ("b",)}) as it:

        async def generate(model: str) -> None:
            await it.ask("POST", STREAM, {"prompt": "", "model": model})

        async def abort() -> object:
            return (await it.ask("POST", "/api/extra/abort")).json()["success"]

        async with trio.open_nursery() as asking:
            for number, model in enumerate(["m", "n"], start=1):
                asking.start_soon(generate, model)
                with trio.fail_after(20):
                    while len(it.daemon.state.live) < number:
                        await trio.lowlevel.checkpoint()
            assert await abort() == "false"
            next(iter(it.daemon.state.live)).end(Reason.KILLED, "the owner says so")
            await it.outcome()
            assert await abort() == "true"


async def test_what_it_tells_of_itself(nursery: trio.Nursery) -> None:
    backend = await simulated(nursery, "openai")
    async with house(nursery, {"b": backend}, {"*": ("b",), "coder": ("b/sim",)}) as it:

        async def get(path: str) -> Any:
            answer = await it.ask("GET", path)
            assert answer.status_code == 200
            return answer.json()

        assert await get("/api/v1/model") == {"result": "koboldcpp/coder"}
        assert await get("/api/v1/info/version") == {"result": "1.2.5"}
        version = await get("/api/extra/version")
        assert (version["result"], version["version"], version["protected"]) == ("KoboldCpp", "1.104", False)
        assert await get("/api/v1/config/max_context_length") == {"value": 8192}
        assert await get("/api/extra/true_max_context_length") == {"value": 8192}
        assert await get("/api/v1/config/max_length") == {"value": 896}
        counted = await it.ask("POST", "/api/extra/tokencount", {"prompt": "nine char"})
        assert counted.json() == {"value": 3, "ids": []}


async def test_a_koboldcpp_behind_is_asked_itself(nursery: trio.Nursery) -> None:
    asked: list[str] = []

    async def koboldcpp(request: Asked) -> None:
        asked.append(f"{request.method} {request.target}")
        if request.target.endswith("tokencount"):
            assert request.json == {"prompt": "abc"}
            await request.answers({"value": 7, "ids": [1, 2]})
        else:
            await request.answers({"value": 16384})

    backend = await played(nursery, "koboldcpp", koboldcpp)
    async with house(nursery, {"b": backend}, {"m": ("b",)}) as it:
        assert (await it.ask("GET", "/api/extra/true_max_context_length")).json() == {"value": 16384}
        assert (await it.ask("POST", "/api/extra/tokencount", {"prompt": "abc"})).json() == {"value": 7, "ids": [1, 2]}
    assert asked == ["GET /api/extra/true_max_context_length", "POST /api/extra/tokencount"]


@pytest.mark.parametrize(
    ("path", "body", "status", "kind", "word"),
    [
        (STREAM, {}, 400, "bad_input", "'prompt' is missing"),
        (WHOLE, {"prompt": "", "model": "other"}, 404, "model_not_found", "model 'other' not found"),
        ("/api/extra/nothing", {}, 404, "path_not_found", "nothing is at"),
        ("/api/v1/model", {}, 405, "method_not_allowed", "POST is not how"),
    ],
)
async def test_errors_have_its_shape(
    nursery: trio.Nursery, path: str, body: object, status: int, kind: str, word: str
) -> None:
    async with house(nursery, {"b": await simulated(nursery, "openai")}, {"m": ("b",)}) as it:
        answer = await it.ask("POST", path, body)
        detail = answer.json()["detail"]
        assert (answer.status_code, detail["type"]) == (status, kind)
        assert word in detail["msg"]


async def test_nobody_who_could_be_meant(nursery: trio.Nursery) -> None:
    backend = await simulated(nursery, "openai", models={})
    async with house(nursery, {"b": backend}) as it:
        for method, path, body in (("POST", STREAM, {"prompt": ""}), ("GET", "/api/v1/model", None)):
            answer = await it.ask(method, path, body)
            assert (answer.status_code, answer.json()["detail"]["type"]) == (400, "bad_input")


@pytest.mark.parametrize(
    ("said", "status", "told"),
    [
        ({"tokens": [1, 15, 9]}, 200, {"value": 3, "ids": [1, 15, 9]}),
        ({"error": {"message": "no"}}, 500, {"value": 1, "ids": []}),
        ({"tokens": 5}, 200, None),
    ],
    ids=["counts", "cannot", "garbles"],
)
async def test_a_llamacpp_behind_counts_tokens(nursery: trio.Nursery, said: object, status: int, told: object) -> None:
    async def llamacpp(request: Asked) -> None:
        assert (request.target, request.json) == ("/tokenize", {"content": "abc", "add_special": True})
        await request.answers(said, status)

    async with house(nursery, {"b": await played(nursery, "llamacpp", llamacpp)}, {"m": ("b",)}) as it:
        answer = await it.ask("POST", "/api/extra/tokencount", {"prompt": "abc"})
        if told is None:
            assert (answer.status_code, answer.json()["detail"]["type"]) == (502, "backend_garbled")
        else:
            assert answer.json() == told


async def test_a_client_that_leaves_has_its_generation_aborted(nursery: trio.Nursery) -> None:
    """By its key, over another connection, as a backend that is busy with the prompt does not look at the first."""
    asked: list[Asked] = []
    begun, aborted = trio.Event(), trio.Event()

    async def deaf(request: Asked) -> None:
        asked.append(request)
        if request.target == "/api/extra/abort":
            await request.answers({"success": "true", "done": "true"})
            aborted.set()
        else:
            begun.set()
            await aborted.wait()

    async with house(nursery, {"b": await played(nursery, "koboldcpp", deaf)}, {"m": ("b",)}) as it:
        async with trio.open_nursery() as asking:
            asking.start_soon(it.ask, "POST", STREAM, {"prompt": "", "genkey": "KCPP1"})
            await begun.wait()
            asking.cancel_scope.cancel()
        with trio.fail_after(20):
            await aborted.wait()
            assert (await it.outcome()).reason is Reason.CLIENT_GONE
        generation, abort = asked
        assert generation.json["genkey"] != "KCPP1", "the client's key is not the backend's"
        assert abort.json == {"genkey": generation.json["genkey"]}
        assert it.daemon.state.backends["b"].gate.busy == 0
