"""Log probabilities: chat's list of tokens and completions' parallel lists, one made from the other.

Chat: ``[{"token", "logprob", "bytes", "top_logprobs": [{"token", "logprob", "bytes"}]}]``.
Completions: ``{"tokens", "token_logprobs", "top_logprobs": [{token: logprob}], "text_offset"}``.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import zip_longest

from penstock.dialects.openai_wire import Logprobs


def chat_logprobs(logprobs: Logprobs) -> list[object]:
    """Either form -> chat's."""
    if logprobs.content is not None:
        return logprobs.content
    found: list[object] = []
    columns = zip_longest(logprobs.tokens or (), logprobs.token_logprobs or (), logprobs.top_logprobs or ())
    for token, value, top in columns:
        found.append(_token(token, value) | {"top_logprobs": [_token(*pair) for pair in (top or {}).items()]})
    return found


def text_logprobs(tokens: Sequence[object], offset: int = 0) -> dict[str, list[object]]:
    """Chat's form -> that of completions; ``offset`` is where the first token begins in the whole text."""
    lists: dict[str, list[object]] = {"tokens": [], "token_logprobs": [], "top_logprobs": [], "text_offset": []}
    for item in tokens:
        if not isinstance(item, Mapping):
            continue
        token = str(item.get("token", ""))
        top = item.get("top_logprobs")
        lists["tokens"].append(token)
        lists["token_logprobs"].append(item.get("logprob"))
        lists["top_logprobs"].append({each["token"]: each["logprob"] for each in top} if top else None)
        lists["text_offset"].append(offset)
        offset += len(token)
    return lists


def _token(token: str | None, logprob: float | None) -> dict[str, object]:
    text = token or ""
    return {"token": text, "logprob": logprob, "bytes": list(text.encode("utf-8", "replace"))}
