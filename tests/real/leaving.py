"""The Python clients, each left before the first word: the task that waits for it is cancelled."""

from __future__ import annotations

import time
from collections.abc import Callable
from typing import Any

import anthropic
import httpx
import ollama
import openai
import trio
from sdks import MESSAGES, PATIENCE, Ask, Seen


def leave(ask: Ask) -> Seen:
    """Ask, and go as soon as it is time to."""
    return trio.run(_leave, ask)


async def _leave(ask: Ask) -> Seen:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(_listen, ask)
        async with httpx.AsyncClient(trust_env=False, timeout=PATIENCE) as client:
            for page in ask.leave_when:
                await client.get(page)
        left = time.monotonic()
        nursery.cancel_scope.cancel()
    return Seen(left=left)


async def _listen(ask: Ask) -> None:
    async with _CLIENTS[ask.client.partition(":")[0]](ask.url) as client:
        answer = await _WAYS[ask.client](client, {"model": ask.model, "stream": ask.stream})
        if ask.stream:
            async for _ in answer:
                pass


_CLIENTS: dict[str, Callable[[str], Any]] = {
    "openai": lambda url: openai.AsyncOpenAI(base_url=f"{url}/v1", api_key="none", max_retries=0, timeout=PATIENCE),
    "ollama": lambda url: ollama.AsyncClient(host=url, timeout=PATIENCE),
    "anthropic": lambda url: anthropic.AsyncAnthropic(base_url=url, api_key="none", max_retries=0, timeout=PATIENCE),
}
_WAYS: dict[str, Callable[[Any, dict[str, Any]], Any]] = {
    "openai: chat": lambda client, said: client.chat.completions.create(messages=MESSAGES, **said),
    "openai: completions": lambda client, said: client.completions.create(prompt="Count.", **said),
    "openai: responses": lambda client, said: client.responses.create(input="Count.", **said),
    "ollama: chat": lambda client, said: client.chat(messages=MESSAGES, **said),
    "ollama: generate": lambda client, said: client.generate(prompt="Count.", **said),
    "anthropic: messages": lambda client, said: client.messages.create(messages=MESSAGES, max_tokens=4096, **said),
}
