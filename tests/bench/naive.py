"""A proxy as one would write it first, with Quart-Trio and httpx: the second yardstick, for what a framework costs.

``python -m tests.bench.naive BACKEND_PORT`` prints its port.  It has none of penstock's duties: no budgets, no slots,
no checks of what it passes on.
"""

from __future__ import annotations

import sys
from collections.abc import AsyncIterator
from functools import partial

import httpx
import trio
from hypercorn.config import Config
from hypercorn.trio import serve
from quart import Response, request
from quart_trio import QuartTrio


def create_app(client: httpx.AsyncClient) -> QuartTrio:
    app = QuartTrio(__name__)

    @app.post("/<path:path>")
    async def forward(path: str) -> Response:
        body = await request.get_data()
        outgoing = client.build_request("POST", f"/{path}", content=body, headers={"Content-Type": "application/json"})
        incoming = await client.send(outgoing, stream=True)

        async def copy() -> AsyncIterator[bytes]:
            try:
                async for data in incoming.aiter_raw():
                    yield data
            finally:
                await incoming.aclose()

        headers = {"Content-Type": incoming.headers["Content-Type"]}
        if "Content-Length" in incoming.headers:
            headers["Content-Length"] = incoming.headers["Content-Length"]
        answer = Response(copy(), incoming.status_code, headers)
        answer.timeout = None
        return answer

    return app


async def main(port: int) -> None:
    config = Config()
    config.bind = ["127.0.0.1:0"]
    config.loglevel = "ERROR"
    limits = httpx.Limits(max_connections=None)
    async with (
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=None, limits=limits) as client,
        trio.open_nursery() as nursery,
    ):
        urls = await nursery.start(partial(serve, create_app(client), config))
        print(urls[0].rsplit(":", 1)[1], flush=True)


if __name__ == "__main__":
    trio.run(main, int(sys.argv[1]))
