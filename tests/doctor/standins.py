"""Servers that answer fixed pages, as the kinds of servers do that penstock knows."""

from __future__ import annotations

import json
from collections.abc import Mapping

import trio

#: Path -> what is answered with 200: bytes, or JSON.
Pages = Mapping[str, object]

#: A chat of one token.
CHAT = (
    b'data: {"id": "c", "choices": [{"index": 0, "delta": {"role": "assistant", "content": "A"}}]}\n\n'
    b'data: {"id": "c", "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}\n\n'
    b"data: [DONE]\n\n"
)
#: The same as Ollama says it.
OLLAMA_CHAT = (
    b'{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":"A"},"done":false}\n'
    b'{"model":"m","created_at":"2026-01-01T00:00:00Z","message":{"role":"assistant","content":""},"done":true,'
    b'"done_reason":"stop"}\n'
)


def listing(*names: str, owner: str = "me") -> object:
    return {"object": "list", "data": [{"id": name, "object": "model", "owned_by": owner} for name in names]}


def tags(*names: str) -> object:
    return {"models": [{"name": name, "model": name} for name in names]}


OLLAMA: Pages = {
    "/": b"Ollama is running",
    "/api/version": {"version": "0.33.0"},
    "/api/tags": tags("m"),
    "/v1/models": listing("m"),
    "/api/chat": OLLAMA_CHAT,
    "/v1/chat/completions": CHAT,
}
#: It plays Ollama and llama.cpp too.
KOBOLDCPP: Pages = {
    "/api/extra/version": {"result": "KoboldCpp", "version": "1.115"},
    "/": b"Ollama is running",
    "/api/version": {"version": "0.7.0"},
    "/props": {"build_info": "kobold"},
    "/v1/models": listing("koboldcpp/m"),
}
LLAMACPP: Pages = {
    "/props": {"build_info": "b7000-abc"},
    "/v1/models": listing("m"),
    "/v1/chat/completions": CHAT,
}
VLLM: Pages = {
    "/version": {"version": "0.12.0"},
    "/v1/models": listing("m", owner="vllm"),
    "/v1/chat/completions": CHAT,
}
LM_STUDIO: Pages = {"/api/v0/models": listing("m"), "/v1/models": listing("m"), "/v1/chat/completions": CHAT}
PLAIN: Pages = {"/v1/models": listing("m"), "/v1/chat/completions": CHAT}


async def serve(nursery: trio.Nursery, pages: Pages, *, otherwise: int = 404, key: str = "") -> str:
    """Answer these pages, and everything else with a status; returns the URL.  A page that is None never comes.

    With a ``key`` who does not bring it gets no page.
    """

    async def converse(stream: trio.SocketStream) -> None:
        async with stream:
            head = b""
            while b"\r\n\r\n" not in head:
                data = await stream.receive_some()
                if not data:
                    return
                head += data
            page = pages.get(head.split(b" ")[1].decode(), b"") if key.encode() in [*head.split(), b""] else b""
            if page is None:
                await trio.sleep_forever()
            body = page if isinstance(page, bytes) else json.dumps(page).encode()
            kind = b"text/event-stream" if body.startswith(b"data:") else b"application/json"
            status = b"200" if body else str(otherwise).encode()
            await stream.send_all(
                b"HTTP/1.1 %b X\r\nContent-Type: %b\r\nContent-Length: %d\r\nConnection: close\r\n\r\n%b"
                % (status, kind, len(body), body)
            )

    (listener,) = await nursery.start(
        lambda task_status: trio.serve_tcp(converse, 0, host="127.0.0.1", task_status=task_status)
    )
    return f"http://127.0.0.1:{listener.socket.getsockname()[1]}"
