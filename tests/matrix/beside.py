"""What is no chat and no completion: which kinds of backends can be asked for it; the second table."""

from __future__ import annotations

from typing import Any

import msgspec

from matrix.table import KINDS

_OPENAI = ("openai", "llamacpp", "lmstudio", "vllm")


class Beside(msgspec.Struct, frozen=True, kw_only=True):
    """A path, what is said there besides the model, and who has it."""

    paths: tuple[str, ...]
    body: dict[str, Any]
    kinds: tuple[str, ...]
    #: what becomes of it at these kinds, and at all others
    what: str
    otherwise: str
    #: of an answer of the others: its status, and a part of it
    status: int
    says: str


ROWS = (
    Beside(
        paths=("/v1/embeddings", "/api/embed", "/api/embeddings"),
        body={"input": "hello", "prompt": "hello"},
        kinds=(*_OPENAI, "ollama", "koboldcpp"),
        what="all",
        otherwise="400: its language has no embeddings",
        status=400,
        says="has no embeddings",
    ),
    Beside(
        paths=("/v1/rerank",),
        body={"query": "hello", "documents": ["a", "bb"]},
        kinds=_OPENAI,
        what="all",
        otherwise="400: its language ranks nothing",
        status=400,
        says="cannot rank documents",
    ),
    Beside(
        paths=("/v1/messages/count_tokens",),
        body={"messages": [{"role": "user", "content": "hello"}]},
        kinds=("anthropic",),
        what="counted",
        otherwise="an estimate",
        status=200,
        says='{"input_tokens":6}',
    ),
    Beside(
        paths=("/completion", "/infill"),
        body={"prompt": "hello", "input_prefix": "hello", "input_suffix": "bye"},
        kinds=("llamacpp",),
        what="unread",
        otherwise="404: it is llama.cpp's",
        status=404,
        says="is llama.cpp's",
    ),
    Beside(
        paths=("/v1/moderations",),
        body={"input": "hello"},
        kinds=KINDS,
        what="unread",
        otherwise="",
        status=0,
        says="",
    ),
)


def page() -> str:
    """The table as it stands in docs/dialects.md."""
    head = ["path", *(f"`{kind}`" for kind in KINDS)]
    rows = [head, ["---"] * len(head)]
    for row in ROWS:
        paths = ", ".join(f"`{path}`" for path in row.paths)
        # the last one stands for whatever has no route of its own
        name = "any other `/v1/…`" if row.kinds == KINDS else paths
        rows.append([name, *(row.what if kind in row.kinds else row.otherwise for kind in KINDS)])
    return "\n".join([f"| {' | '.join(row)} |" for row in rows])
