"""What breaks clients without a word, trap by trap: each was seen to, in a client that many people use."""

from __future__ import annotations

import base64
import json
import struct

import pytest
import trio

from matrix.client import Client
from matrix.clients import CLIENTS
from matrix.estate import HASTE, Estate, named
from matrix.facts import Answer
from penstock.config.model import Server
from rawhttp import answered, ask, get, post

CHAT = CLIENTS["OpenAI chat"]
OLLAMA = CLIENTS["Ollama chat"]
ANTHROPIC = CLIENTS["Anthropic messages"]
#: A first token that is so late that the impatient daemon gives heartbeats.
LATE = f"first={5 * HASTE}"


async def streamed(address: str, client: Client, script: str, kind: str = "openai", **said: object) -> bytes:
    """The body of a streamed answer."""
    with trio.fail_after(20):
        status, _, body = await client.answered(address, named(kind, script)[1], stream=True, **said)
    assert status == 200, body
    return body


async def told(address: str, client: Client, script: str, kind: str = "openai", **said: object) -> Answer:
    """A streamed answer, read."""
    return client.read(await streamed(address, client, script, kind, **said), stream=True)


async def test_an_empty_tool_calls_list_does_not_hide_the_text(estate: Estate) -> None:
    """Copilot drops all text beside ``tool_calls: []``."""
    body = await streamed(estate.daemon, CHAT, "tokens=3,fault=empty-tools")
    assert b'"tool_calls"' not in body
    assert CHAT.read(body, stream=True).text == " t0 t1 t2"


async def test_an_error_comes_after_the_choice_is_closed(estate: Estate) -> None:
    """Copilot forgets an error that comes while a choice is open."""
    body = await streamed(estate.daemon, CHAT, "tokens=5,fault=error@2")
    assert body.index(b'"finish_reason":"error"') < body.index(b'{"error":') < body.index(b"[DONE]")


@pytest.mark.parametrize("usage", ["every", "null", "choices"])
async def test_usage_beside_text_does_not_lose_the_text(estate: Estate, usage: str) -> None:
    """Continue takes a chunk with usage for one without text; the check of the dialect wants it alone and last."""
    answer = await told(estate.daemon, CHAT, f"tokens=3,prompt=7,usage={usage}")
    assert (answer.text, answer.usage) == (" t0 t1 t2", (7, 3))


async def test_events_are_separated_by_a_blank_line(estate: Estate) -> None:
    """With one line end between events the SDKs report an empty success."""
    body = await streamed(estate.daemon, CHAT, "tokens=3,fault=crlf")
    assert b"\r" not in body
    assert all(frame.count(b"\n") == 0 for frame in body.removesuffix(b"\n\n").split(b"\n\n"))


async def test_an_anthropic_client_gets_an_anthropic_error(estate: Estate) -> None:
    """Its SDKs skip an error of OpenAI's shape, and take the text before it for the whole answer."""
    body = await streamed(estate.daemon, ANTHROPIC, "tokens=5,fault=error@2")
    assert b'\n\nevent: error\ndata: {"type":"error","error":{"type":"api_error","message":' in body
    assert b"message_stop" not in body


@pytest.mark.parametrize("fault", ["truncate@2", "no-finish"])
@pytest.mark.parametrize("client", [CHAT, OLLAMA, ANTHROPIC], ids=lambda client: client.name)
async def test_an_end_without_a_finish_reason_is_an_error(estate: Estate, client: Client, fault: str) -> None:
    """The SDKs of OpenAI and Ollama report success."""
    answer = await told(estate.daemon, client, f"tokens=2,fault={fault}")
    assert answer.finish is None
    assert answer.error is not None and "without" in answer.error


@pytest.mark.parametrize("client", [CHAT, OLLAMA], ids=lambda client: client.name)
async def test_an_early_error_is_a_status_which_nobody_overlooks(estate: Estate, client: Client) -> None:
    """Some clients skip errors in a stream, whatever their form: what can have a status gets it."""
    _, model = named("openai", "tokens=5,fault=error@0")
    status, _, body = await answered(estate.daemon, client.request(model, stream=True))
    assert status == 500
    assert client.refusal(body) == "simulated failure after 0 tokens"


@pytest.mark.parametrize("kind", ["openai", "ollama"])
async def test_base64_embeddings_are_base64_whatever_the_backend_sends(estate: Estate, kind: str) -> None:
    """The SDK that asked for it decodes numbers into garbage."""
    body = json.dumps({"model": f"listed-{kind}", "input": "hello", "encoding_format": "base64"}).encode()
    _, _, answer = await answered(estate.daemon, post("/v1/embeddings", body))
    (entry,) = json.loads(answer)["data"]
    assert struct.unpack("<4f", base64.b64decode(entry["embedding"], validate=True)) == (5.0, 0.5, -0.25, 0.125)


async def test_a_heartbeat_is_no_object(estate: Estate) -> None:
    """gptel stops at a line without ``done: false``, Kilo throws on a chunk without ``choices``."""
    lines = (await streamed(estate.impatient, OLLAMA, f"{LATE},tokens=1")).splitlines()
    assert lines[0].startswith(b" ")
    assert [json.loads(line)["done"] for line in lines] == [False, True]
    body = await streamed(estate.impatient, CHAT, f"{LATE},tokens=1")
    assert body.startswith(b": ")
    frames = [json.loads(line[6:]) for line in body.splitlines() if line.startswith(b"data: {")]
    assert all("choices" in frame for frame in frames)


