"""Clients of Anthropic's dialect and of the Responses API, from the route to the backend and back."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio
from house import House, settle_in

from anthropic_conformance import check_anthropic_error, check_anthropic_stream
from rawhttp import connected, post
from responses_conformance import check_responses_stream

HI = [{"role": "user", "content": "hello"}]
CHECKS = {"/v1/messages": check_anthropic_stream, "/v1/responses": check_responses_stream}


def ask(path: str, model: str, *headers: str, **fields: Any) -> bytes:
    asked = {"input": "hello"} if "responses" in path else {"messages": HI, "max_tokens": 9}
    return post(path, json.dumps({"model": model, "stream": True, **asked, **fields}).encode(), *headers)


async def answered(house: House, request: bytes) -> tuple[int, dict[str, str], bytes]:
    with trio.fail_after(20):
        async with connected(house.address) as client:
            await client.send(request)
            return await client.answer()


@pytest.mark.parametrize("path", CHECKS)
async def test_a_stream(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    for asked in (path, path.removeprefix("/v1"), path + "?beta=true"):
        status, headers, body = await answered(house, ask(asked, "sim:tokens=5,thinking=2,tools=1"))
        assert (status, headers["content-type"]) == (200, "text/event-stream; charset=utf-8")
        events = CHECKS[path](body)
        deltas = [event.get("delta") for event in events]
        text = "".join([piece for piece in deltas if isinstance(piece, str)]) or "".join(
            [piece.get("text", "") for piece in deltas if isinstance(piece, dict)]
        )
        assert " t0 t1 t2 t3 t4" in text


@pytest.mark.parametrize("path", CHECKS)
async def test_a_whole_answer(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    status, headers, body = await answered(house, ask(path, "sim:tokens=3", stream=False))
    assert (status, headers["content-type"], int(headers["content-length"])) == (200, "application/json", len(body))
    whole = json.loads(body)
    content = whole["output"][0]["content"] if "output" in whole else whole["content"]
    assert content[0]["text"] == " t0 t1 t2"


@pytest.mark.parametrize("path", CHECKS)
async def test_a_broken_stream_is_told_in_its_own_words(path: str, nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    status, _, body = await answered(house, ask(path, "sim:tokens=9,fault=cut@3"))
    assert status == 200
    CHECKS[path](body)
    assert b"mid-answer" in body


async def test_refusals_have_anthropics_shape(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    for request, status, kind in (
        (ask("/v1/messages", ""), 400, "invalid_request_error"),
        (ask("/v1/messages", "sim:status=429"), 429, "rate_limit_error"),
        (post("/v1/messages", b"{"), 400, "invalid_request_error"),
        (post("/v1/messages", b"", method="GET"), 405, "invalid_request_error"),
    ):
        answer = await answered(house, request)
        assert answer[0] == status
        assert check_anthropic_error(answer[2])["type"] == kind


async def test_tokens_are_guessed_where_the_backend_cannot_count(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    status, _, body = await answered(house, ask("/v1/messages/count_tokens", "sim:tokens=1"))
    assert (status, json.loads(body)) == (200, {"input_tokens": 6})


async def test_what_needs_a_store_is_refused(nursery: trio.Nursery) -> None:
    house = await settle_in(nursery)
    status, _, body = await answered(house, ask("/v1/responses", "sim:", previous_response_id="resp_1"))
    assert (status, json.loads(body)["error"]["param"]) == (400, "previous_response_id")
