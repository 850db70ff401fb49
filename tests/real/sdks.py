"""The Python clients: each takes an answer to its end, its error or the point where it is to be left.

What is told of it is what reached the application, as the JavaScript clients of ``js/clients.mjs`` tell it.
"""

from __future__ import annotations

import functools
import json
import threading
import time
from collections.abc import Callable
from contextlib import ExitStack
from typing import Any, TypeVar

import anthropic
import msgspec
import ollama
import openai

C = TypeVar("C")

NAMES = ("get_weather", "get_time")
SCHEMA: dict[str, Any] = {"type": "object", "properties": {}}
MESSAGES: Any = [{"role": "user", "content": "Count."}]
FUNCTIONS = [{"type": "function", "function": {"name": name, "parameters": SCHEMA}} for name in NAMES]
#: Longer than any answer of these tests; seconds.
PATIENCE = 60.0


class Ask(msgspec.Struct, frozen=True, kw_only=True, rename="camel"):
    """What is to be asked of which server, by which client."""

    client: str
    url: str
    model: str
    stream: bool
    tools: bool = False
    leave_after: int | None = None  #: pieces of text; None: to the end
    leave_when: tuple[str, ...] = ()  #: before the first piece, as soon as these pages have answered in turn


class Seen(msgspec.Struct, kw_only=True):
    """What of an answer reached the application; ``error`` is what it would show of an exception."""

    text: str = ""
    thinking: str = ""
    calls: list[tuple[str, dict[str, Any]]] = []
    finish: str | None = None
    usage: int | None = None  #: completion tokens
    error: str | None = None
    left: float | None = None  #: when it left; ``time.monotonic()``

    def heard(self, text: str, ask: Ask, leave: Callable[[], object]) -> bool:
        """Note a piece of text, and leave where that is wanted; whether it was."""
        self.text += text
        if not text or ask.leave_after is None or self.text.count(" t") < ask.leave_after:
            return False
        self.left = time.monotonic()
        leave()
        return True


class Sdks:
    """The clients, one of each for every server; closed with the stack."""

    def __init__(self, stack: ExitStack) -> None:
        self._made: dict[tuple[type, str], Any] = {}
        self._lock = threading.Lock()
        self._stack = stack

    def ask(self, ask: Ask) -> Seen:
        """One answer.  What is no error of the client's own kind is raised."""
        seen = Seen()
        try:
            _TALKS[ask.client](self, ask, seen)
        except (openai.APIError, anthropic.APIError) as error:
            seen.error = error.message
        except ollama.ResponseError as error:
            seen.error = error.error
        return seen

    def openai(self, url: str) -> openai.OpenAI:
        make = functools.partial(openai.OpenAI, base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=PATIENCE)
        return self._one(openai.OpenAI, url, make)

    def ollama(self, url: str) -> ollama.Client:
        return self._one(ollama.Client, url, functools.partial(ollama.Client, host=url, timeout=PATIENCE))

    def anthropic(self, url: str) -> anthropic.Anthropic:
        make = functools.partial(anthropic.Anthropic, base_url=url, api_key="none", max_retries=0, timeout=PATIENCE)
        return self._one(anthropic.Anthropic, url, make)

    def _one(self, kind: type[C], url: str, make: Callable[[], Any]) -> C:
        with self._lock:
            if (kind, url) not in self._made:
                self._made[kind, url] = self._stack.enter_context(make())
        client: C = self._made[kind, url]
        return client