async def test_no_comment_says_ping(estate: Estate) -> None:
    """Continue loses the last events of a read in which a comment begins with ``ping``."""
    body = await streamed(estate.impatient, CHAT, f"tokens=3,rate={1 / (5 * HASTE)},ping={HASTE},comment=ping")
    assert b": ping" not in body
    assert b": keep-alive\n" in body


async def test_no_line_of_ndjson_is_blank(estate: Estate) -> None:
    """Zed and ollama-python abort."""
    body = await streamed(estate.impatient, OLLAMA, f"{LATE},tokens=3")
    assert body.endswith(b"}\n")
    assert all(line.strip() for line in body.removesuffix(b"\n").split(b"\n"))


async def test_comments_and_ids_never_meet(estate: Estate) -> None:
    """openai-python dispatches an empty event on a comment and a blank line once it saw an ``id:``."""
    body = await streamed(estate.impatient, CHAT, f"{LATE},tokens=3")
    assert body.startswith(b": keep-alive\n")
    assert not any(line.startswith((b"id:", b"retry:", b"event:")) for line in body.splitlines())


@pytest.mark.parametrize("client", CLIENTS.values(), ids=CLIENTS)
async def test_a_comment_of_the_backend_is_no_data(estate: Estate, client: Client) -> None:
    """A proxy that copies lines wraps it up as an event."""
    body = await streamed(estate.daemon, client, "tokens=2,rate=20,ping=10ms,comment=OVERHEARD")
    assert b" OVERHEARD" not in body
    assert client.read(body, stream=True).text == " t0 t1"


async def test_every_model_is_listed_whole_and_with_its_capabilities(estate: Estate) -> None:
    """Zed and Roo lose all models for one bad entry, Copilot and Kilo hide those that say nothing of tools."""
    _, _, tags = await answered(estate.daemon, get("/api/tags"))
    listed = {entry["name"]: entry for entry in json.loads(tags)["models"]}
    assert len(listed) > 5
    for name, entry in listed.items():
        assert {"name", "model", "modified_at", "size", "digest", "details"} <= set(entry)
        assert set(entry["details"]) >= {"format", "family", "families", "parameter_size", "quantization_level"}
        _, _, shown = await answered(estate.daemon, post("/api/show", json.dumps({"name": name}).encode()))
        assert {"completion", "tools"} <= set(json.loads(shown)["capabilities"]), name


@pytest.mark.parametrize("client", [CHAT, OLLAMA, ANTHROPIC], ids=lambda client: client.name)
async def test_parallel_tool_calls_come_one_after_the_other(estate: Estate, client: Client) -> None:
    """Mixed fragments end up in the wrong call in Copilot and Continue, and nowhere in gptel."""
    answer = await told(estate.daemon, client, "tokens=0,tools=3,fragments=5,fault=interleave")
    assert [arguments["call"] for _, arguments in answer.calls if isinstance(arguments, dict)] == [0, 1, 2]


def test_nobody_waits_long_for_a_sign_of_life() -> None:
    """Node gives up after 300 s without a head or a byte, opencode after 10, whatever a client's settings say."""
    assert Server().grace < 10
    assert Server().heartbeat < 10


@pytest.mark.parametrize("fault", ["hangup", "rst@0", "cut@0", "bad-status"])
async def test_a_backend_that_drops_the_connection_does_not_make_us_drop_the_clients(
    estate: Estate, fault: str
) -> None:
    """Cline, Copilot and Codex repeat a request without a word when their connection drops before the first token."""
    _, model = named("openai", f"fault={fault}")
    async with (await ask(estate.daemon, CHAT.request(model, stream=True))).stream as stream:
        assert (await stream.receive_some()).startswith(b"HTTP/1.1 502 ")


async def test_the_words_of_newer_models_are_understood(estate: Estate) -> None:
    """A name like ``gpt-5`` makes clients say ``developer`` and ``max_completion_tokens``, or ask for responses."""
    name, model = named("ollama", "tokens=1")
    said = {"messages": [{"role": "developer", "content": "Be brief."}], "max_completion_tokens": 9}
    assert (await answered(estate.daemon, CHAT.request(model, stream=True, **said)))[0] == 200
    asked = json.loads((await estate.record(name))["body"])
    assert (asked["messages"], asked["options"]) == ([{"role": "system", "content": "Be brief."}], {"num_predict": 9})
    assert (await told(estate.daemon, CLIENTS["OpenAI Responses"], "tokens=1", "ollama")).text == " t0"


async def test_a_client_that_never_closes_is_ended_by_the_total_budget(estate: Estate) -> None:
    """ollama-js leaves its connection open after ``break``, and goes on reading."""
    status, _, body = await answered(estate.daemon, OLLAMA.request("endless", stream=True))
    answer = OLLAMA.read(body, stream=True)
    assert status == 200
    assert answer.error is not None and "total budget" in answer.error
    assert (await estate.record("endless", "ended"))["end"] == "peer_closed"


async def test_heartbeats_do_not_outlive_the_backend(estate: Estate) -> None:
    """They disarm the client's own watchdog, so that nobody would ever notice."""
    for model, why in (("lifeless", "first_token budget"), (named("openai", f"{LATE},fault=hangup")[1], "closed")):
        _, _, body = await answered(estate.impatient, CHAT.request(model, stream=True))
        assert body.startswith(b": keep-alive\n")
        error = CHAT.read(body, stream=True).error
        assert error is not None and why in error
