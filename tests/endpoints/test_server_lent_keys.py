"""What a client's key, and the owner's, open in the other dialects: models, and nothing beside them."""

from __future__ import annotations

from hashlib import sha256
from typing import Any

import pytest
import trio
from between import Asked, House, house, played, simulated

from penstock.chat.reasons import Reason
from penstock.config.model import Key
from penstock.config.secrets import Reference


def key(name: str, **more: Any) -> Key:
    """A client whose key is its name."""
    return Key(name=name, key=Reference(f"sha256:{sha256(name.encode()).hexdigest()}"), **more)


async def ask(it: House, name: str, method: str, path: str, body: object = None, **more: Any) -> Any:
    return await it.ask(method, path, body, headers={"x-api-key": name}, **more)


async def echo(request: Asked) -> None:
    await request.answers({"models": [], "data": []} if request.method == "GET" else {"echo": True})


async def test_without_a_name_a_key_gets_its_own_first_model(nursery: trio.Nursery) -> None:
    keys = (key("all"), key("second", routes=("b*",)))
    backend = await simulated(nursery, "openai", "tokens=1")
    async with house(nursery, {"b": backend}, {"a": ("b",), "b": ("b",)}, keys=keys) as it:
        for name, model in (("all", "a"), ("second", "b")):
            await ask(it, name, "POST", "/api/chat/stream", {"message": "hi"})
            assert (await it.outcome()).model == model
            told = await ask(it, name, "GET", "/api/v1/model")
            assert told.json() == {"result": f"koboldcpp/{model}"}


async def test_only_its_own_client_ends_a_generation(nursery: trio.Nursery) -> None:
    keys = (key("mine"), key("other"))
    backend = await simulated(nursery, "openai", "tokens=1,fault=silence@1")
    async with house(nursery, {"b": backend}, {"m": ("b",)}, keys=keys) as it, trio.open_nursery() as asking:
        asking.start_soon(ask, it, "mine", "POST", "/api/v1/generate", {"prompt": "", "genkey": "K"})
        with trio.fail_after(20):
            while not len(it.daemon.state.live):
                await trio.lowlevel.checkpoint()
        for name, found in (("other", "false"), ("mine", "true")):
            answer = await ask(it, name, "POST", "/api/extra/abort", {"genkey": "K"})
            assert answer.json()["success"] == found
        assert (await it.outcome()).reason is Reason.KILLED


async def test_a_key_for_some_models_reaches_no_other_by_a_body_that_nobody_reads(nursery: trio.Nursery) -> None:
    keys = (key("some", routes=("a",)), key("all"))
    backend = await played(nursery, "openai", echo)
    async with house(nursery, {"b": backend}, {"a": ("b",), "b": ("b",)}, keys=keys) as it:

        async def status(name: str, **form: str) -> int:
            files = {"file": ("a.wav", b"RIFF")}
            answer = await ask(it, name, "POST", "/v1/audio/transcriptions", data=form, files=files)
            assert isinstance(answer.status_code, int)
            return answer.status_code

        assert await status("some", model="a") == 200
        assert await status("some", model="b") == 404
        assert await status("some") == 400
        assert await status("all") == 200
        answer = await ask(it, "some", "GET", "/v1/voices?model=b")
        assert answer.status_code == 404


@pytest.mark.parametrize(("path", "status"), [("/v1/files", 400), ("/v1/voices?model=m", 200)])
async def test_the_owners_key_is_lent_for_a_model_only(nursery: trio.Nursery, path: str, status: int) -> None:
    asked: list[Asked] = []

    async def cloud(request: Asked) -> None:
        asked.append(request)
        await request.answers({})

    backend = await played(nursery, "openai", cloud, api_key=Reference("owners"))
    async with house(nursery, {"b": backend}, {"m": ("b",)}) as it:
        answer = await it.ask("GET", path)
        assert answer.status_code == status
        assert [request.headers["authorization"] for request in asked] == ["Bearer owners"] * (status == 200)


async def test_models_are_managed_with_an_admins_key(nursery: trio.Nursery) -> None:
    keys = (key("plain"), key("admin", admin=True))
    backend = await played(nursery, "ollama", echo, manage=True)
    async with house(nursery, {"b": backend}, keys=keys) as it:
        for name, status in (("plain", 403), ("admin", 200), ("nobody", 401)):
            answer = await ask(it, name, "DELETE", "/api/delete", {"model": "m"})
            assert answer.status_code == status


async def test_who_is_no_admin_does_not_see_the_slots(nursery: trio.Nursery) -> None:
    keys = (key("plain"), key("admin", admin=True))
    backend = await played(nursery, "llamacpp", echo)
    async with house(nursery, {"b": backend}, {"m": ("b",)}, keys=keys) as it:
        for name, path, status in (("plain", "/slots", 403), ("plain", "/props", 200), ("admin", "/slots", 200)):
            answer = await ask(it, name, "GET", path)
            assert answer.status_code == status
