"""What is no chat, over every kind of backend: the second table, cell after cell."""

from __future__ import annotations

import json
from typing import Any

import pytest
import trio

from matrix.beside import ROWS, Beside
from matrix.estate import Estate, named
from matrix.table import KINDS
from rawhttp import answered, ask, post

CELLS = [pytest.param(row, path, kind, id=f"{path}-{kind}") for row in ROWS for path in row.paths for kind in KINDS]


def request(path: str, model: str, body: dict[str, Any]) -> bytes:
    return post(path, json.dumps({"model": model, **body}).encode(), "Content-Type: application/json")


@pytest.mark.parametrize(("row", "path", "kind"), CELLS)
async def test_a_cell(estate: Estate, row: Beside, path: str, kind: str) -> None:
    with trio.fail_after(20):
        status, headers, body = await answered(estate.daemon, request(path, f"listed-{kind}", row.body))
    if kind not in row.kinds:
        assert status == row.status
        assert row.says in body.decode()
        return
    if row.what == "unread":
        # whatever the backend says to it
        assert headers["x-penstock-target"] == f"{kind}/sim"
        return
    assert status == 200, body
    assert row.says not in body.decode() or row.status != 200


@pytest.mark.parametrize("path", ["/completion", "/infill"])
async def test_llamacpps_own_words_go_through_both_ways(estate: Estate, path: str) -> None:
    """Every frame as it came, up to the end, and a cut as a cut: nobody here knows what an error would look like."""
    row = next(row for row in ROWS if path in row.paths)
    name, model = named("llamacpp", "tokens=3,prompt=7")
    said = {**row.body, "stream": True, "n_predict": 9, "samplers": ["top_k"], "id_slot": 0}
    status, headers, body = await answered(estate.daemon, request(path, model, said))
    assert (status, headers["content-type"]) == (200, "text/event-stream")
    frames = [json.loads(frame.removeprefix(b"data: ")) for frame in body.removesuffix(b"\n\n").split(b"\n\n")]
    assert "".join([frame["content"] for frame in frames]) == " t0 t1 t2"
    assert (frames[-1]["stop"], frames[-1]["tokens_evaluated"]) == (True, 7)
    record = await estate.record(name, "ended")
    assert json.loads(record["body"]) == {"model": model, **said}
    _, model = named("llamacpp", "tokens=5,fault=cut@2")
    async with (asker := await ask(estate.daemon, request(path, model, said))).stream:
        _, headers = await asker.head()
        with pytest.raises((trio.BrokenResourceError, AssertionError)):
            await asker.body(headers)


@pytest.mark.parametrize("path", ["/completion", "/infill"])
async def test_llamacpp_sees_the_client_leave(estate: Estate, path: str) -> None:
    """llama.vscode and llama.vim leave most of what they ask for."""
    row = next(row for row in ROWS if path in row.paths)
    for script, state in (("first=1h", "asked"), ("tokens=100000,rate=100", "token")):
        name, model = named("llamacpp", script)
        async with (await ask(estate.daemon, request(path, model, {**row.body, "stream": True}))).stream:
            await estate.record(name, state)
        assert (await estate.record(name, "ended"))["end"] == "peer_closed"