def chat(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    wanted: dict[str, Any] = {"model": ask.model, "messages": MESSAGES, **({"tools": FUNCTIONS} if ask.tools else {})}
    completions = sdks.openai(ask.url).chat.completions
    if not ask.stream:
        answer = completions.create(**wanted)
        (choice,) = answer.choices
        seen.text, seen.finish = choice.message.content or "", choice.finish_reason
        seen.thinking = getattr(choice.message, "reasoning_content", None) or ""
        functions = [call.function for call in choice.message.tool_calls or []]
        seen.calls = [(function.name, json.loads(function.arguments)) for function in functions]
        seen.usage = answer.usage.completion_tokens
        return
    calls: list[list[str]] = []
    chunks = completions.create(**wanted, stream=True, stream_options={"include_usage": True})
    for chunk in chunks:
        if chunk.usage:
            seen.usage = chunk.usage.completion_tokens
        for choice in chunk.choices:
            seen.thinking += getattr(choice.delta, "reasoning_content", None) or ""
            seen.finish = choice.finish_reason or seen.finish
            for part in choice.delta.tool_calls or []:
                if part.index == len(calls):
                    calls.append([part.function.name, ""])
                calls[part.index][1] += part.function.arguments or ""
            if seen.heard(choice.delta.content or "", ask, chunks.close):
                return
    seen.calls = [(name, json.loads(arguments)) for name, arguments in calls]


def completions(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    counted: dict[str, Any] = {"stream_options": {"include_usage": True}} if ask.stream else {}
    client = sdks.openai(ask.url)
    answer: Any = client.completions.create(model=ask.model, prompt="Count.", stream=ask.stream, **counted)
    for part in answer if ask.stream else [answer]:
        if part.usage:
            seen.usage = part.usage.completion_tokens
        for choice in part.choices:
            seen.finish = choice.finish_reason or seen.finish
            if seen.heard(choice.text, ask, getattr(answer, "close", str)):
                return


def responses(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    tools: Any = [{"type": "function", "name": name, "parameters": SCHEMA, "strict": False} for name in NAMES]
    wanted: dict[str, Any] = {"model": ask.model, "input": "Count.", **({"tools": tools} if ask.tools else {})}
    client = sdks.openai(ask.url).responses
    if not ask.stream:
        response = client.create(**wanted)
        seen.text = response.output_text
        thoughts = [part for item in response.output if item.type == "reasoning" for part in item.summary]
        seen.thinking = "".join(part.text for part in thoughts)
        _response_end(response, seen)
        return
    events = client.create(**wanted, stream=True)
    for event in events:
        match event.type:
            case "response.reasoning_summary_text.delta":
                seen.thinking += event.delta
            case "response.output_text.delta" if seen.heard(event.delta, ask, events.close):
                return
            case "response.completed" | "response.incomplete":
                _response_end(event.response, seen)
            case "response.failed":
                # the library hands it to the application as any other event
                seen.error = event.response.error.message


def _response_end(response: Any, seen: Seen) -> None:
    calls = [item for item in response.output if item.type == "function_call"]
    seen.calls = [(call.name, json.loads(call.arguments)) for call in calls]
    seen.finish = response.incomplete_details.reason if response.incomplete_details else response.status
    seen.usage = response.usage.output_tokens


def embeddings(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    answer = sdks.openai(ask.url).embeddings.create(model=ask.model, input="Count.")
    seen.text, seen.usage = _vector(answer.data[0].embedding), answer.usage.prompt_tokens


def ollama_chat(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    tools: Any = FUNCTIONS if ask.tools else None
    answer: Any = sdks.ollama(ask.url).chat(ask.model, MESSAGES, stream=ask.stream, tools=tools)  # type: ignore[call-overload]
    for part in answer if ask.stream else [answer]:
        seen.thinking += part.message.thinking or ""
        seen.calls += [(call.function.name, call.function.arguments) for call in part.message.tool_calls or []]
        if part.done:
            seen.finish, seen.usage = part.done_reason, part.eval_count
        if seen.heard(part.message.content or "", ask, getattr(answer, "close", str)):
            return


def ollama_generate(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    answer: Any = sdks.ollama(ask.url).generate(ask.model, "Count.", stream=ask.stream)  # type: ignore[call-overload]
    for part in answer if ask.stream else [answer]:
        seen.thinking += part.thinking or ""
        if part.done:
            seen.finish, seen.usage = part.done_reason, part.eval_count
        if seen.heard(part.response, ask, getattr(answer, "close", str)):
            return


def ollama_embed(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    answer = sdks.ollama(ask.url).embed(ask.model, "Count.")
    seen.text, seen.usage = _vector(list(answer.embeddings[0])), answer.prompt_eval_count


def messages(sdks: Sdks, ask: Ask, seen: Seen) -> None:
    tools: Any = {"tools": [{"name": name, "input_schema": SCHEMA} for name in NAMES]} if ask.tools else {}
    wanted: dict[str, Any] = {"model": ask.model, "max_tokens": 4096, "messages": MESSAGES, **tools}
    client = sdks.anthropic(ask.url).messages
    if not ask.stream:
        message = client.create(**wanted)
        for block in message.content:
            seen.text += getattr(block, "text", "")
            seen.thinking += getattr(block, "thinking", "")
            if block.type == "tool_use":
                seen.calls.append((block.name, block.input))
        seen.finish, seen.usage = message.stop_reason, message.usage.output_tokens
        return
    calls: dict[int, list[str]] = {}
    events = client.create(**wanted, stream=True)
    for event in events:
        match event.type:
            case "content_block_start" if event.content_block.type == "tool_use":
                calls[event.index] = [event.content_block.name, ""]
            case "content_block_delta":
                seen.thinking += getattr(event.delta, "thinking", "")
                if event.delta.type == "input_json_delta":
                    calls[event.index][1] += event.delta.partial_json
                if seen.heard(getattr(event.delta, "text", ""), ask, events.close):
                    return
            case "message_delta":
                seen.finish, seen.usage = event.delta.stop_reason, event.usage.output_tokens
    seen.calls = [(name, json.loads(arguments)) for name, arguments in calls.values()]


def _vector(numbers: list[float]) -> str:
    """As JavaScript writes it."""
    return json.dumps([int(number) if number == int(number) else number for number in numbers], separators=(",", ":"))


_TALKS: dict[str, Callable[[Sdks, Ask, Seen], None]] = {
    "openai: chat": chat,
    "openai: completions": completions,
    "openai: responses": responses,
    "openai: embeddings": embeddings,
    "ollama: chat": ollama_chat,
    "ollama: generate": ollama_generate,
    "ollama: embed": ollama_embed,
    "anthropic: messages": messages,
}
