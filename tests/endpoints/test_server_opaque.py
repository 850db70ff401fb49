"""What is passed on unread, end to end: whose it is, byte for byte, with the ends of every other stream."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import pytest
import trio
from between import Asked, House, house, played, simulated

from penstock.chat.reasons import Reason
from penstock.config.model import BackendKind, Timeouts

WAV = b"RIFF\x00\xff\r\n--not a boundary"


def keeps(
    asked: list[Asked], answer: Callable[[Asked], Awaitable[None]] | None = None
) -> Callable[[Asked], Awaitable[None]]:
    """A backend that keeps what it is asked and echoes it."""

    async def handler(request: Asked) -> None:
        if request.target.endswith(("/models", "/api/tags")):
            await request.answers({"data": [{"id": "listed"}], "models": [{"name": "listed"}]})
            return
        asked.append(request)
        await (answer(request) if answer else request.answers(request.body or b"{}", media="text/x-echo"))

    return handler


async def test_the_backend_of_the_model_gets_the_bytes_as_they_came(nursery: trio.Nursery) -> None:
    here: list[Asked] = []
    there: list[Asked] = []
    backends = {
        "here": await played(nursery, "openai", keeps(here)),
        "there": await played(nursery, "llamacpp", keeps(there)),
    }
    async with house(nursery, backends, {"a": ("here",), "b": ("there/b",)}) as it:
        body = b'{ "model":"b",\n "documents": ["\xc3\xa9"], "unknown": [1.50] }'
        headers = {
            "Content-Type": "application/json",
            "Cookie": "secret=1",
            "X-Conversation-Id": "1",
            "Authorization": "Bearer mine",
        }
        answer = await it.ask("POST", "/v1/moderations?x=%20", content=body, headers=headers)
        assert (answer.status_code, answer.content, answer.headers["content-type"]) == (200, body, "text/x-echo")
        (request,) = there
        assert (request.method, request.target, request.body) == ("POST", "/v1/moderations?x=%20", body)
        assert set(request.headers) == {
            "host",
            "content-type",
            "accept",
            "accept-encoding",
            "user-agent",
            "content-length",
        }
        outcome = await it.outcome()
        assert (outcome.reason, outcome.dialect, outcome.operation) == (Reason.COMPLETED, "opaque", "opaque")
        assert (outcome.target, outcome.tokens) == ("there/b", 0)

        await it.ask("POST", "/v1/moderations/", {"input": []})
        await it.ask("POST", "/v1/audio/speech", {"model": "a", "input": "x"})
        await it.ask("GET", "/v1/voices/?model=a")
        assert [(r.method, r.target) for r in here] == [
            ("POST", "/v1/moderations"),
            ("POST", "/v1/audio/speech"),
            ("GET", "/v1/voices?model=a"),
        ]


async def test_a_file_is_passed_on_and_its_model_renamed(nursery: trio.Nursery) -> None:
    asked: list[Asked] = []
    async with house(
        nursery, {"b": await played(nursery, "openai", keeps(asked))}, {"ears": ("b/whisper-large",)}
    ) as it:
        for model in ("ears", None):
            fields = {"model": model} if model else {}
            answer = await it.ask(
                "POST", "/v1/audio/transcriptions", data=fields, files={"file": ("a.wav", WAV, "audio/wav")}
            )
            assert answer.status_code == 200
            assert WAV in answer.content
        named, unnamed = asked
        assert named.headers["content-type"].startswith("multipart/form-data; boundary=")
        assert b"whisper-large" in named.body
        assert b"ears" not in named.body
        assert b"whisper" not in unnamed.body


async def test_llamacpp_gets_its_own_paths(nursery: trio.Nursery) -> None:
    asked: list[Asked] = []
    backends = {
        "other": await simulated(nursery, "openai"),
        "llama": await played(nursery, "llamacpp", keeps(asked)),
    }
    routes = {"chat": ("other",), "fim": ("llama/listed",)}
    async with house(nursery, backends, routes) as it:
        body = b'{"input_prefix": "a", "n_predict": 0, "response_fields": [""]}'
        for path in ("/infill", "/completion", "/tokenize", "/detokenize", "/apply-template"):
            answer = await it.ask("POST", path, content=body, headers={"Content-Type": "application/json"})
            assert (answer.status_code, answer.content) == (200, body)
        for path in ("/props", "/slots"):
            assert (await it.ask("GET", path)).status_code == 200
        assert [request.target for request in asked] == [
            "/infill",
            "/completion",
            "/tokenize",
            "/detokenize",
            "/apply-template",
            "/props",
            "/slots",
        ]
        refused = await it.ask("POST", "/infill", {"model": "chat"})
        assert refused.status_code == 404
        assert "llama.cpp's" in refused.json()["error"]["message"]


async def test_questions_are_answered_while_all_slots_are_in_use(nursery: trio.Nursery) -> None:
    begun = trio.Event()

    async def slow(request: Asked) -> None:
        if request.target == "/infill":
            begun.set()
            await request.sees_the_close()
        else:
            await request.answers(b"[]")

    backend = await played(nursery, "llamacpp", keeps([], slow))
    async with house(nursery, {"b": backend}) as it, trio.open_nursery() as asking:
        asking.start_soon(it.ask, "POST", "/infill", {})
        await begun.wait()
        assert (await it.ask("GET", "/slots")).json() == []
        assert it.daemon.state.backends["b"].gate.busy == 1
        asking.cancel_scope.cancel()


async def streams(request: Asked) -> None:
    await request.begins("text/event-stream")
    await request.says(b"data: 1\n\n")
    await request.says(b"data: \xff2\n\n")


async def ask_streaming(it: House) -> tuple[int, bytes, bool]:
    """Status and body of an answer, and whether it ended well."""
    import httpx

    body = b""
    async with it.begin("POST", "/v1/any/thing", {"model": "m"}) as answer:
        try:
            async for data in answer.aiter_raw():
                body += data
        except httpx.RemoteProtocolError:
            return answer.status_code, body, False
    return answer.status_code, body, True


@pytest.mark.parametrize(
    ("how", "reason"),
    [
        ("ends", Reason.COMPLETED),
        ("breaks off", Reason.BACKEND_TRUNCATED),
        ("falls silent", Reason.SILENCE),
    ],
)
async def test_a_stream_is_passed_on_as_it_comes_and_ends_as_it_ended(
    nursery: trio.Nursery, how: str, reason: Reason
) -> None:
    async def backend(request: Asked) -> None:
        await streams(request)
        if how == "ends":
            await request.ends()
        elif how == "breaks off":
            await request.stream.aclose()
        else:
            await request.sees_the_close()

    timeouts = Timeouts(silence=0.1)
    async with house(
        nursery, {"b": await played(nursery, "openai", keeps([], backend))}, {"m": ("b",)}, timeouts
    ) as it:
        status, body, well = await ask_streaming(it)
        assert (status, body, well) == (200, b"data: 1\n\ndata: \xff2\n\n", reason is Reason.COMPLETED)
        assert (await it.outcome()).reason is reason


async def test_no_first_byte_is_a_status(nursery: trio.Nursery) -> None:
    async def mute(request: Asked) -> None:
        await request.sees_the_close()

    timeouts = Timeouts(first_token=0.1)
    async with house(nursery, {"b": await played(nursery, "openai", keeps([], mute))}, {"m": ("b",)}, timeouts) as it:
        answer = await it.ask("POST", "/v1/moderations", {"model": "m"})
        assert (answer.status_code, answer.json()["error"]["code"]) == (504, "first_token_timeout")


async def test_a_client_that_leaves_takes_the_backend_with_it(nursery: trio.Nursery) -> None:
    begun, closed = trio.Event(), trio.Event()

    async def endless(request: Asked) -> None:
        await streams(request)
        begun.set()
        await request.sees_the_close()
        closed.set()

    async with house(nursery, {"b": await played(nursery, "openai", keeps([], endless))}, {"m": ("b",)}) as it:
        async with trio.open_nursery() as asking:
            asking.start_soon(it.ask, "POST", "/v1/any/thing", {"model": "m"})
            await begun.wait()
            asking.cancel_scope.cancel()
        with trio.fail_after(20):
            await closed.wait()
            assert (await it.outcome()).reason is Reason.CLIENT_GONE


@pytest.mark.parametrize(
    ("status", "said", "shown", "got"),
    [
        (400, b'{ "error": "too long" }', 400, b'{ "error": "too long" }'),
        (201, b'{"made": true}', 201, b'{"made": true}'),
        (204, b"", 204, b""),
    ],
)
async def test_the_backends_status_and_words_go_on(
    nursery: trio.Nursery, status: int, said: bytes, shown: int, got: bytes
) -> None:
    async def backend(request: Asked) -> None:
        if status == 204:
            await request.stream.send_all(b"HTTP/1.1 204 No Content\r\n\r\n")
        else:
            await request.answers(said, status)

    async with house(nursery, {"b": await played(nursery, "openai", keeps([], backend))}, {"m": ("b",)}) as it:
        for _ in range(2):
            answer = await it.ask("POST", "/v1/moderations", {"model": "m"})
            assert (answer.status_code, answer.content) == (shown, got)


@pytest.mark.parametrize(
    ("method", "path", "status", "code"),
    [
        ("GET", "/v1/chat/completions", 405, "method_not_allowed"),
        ("GET", "/v1/../admin", 404, "path_not_found"),
        ("DELETE", "/v1/files/1", 405, "method_not_allowed"),
        ("POST", "/v1/models", 405, "method_not_allowed"),
        ("POST", "/nothing/here", 404, "path_not_found"),
        ("POST", "/v1/moderations?model=other", 404, "model_not_found"),
    ],
)
async def test_what_leads_nowhere(nursery: trio.Nursery, method: str, path: str, status: int, code: str) -> None:
    asked: list[Asked] = []
    async with house(nursery, {"b": await played(nursery, "openai", keeps(asked))}, {"m": ("b",)}) as it:
        answer = await it.ask(method, path)
        assert (answer.status_code, answer.json()["error"]["code"]) == (status, code)
        assert not asked


@pytest.mark.parametrize("path", ["/v1/voices", "/props", "/slots", "/api/chat/stream?message=hi"])
async def test_nobody_is_asked_for_a_head_alone(nursery: trio.Nursery, path: str) -> None:
    asked: list[Asked] = []
    async with house(nursery, {"b": await played(nursery, "llamacpp", keeps(asked))}) as it:
        assert (await it.ask("HEAD", path)).status_code == 405
        assert not asked


@pytest.mark.parametrize("kind", ["ollama", "openai"])
async def test_models_are_not_managed_unless_the_owner_says_so(nursery: trio.Nursery, kind: BackendKind) -> None:
    asked: list[Asked] = []
    async with house(nursery, {"b": await played(nursery, kind, keeps(asked))}) as it:
        for method, path in (
            ("POST", "/api/pull"),
            ("POST", "/api/push"),
            ("POST", "/api/create"),
            ("POST", "/api/copy"),
            ("DELETE", "/api/delete"),
            ("POST", "/api/blobs/sha256:00"),
        ):
            answer = await it.ask(method, path, {"model": "m"})
            assert answer.status_code == 403
            assert "manage = true" in answer.json()["error"]
        assert not asked


async def test_models_are_managed_where_the_owner_says_so(nursery: trio.Nursery) -> None:
    asked: list[Asked] = []

    async def pulls(request: Asked) -> None:
        await request.begins("application/x-ndjson")
        await request.says(b'{"status":"pulling"}\n')
        await request.says(b'{"status":"success"}\n')
        await request.ends()

    backends = {
        "other": await played(nursery, "ollama", keeps([])),
        "b": await played(nursery, "ollama", keeps(asked, pulls), manage=True),
    }
    async with house(nursery, backends) as it:
        answer = await it.ask("POST", "/api/pull", {"model": "qwen"})
        assert answer.content == b'{"status":"pulling"}\n{"status":"success"}\n'
        await it.ask("DELETE", "/api/delete", {"model": "qwen"})
        assert (await it.ask("HEAD", "/api/blobs/sha256:00")).status_code == 404
        blob = await it.ask(
            "POST", "/api/blobs/sha256:00", content=WAV, headers={"Content-Type": "application/octet-stream"}
        )
        assert blob.status_code == 200
        assert [(request.method, request.target) for request in asked] == [
            ("POST", "/api/pull"),
            ("DELETE", "/api/delete"),
            ("POST", "/api/blobs/sha256:00"),
        ]
        assert asked[0].json == {"model": "qwen"}
        assert asked[-1].body == WAV
