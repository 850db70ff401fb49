"""Anthropic's client library, and OpenAI's for the Responses API, through penstock to a real llama.cpp server.

That server speaks Anthropic's dialect, too, so that penstock is driven with it on both sides.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from anthropic import Anthropic, BadRequestError
from daemons import DEADLINE, Penstock, Server, penstock
from openai import OpenAI

from conftest import before

HI = "hello"
COUNTED = " t0 t1 t2 t3"


@pytest.fixture(params=["anthropic", "llamacpp", "openai"], scope="module")
def kind(request: pytest.FixtureRequest) -> str:
    kind: str = request.param
    return kind


@pytest.fixture(scope="module")
def proxy(kind: str, llama_server: Server, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Penstock]:
    with penstock(tmp_path_factory.mktemp(kind), before(kind, f"{llama_server.url}/v1", slots=4)) as server:
        yield server


@pytest.fixture
def anthropic(proxy: Penstock) -> Iterator[Anthropic]:
    with Anthropic(base_url=proxy.url, api_key="none", max_retries=0, timeout=DEADLINE) as client:
        yield client


@pytest.fixture
def openai(proxy: Penstock) -> Iterator[OpenAI]:
    with OpenAI(base_url=f"{proxy.url}/v1", api_key="none", max_retries=0, timeout=DEADLINE) as client:
        yield client


def test_messages_streamed(anthropic: Anthropic) -> None:
    with anthropic.messages.stream(model="tiny", max_tokens=4, messages=[{"role": "user", "content": HI}]) as stream:
        text = "".join(stream.text_stream)
        message = stream.get_final_message()
    assert text == COUNTED
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 4)
    assert message.usage.input_tokens > 0


def test_messages_whole(anthropic: Anthropic) -> None:
    message = anthropic.messages.create(
        model="tiny", max_tokens=4, system="s", messages=[{"role": "user", "content": HI}]
    )
    assert message.content[0].type == "text" and message.content[0].text == COUNTED
    assert (message.stop_reason, message.usage.output_tokens) == ("max_tokens", 4)


def test_tokens_are_counted(anthropic: Anthropic) -> None:
    few = anthropic.messages.count_tokens(model="tiny", messages=[{"role": "user", "content": HI}]).input_tokens
    many = anthropic.messages.count_tokens(model="tiny", messages=[{"role": "user", "content": HI * 99}]).input_tokens
    assert 0 < few < many


def test_a_refusal_is_anthropics(anthropic: Anthropic) -> None:
    with pytest.raises(BadRequestError) as caught:
        anthropic.messages.create(model="tiny", max_tokens=4, messages=[])
    assert caught.value.body == {
        "type": "error",
        "error": {"type": "invalid_request_error", "message": "'messages' must hold at least one message"},
    }


def test_responses_streamed(openai: OpenAI) -> None:
    with openai.responses.stream(model="tiny", max_output_tokens=4, input=HI, store=False) as stream:
        last = list(stream)[-1]
    assert last.type == "response.incomplete"
    assert last.response.output_text == COUNTED
    assert last.response.usage is not None and last.response.usage.output_tokens == 4


def test_responses_whole(openai: OpenAI) -> None:
    response = openai.responses.create(
        model="tiny", max_output_tokens=4, instructions="s", input=[{"role": "user", "content": HI}]
    )
    assert response.output_text == COUNTED
    assert response.status == "incomplete"
    assert response.incomplete_details is not None and response.incomplete_details.reason == "max_output_tokens"
